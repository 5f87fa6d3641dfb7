// SPDX-License-Identifier: Apache-2.0
//! The hosts of a provider: started when needed, shared or not, replaced with growing pauses.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::backoff::Backoff;
use crate::config::{Isolation, ProviderConfig};
use crate::connection::{Connection, HostHandle};
use crate::connector::Connector;
use crate::error::ConnectionFailure;
use crate::flight::Flight;
use crate::process::{self, Link, SpawnError};

/// Starts host programs.
pub(crate) trait Launcher: Send + Sync + 'static {
    /// Starts one.
    fn launch(&self) -> BoxFuture<'_, Result<Link, SpawnError>>;
}

/// Starts the configured program as a child process.
pub(crate) struct ProcessLauncher(pub(crate) Arc<ProviderConfig>);

impl Launcher for ProcessLauncher {
    fn launch(&self) -> BoxFuture<'_, Result<Link, SpawnError>> {
        Box::pin(process::start(&self.0))
    }
}

/// Asks a connector for a connection.
pub(crate) struct ConnectorLauncher(pub(crate) Arc<dyn Connector>);

impl Launcher for ConnectorLauncher {
    fn launch(&self) -> BoxFuture<'_, Result<Link, SpawnError>> {
        Box::pin(async {
            let streams = self.0.connect().await.map_err(SpawnError::Connect)?;
            Ok(process::connected(streams))
        })
    }
}

/// A host, or why there is none, in words for people.
type Started = Result<Connection, Arc<str>>;

/// The hosts of one provider.
pub(crate) struct Hosts {
    pub(crate) config: Arc<ProviderConfig>,
    launcher: Box<dyn Launcher>,
    state: Mutex<HostsState>,
    /// How many hosts are being started.
    launching: watch::Sender<usize>,
    closed: watch::Sender<bool>,
}

/// Counts a host that is being started.
struct Launching<'a>(&'a watch::Sender<usize>);

impl<'a> Launching<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Launching<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[derive(Default)]
struct HostsState {
    shared: Option<Connection>,
    starting: Option<Flight<Started>>,
    spare: Option<Connection>,
    spare_starting: bool,
    backoff: Backoff,
    /// Every host that may still run, so that closing the provider reaches it.
    live: Vec<HostHandle>,
}

impl Hosts {
    pub(crate) fn new(config: Arc<ProviderConfig>, launcher: Box<dyn Launcher>) -> Arc<Self> {
        Arc::new(Self {
            config,
            launcher,
            state: Mutex::default(),
            launching: watch::Sender::new(0),
            closed: watch::Sender::new(false),
        })
    }

    /// A live host for one session: the shared one, or one of the session's own.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Started {
        match self.config.isolation {
            Isolation::PerSession => self.start_one().await,
            Isolation::Shared => self.acquire_shared().await,
        }
    }

    async fn acquire_shared(self: &Arc<Self>) -> Started {
        loop {
            let flight = {
                let mut state = self.lock();
                if let Some(shared) = state.shared.take() {
                    if shared.failure().is_none() {
                        return Ok(state.shared.insert(shared).clone());
                    }
                    note_loss(&mut state, &shared);
                }
                if state.starting.as_ref().is_some_and(Flight::is_lost) {
                    state.starting = None;
                }
                let hosts = self;
                state
                    .starting
                    .get_or_insert_with(|| hosts.start_shared())
                    .clone()
            };
            if let Some(started) = flight.join().await {
                return started;
            }
            // The runtime that the start ran on has shut down, but this caller's has not.
        }
    }

    fn start_shared(self: &Arc<Self>) -> Flight<Started> {
        let hosts = Arc::clone(self);
        Flight::start(async move {
            let started = hosts.start_one().await;
            let mut state = hosts.lock();
            state.starting = None;
            state.shared = started.as_ref().ok().cloned();
            started
        })
    }

    /// Takes the spare or starts a host, after the pause that earlier failures demand.
    async fn start_one(self: &Arc<Self>) -> Started {
        let (spare, not_before) = {
            let mut state = self.lock();
            let spare = state.spare.take();
            if let Some(dead) = spare.as_ref().filter(|spare| spare.failure().is_some()) {
                note_loss(&mut state, dead);
            }
            (
                spare.filter(|spare| spare.failure().is_none()),
                state.backoff.not_before(),
            )
        };
        let started = match (spare, not_before) {
            (Some(spare), _) => Ok(spare),
            (None, not_before) => {
                if let Some(not_before) = not_before {
                    let mut closed = self.closed.subscribe();
                    // Either way the launch below finds out which it was.
                    let _ = timeout_at(not_before, closed.wait_for(|closed| *closed)).await;
                }
                self.launch().await
            }
        };
        if started.is_ok() {
            self.refill();
        }
        started
    }

    async fn launch(&self) -> Started {
        let _launching = Launching::new(&self.launching);
        let started = self.try_launch().await;
        if started.is_err() {
            self.lock().backoff.failed(None, Instant::now());
        }
        started
    }

    async fn try_launch(&self) -> Started {
        if self.is_closed() {
            return Err(closed());
        }
        let begun = Instant::now();
        let launched = timeout(self.config.deadlines.startup, self.launcher.launch()).await;
        let late = || ConnectionFailure::StartupDeadline(self.config.deadlines.startup);
        let link = launched
            .map_err(|_| Arc::<str>::from(late().to_string()))?
            .map_err(|error| Arc::<str>::from(ConnectionFailure::Spawn(error).to_string()))?;
        let greeting = Connection::greet(link, &self.config, begun)?;
        {
            let mut state = self.lock();
            state.live.retain(HostHandle::is_live);
            state.live.push(greeting.handle());
            // Whoever closes the hosts either finds this one in the list or was seen here.
            if self.is_closed() {
                greeting.handle().close();
            }
        }
        greeting.connect().await
    }

    /// Starts a spare host in the background, if one is wanted and there is none.
    fn refill(self: &Arc<Self>) {
        let mut state = self.lock();
        if !self.config.keep_spare
            || self.is_closed()
            || state.spare.is_some()
            || state.spare_starting
        {
            return;
        }
        state.spare_starting = true;
        drop(state);
        let hosts = Arc::clone(self);
        tokio::spawn(async move {
            let started = hosts.launch().await;
            if let Err(cause) = &started {
                // Nobody waits for the spare; whoever needs a host next gets its own error.
                tracing::warn!(%cause, "failed to start a spare host");
            }
            let mut state = hosts.lock();
            state.spare_starting = false;
            if !hosts.is_closed() {
                state.spare = started.ok();
            }
        });
    }

    /// Gives no session to a host any more. It ends when the last of those that it has is gone.
    pub(crate) fn retire(&self, connection: &Connection) {
        let retired = {
            let mut state = self.lock();
            let is_retired = |host: &mut Connection| host.is_same(connection);
            (
                state.shared.take_if(is_retired),
                state.spare.take_if(is_retired),
            )
        };
        drop(retired);
    }

    /// Takes note that a session has lost its host.
    pub(crate) fn lost(&self, connection: &Connection) {
        note_loss(&mut self.lock(), connection);
    }

    /// Ends every host, without waiting. Nothing is started any more.
    pub(crate) fn close(&self) -> Vec<HostHandle> {
        self.closed.send_replace(true);
        let (live, shared, spare) = {
            let mut state = self.lock();
            (
                std::mem::take(&mut state.live),
                state.shared.take(),
                state.spare.take(),
            )
        };
        live.iter().for_each(HostHandle::close);
        drop((shared, spare));
        live
    }

    /// Ends every host, and waits until each has ended and was reaped.
    pub(crate) async fn shutdown(&self) {
        let mut live = self.close();
        // A start that is under way ends soon, because its host is closed as soon as there is one.
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .launching
            .subscribe()
            .wait_for(|count| *count == 0)
            .await;
        live.append(&mut self.close());
        for host in live {
            host.ended().await;
        }
    }

    /// Whether nothing is started any more.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    fn lock(&self) -> MutexGuard<'_, HostsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note_loss(state: &mut HostsState, connection: &Connection) {
    // Several sessions may lose one host; it is one failure.
    if connection.note_loss() {
        state
            .backoff
            .failed(Some(connection.ready_at()), Instant::now());
    }
}

fn closed() -> Arc<str> {
    Arc::from("the provider of this session was dropped or shut down")
}
