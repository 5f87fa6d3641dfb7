// SPDX-License-Identifier: Apache-2.0
//! A running script, as its owner and others hold it.

use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use code_mode_api::{CellId, StateLost};
use futures_core::Stream;
use tokio::time::timeout;

use crate::cell_core::{CellCore, Stop};
use crate::registry::Registry;
use crate::{CellEvent, CellEvents, ExecError, Output, Progress};

/// A script that runs, and the stream of what happens in it.
///
/// Dropping it terminates the script, unless it was [detached](Self::detach). What can be done with
/// a cell without owning it is in [`CellHandle`], to which this dereferences.
///
/// The stream is one [reader](CellEvents) and begins with the script. Output comes within
/// [`STREAM_INTERVAL`](crate::STREAM_INTERVAL); a call or notification comes after the output that
/// the script made before it.
pub struct Cell {
    owner: Owner,
    events: CellEvents,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cell").field(&self.core.id).finish()
    }
}

impl Cell {
    pub(crate) fn new(owner: Owner, events: CellEvents) -> Self {
        Self { owner, events }
    }

    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<CellEvent> {
        self.events.next().await
    }

    /// Lets the script run on without an owner, until it ends or its session is dropped.
    ///
    /// It can be found again by [`Session::cell`](crate::Session::cell), also after its end, until
    /// its result was handed out.
    pub fn detach(self) -> CellHandle {
        self.owner.detach()
    }
}

impl Deref for Cell {
    type Target = CellHandle;

    fn deref(&self) -> &CellHandle {
        &self.owner
    }
}

impl Stream for Cell {
    type Item = CellEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<CellEvent>> {
        Pin::new(&mut self.events).poll_next(cx)
    }
}

/// Terminates its script when it is dropped, unless it was detached.
pub(crate) struct Owner {
    handle: CellHandle,
    terminates: bool,
}

impl Owner {
    pub(crate) fn new(handle: CellHandle) -> Self {
        Self {
            handle,
            terminates: true,
        }
    }

    pub(crate) fn detach(mut self) -> CellHandle {
        self.terminates = false;
        self.core.detach();
        self.handle.clone()
    }
}

impl Deref for Owner {
    type Target = CellHandle;

    fn deref(&self) -> &CellHandle {
        &self.handle
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.terminates {
            self.core.ask_to_stop(Stop::Asked);
        }
    }
}

/// A cell that somebody else may own: dropping this does nothing. Cheap to clone.
#[derive(Clone)]
pub struct CellHandle {
    pub(crate) core: Arc<CellCore>,
    pub(crate) registry: Arc<Registry>,
}

impl fmt::Debug for CellHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CellHandle").field(&self.core.id).finish()
    }
}

impl CellHandle {
    /// The cell's id within its session.
    pub fn id(&self) -> &CellId {
        &self.core.id
    }

    /// The exec call that started the cell.
    pub fn exec_call_id(&self) -> &str {
        &self.core.exec_call_id
    }

    /// How long ago the cell was started.
    pub fn age(&self) -> Duration {
        self.core.started.elapsed()
    }

    /// Whether the script has ended.
    pub fn has_ended(&self) -> bool {
        self.core.ended().is_some()
    }

    /// What is known by now of the loss of the session's host before this cell, and whether the session's
    /// copy of its stored values was there again before the script ran: what
    /// [`CellEvent::StateLost`] tells.
    pub fn state_lost(&self) -> Option<(StateLost, bool)> {
        self.core.state_lost()
    }

    /// All output that has come so far. It is as recent as the last look: see
    /// [`observe`](Self::observe).
    pub fn output(&self) -> Output {
        self.core.output()
    }

    /// Another reader of the cell's events, from now on.
    pub fn events(&self) -> CellEvents {
        self.core.events()
    }

    /// Waits until the script has ended, and gives all its output. May be asked again.
    ///
    /// # Errors
    /// When the script failed, was terminated or was lost with its host.
    pub async fn wait(&self) -> Result<Output, ExecError> {
        let result = self.core.end_of().await;
        self.registry.delivered(&self.core);
        result
    }

    /// Waits until the script has ended or yields, at most for this time, and gives what it has put
    /// out since the last look: what a model is told after `exec` and `wait`.
    ///
    /// Looks of several callers share the output: each piece comes to one.
    pub async fn observe(&self, time: Duration) -> Progress {
        let progress = self.core.observe(time).await;
        if matches!(progress, Progress::Ended { .. }) {
            self.registry.delivered(&self.core);
        }
        progress
    }

    /// Waits until the script has ended, and terminates it when that takes longer than this.
    ///
    /// # Errors
    /// [`ExecError::TimedOut`] with the output so far; else as [`wait`](Self::wait).
    pub async fn finish_within(&self, time: Duration) -> Result<Output, ExecError> {
        match timeout(time, self.wait()).await {
            Ok(result) => result,
            Err(_) => {
                self.core.ask_to_stop(Stop::TimedOut(time));
                self.wait().await
            }
        }
    }

    /// Asks for the script's termination, without waiting for it: what it still had to say and its
    /// end come as events.
    pub fn stop(&self) {
        self.core.ask_to_stop(Stop::Asked);
    }

    /// Terminates the script, waits until it has really stopped, and gives all its output.
    ///
    /// # Errors
    /// When the script had failed by itself just before, or was lost with its host.
    pub async fn terminate(&self) -> Result<Output, ExecError> {
        self.core.ask_to_stop(Stop::Asked);
        match self.wait().await {
            Err(ExecError::Terminated { output }) => Ok(output),
            result => result,
        }
    }
}
