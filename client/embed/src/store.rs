// SPDX-License-Identifier: Apache-2.0
//! A session's copy of its stored values, which outlives the host.
//!
//! Scripts cannot take a stored value away, only replace it; so the copy only grows, and values that
//! come from a host which has lost the others never displace them.
//!
//! A provider may keep a copy below this one (`ProviderConfig::keep_store` of `code_mode_client`) for those who
//! use no session of this crate. That one cannot do what this one is for: it gives the first values to a session
//! before its first script, hands the values out while there is no host to ask, and works over any provider,
//! also in process. One copy is enough, so the lower one stays off below a [`Session`](crate::Session).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{
    CancellationSignal, CellId, CodeModeSession, RawJson, SessionError, WaitRequest,
};
use tokio::sync::{Notify, oneshot};

use crate::{ExecError, Output};

/// Executes that may wait for stored values to be brought back at one time; further ones wait until
/// there is room.
const MAX_WAITING_RESTORES: usize = 64;

type Restored = Result<bool, SessionError>;

/// Keeps the copy.
pub(crate) struct StoreKeeper {
    session: Arc<dyn CodeModeSession>,
    /// Whether there is a copy; if not, the first values are all there is to do.
    copies: bool,
    state: Mutex<State>,
    dirty: Notify,
    restores: async_channel::Sender<oneshot::Sender<Restored>>,
    over: CancellationSignal,
}

#[derive(Default)]
struct State {
    values: BTreeMap<String, RawJson>,
    /// A cell that has ended, to ask after: the answer tells whether its host lives, and takes no
    /// output away from anybody.
    ended: Option<CellId>,
    /// The values are not in the host.
    missing: bool,
    /// A script has run without the values: they go below what it stored.
    overtaken: bool,
    /// Something may have been stored since the copy was taken.
    dirty: bool,
}

impl StoreKeeper {
    /// Keeps the values of `session`, which has stored nothing; `values` are to be there before its
    /// first script runs. `copies` says whether a copy is to be kept from then on.
    pub(crate) fn start(
        session: Arc<dyn CodeModeSession>,
        values: BTreeMap<String, RawJson>,
        copies: bool,
    ) -> Arc<Self> {
        let (restores, asked) = async_channel::bounded(MAX_WAITING_RESTORES);
        let keeper = Arc::new(Self {
            session,
            copies,
            state: Mutex::new(State {
                missing: !values.is_empty(),
                values,
                ..State::default()
            }),
            dirty: Notify::new(),
            restores,
            over: CancellationSignal::new(),
        });
        let working = Arc::clone(&keeper);
        tokio::spawn(async move {
            let over = working.over.clone();
            // Everything that reads or writes the host's values is done here, one after the other.
            over.run_until_cancelled(working.work(asked)).await;
        });
        keeper
    }

    /// Whether there is a copy.
    pub(crate) fn copies(&self) -> bool {
        self.copies
    }

    /// Ends the keeping.
    pub(crate) fn close(&self) {
        self.over.cancel();
    }

    /// A cell has ended: it may have stored something.
    pub(crate) fn cell_ended(&self, id: &CellId, result: &Result<Output, ExecError>) {
        if !self.copies {
            return;
        }
        let mut state = self.lock();
        if let Err(ExecError::HostLost(_)) = result {
            state.host_lost();
            return;
        }
        state.ended = Some(id.clone());
        state.dirty = true;
        drop(state);
        self.dirty.notify_one();
    }

    /// A script has run in a new host before the values were there.
    pub(crate) fn lost(&self) {
        if !self.copies {
            return;
        }
        let mut state = self.lock();
        state.ended = None;
        state.overtaken = true;
        state.dirty = true;
        drop(state);
        self.dirty.notify_one();
    }

    /// Sees to it that the values are in the host before a script runs; says whether they had to be
    /// brought there.
    ///
    /// # Errors
    /// When the host cannot be had or does not take them.
    pub(crate) async fn ensure(&self) -> Restored {
        if !self.are_missing().await {
            return Ok(false);
        }
        let gone = || SessionError::ShutDown {
            session_id: self.session.session_id().clone(),
        };
        let (reply, restored) = oneshot::channel();
        self.restores.send(reply).await.map_err(|_| gone())?;
        restored.await.map_err(|_| gone())?
    }

    /// The values as they are now; the copy when there is no host to ask.
    pub(crate) async fn values(&self) -> Result<BTreeMap<String, RawJson>, SessionError> {
        if self.are_missing().await {
            return Ok(self.lock().values.clone());
        }
        match self.take_copy().await {
            Ok(()) | Err(SessionError::RuntimeLost { .. }) => Ok(self.lock().values.clone()),
            Err(error) => Err(error),
        }
    }

    /// Takes note of values that somebody has put into the host.
    pub(crate) fn add(&self, values: BTreeMap<String, RawJson>) {
        if self.copies {
            self.lock().values.extend(values);
        }
    }

    async fn are_missing(&self) -> bool {
        let ended = {
            let state = self.lock();
            if state.missing || state.values.is_empty() {
                return state.missing;
            }
            state.ended.clone()
        };
        let Some(cell_id) = ended else { return false };
        let request = WaitRequest {
            cell_id: cell_id.clone(),
            yield_time: Some(std::time::Duration::ZERO),
        };
        match self.session.wait(request).await {
            Err(SessionError::CellLost { .. } | SessionError::RuntimeLost { .. }) => {
                let mut state = self.lock();
                // Another may have brought them back meanwhile.
                if state.ended.as_ref() == Some(&cell_id) {
                    state.host_lost();
                }
                state.missing
            }
            // Whatever else it says, its host is there to say it.
            _ => false,
        }
    }

    async fn work(&self, asked: async_channel::Receiver<oneshot::Sender<Restored>>) {
        loop {
            tokio::select! {
                biased;
                reply = asked.recv() => match reply {
                    // Whoever asked may have gone since.
                    Ok(reply) => drop(reply.send(self.restore().await)),
                    Err(_) => return,
                },
                () = self.dirty.notified() => self.renew().await,
            }
        }
    }

    async fn restore(&self) -> Restored {
        let values = {
            let state = self.lock();
            if !state.missing {
                return Ok(true);
            }
            state.values.clone()
        };
        if !values.is_empty() {
            self.session.import_store(values).await?;
        }
        let mut state = self.lock();
        state.missing = false;
        if !self.copies {
            state.values.clear();
        }
        Ok(true)
    }

    async fn renew(&self) {
        let dirty = std::mem::take(&mut self.lock().dirty);
        if !dirty {
            return;
        }
        if let Err(error) = self.take_copy().await {
            tracing::debug!(%error, "failed to copy the stored values of a session");
            return;
        }
        let values = {
            let mut state = self.lock();
            if !std::mem::take(&mut state.overtaken) {
                return;
            }
            state.values.clone()
        };
        if let Err(error) = self.session.import_store(values).await {
            tracing::warn!(%error, "failed to bring stored values back into a session");
            self.lock().missing = true;
        }
    }

    async fn take_copy(&self) -> Result<(), SessionError> {
        match self.session.export_store().await {
            Ok(values) => {
                self.lock().values.extend(values);
                Ok(())
            }
            Err(error) => {
                if matches!(error, SessionError::RuntimeLost { .. }) {
                    self.lock().host_lost();
                }
                Err(error)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn host_lost(&mut self) {
        self.ended = None;
        self.missing = !self.values.is_empty();
    }
}
