// SPDX-License-Identifier: Apache-2.0
//! Sessions that outlive their hosts.
//!
//! # States
//! | state | `execute`, `import_store` | `wait`, `terminate` | `export_store` | `list_cells` |
//! |---|---|---|---|---|
//! | unbound, never used | binds, then runs | no such cell | an empty store | no cells |
//! | binding | waits for it, then runs | as before the binding | waits for it | waits for it |
//! | bound, host alive | runs | asks the host; an older generation's cell is lost | asks the host | asks the host |
//! | bound, host lost | binds under a new generation, then runs | the cell is lost | the store is lost | they are lost |
//! | shut down | refused | refused | refused | refused |
//!
//! A session whose provider keeps copies of stores binds to a fresh host with the values of its copy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{
    BoxFuture, CellId, CellResponse, CellStatus, CellSummary, CodeModeSession, ExecuteRequest,
    HostExit, RawJson, RestoredStore, SessionError, SessionId, SideEffects, StartedCell, StateLost,
    WaitRequest,
};
use tokio::sync::watch;

use crate::config::Isolation;
use crate::connection::Connection;
use crate::connection::events::{Observed, OpenSession};
use crate::delegate::Delegate;
use crate::error::CallError;
use crate::flight::Flight;
use crate::generation::{Losses, outer_cell_id, parse_cell_id};
use crate::hosts::Hosts;
use crate::messages::session_error;
use crate::place::Place;
use crate::process::Exit;
use crate::store_copy::StoreCopy;
use crate::tools::LastTools;

/// Hosts that are asked for a session, one after the other, while each says that it is about to end.
pub const MAX_DRAINING_HOSTS: usize = 3;

/// A session whose cells run in a host process. Dropping it ends its cells, without waiting.
pub(crate) struct ProcessSession(Arc<Shared>);

struct Shared {
    id: SessionId,
    hosts: Arc<Hosts>,
    delegate: Delegate,
    tools: LastTools,
    state: Mutex<State>,
}

struct State {
    /// `None` once the session was shut down or dropped; its host may hold it for longer.
    place: Option<Arc<Place>>,
    /// The newest generation that was bound; 0 before the first.
    generation: u64,
    bound: Option<Bound>,
    binding: Option<Flight<Result<Bound, SessionError>>>,
    /// Whether the bound generation has held anything that can be lost.
    used: bool,
    losses: Losses,
    copy: StoreCopy,
    /// Where it is told how the last lost host's process has ended.
    lost_host: Option<watch::Receiver<Option<Exit>>>,
    shutdown: Option<Flight<Result<(), SessionError>>>,
    dropped: bool,
}

/// A session as one host knows it.
#[derive(Clone)]
struct Bound {
    connection: Connection,
    wire_id: Arc<str>,
    generation: u64,
}

impl ProcessSession {
    pub(crate) fn new(place: Arc<Place>, hosts: Arc<Hosts>, delegate: Delegate) -> Self {
        let id = place.id.clone();
        let state = State {
            place: Some(place),
            generation: 0,
            bound: None,
            binding: None,
            used: false,
            losses: Losses::default(),
            copy: StoreCopy::default(),
            lost_host: None,
            shutdown: None,
            dropped: false,
        };
        Self(Arc::new(Shared {
            id,
            hosts,
            delegate,
            tools: LastTools::default(),
            state: Mutex::new(state),
        }))
    }
}

impl Drop for ProcessSession {
    fn drop(&mut self) {
        let bound = {
            let mut state = self.0.lock();
            state.dropped = true;
            // A session that shuts down is closed by that.
            if state.shutdown.is_some() {
                None
            } else {
                state.place = None;
                state.bound.take()
            }
        };
        if let Some(bound) = bound {
            self.0.let_go(&bound);
        }
    }
}

impl CodeModeSession for ProcessSession {
    fn session_id(&self) -> &SessionId {
        &self.0.id
    }

    fn execute(&self, request: ExecuteRequest) -> BoxFuture<'_, Result<StartedCell, SessionError>> {
        Box::pin(self.0.execute(request))
    }

    fn wait(&self, request: WaitRequest) -> BoxFuture<'_, Result<CellResponse, SessionError>> {
        Box::pin(async move {
            let WaitRequest {
                cell_id,
                yield_time,
            } = request;
            let (bound, host_id) = self.0.bound_of(&cell_id)?;
            let observed = bound
                .connection
                .wait(&bound.wire_id, host_id, yield_time)
                .await;
            self.0.observed(observed, bound.generation, &cell_id)
        })
    }

    fn terminate(&self, cell_id: CellId) -> BoxFuture<'_, Result<CellResponse, SessionError>> {
        Box::pin(async move {
            let (bound, host_id) = self.0.bound_of(&cell_id)?;
            let observed = bound.connection.terminate(&bound.wire_id, host_id).await;
            self.0.observed(observed, bound.generation, &cell_id)
        })
    }

    fn list_cells(&self) -> BoxFuture<'_, Result<Vec<CellSummary>, SessionError>> {
        Box::pin(async move {
            let Some(bound) = self.0.bound_if_used().await? else {
                return Ok(Vec::new());
            };
            let listed = bound.connection.list_cells(&bound.wire_id).await;
            let mut cells = listed.map_err(|error| self.0.error(error, None, SideEffects::None))?;
            for cell in &mut cells {
                cell.cell_id = outer_cell_id(bound.generation, cell.cell_id.as_str());
            }
            Ok(cells)
        })
    }

    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>> {
        Box::pin(async move {
            let Some(bound) = self.0.bound_if_used().await? else {
                return Ok(BTreeMap::new());
            };
            let values = bound.connection.export_store(&bound.wire_id).await;
            if let Ok(values) = &values
                && self.0.hosts.config.keep_store
            {
                let mut state = self.0.lock();
                if state.generation == bound.generation {
                    state.copy.see(values.clone());
                }
            }
            values.map_err(|error| self.0.error(error, None, SideEffects::None))
        })
    }

    fn import_store(
        &self,
        values: BTreeMap<String, RawJson>,
    ) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async move {
            let bound = self.0.bind().await?;
            self.0.note_use(&bound);
            let stored = bound.connection.import_store(&bound.wire_id, values).await;
            if stored.is_ok() {
                self.0.renew_copy(bound.generation);
            }
            stored.map_err(|error| self.0.error(error, None, SideEffects::None))
        })
    }

    fn host_exit(&self) -> Option<HostExit> {
        let mut state = self.0.lock();
        self.0.note_loss(&mut state);
        let exit = *state.lost_host.as_ref()?.borrow();
        exit.and_then(Exit::told)
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async move {
            let flight = {
                let mut state = self.0.lock();
                let shared = &self.0;
                state
                    .shutdown
                    .get_or_insert_with(|| shared.start_shutdown())
                    .clone()
            };
            flight.join().await.unwrap_or_else(|| Err(runtime_gone()))
        })
    }
}

impl Shared {
    async fn execute(
        self: &Arc<Self>,
        request: ExecuteRequest,
    ) -> Result<StartedCell, SessionError> {
        let tools = self.tools.encoded(&request.tools)?;
        let bound = self.bind().await?;
        self.note_use(&bound);
        let handover = bound
            .connection
            .execute(&bound.wire_id, request, tools)
            .await
            .map_err(|error| self.error(error, None, SideEffects::None))?;
        let generation = bound.generation;
        let cell_id = outer_cell_id(generation, &handover.cell);
        let (shared, first, id) = (Arc::clone(self), handover.first, cell_id.clone());
        // The response must not keep the host alive, so `bound` stays behind.
        let first_response = Box::pin(async move { shared.observed(first.await, generation, &id) });
        Ok(StartedCell {
            cell_id,
            first_response,
        })
    }

    /// The session on a live host; starts or replaces the host as needed.
    async fn bind(self: &Arc<Self>) -> Result<Bound, SessionError> {
        let flight = {
            let mut state = self.lock();
            let place = self.place(&state)?;
            self.note_loss(&mut state);
            if let Some(bound) = &state.bound {
                return Ok(bound.clone());
            }
            if state.binding.as_ref().is_some_and(Flight::is_lost) {
                state.binding = None;
            }
            let shared = self;
            state
                .binding
                .get_or_insert_with(|| shared.start_binding(place))
                .clone()
        };
        flight.join().await.unwrap_or_else(|| Err(runtime_gone()))
    }

    /// Binds in a task of its own: a caller that goes away while the host starts costs nothing, and
    /// the next caller finds the host ready.
    fn start_binding(self: &Arc<Self>, place: Arc<Place>) -> Flight<Result<Bound, SessionError>> {
        let shared = Arc::clone(self);
        Flight::start(async move {
            let result = shared.open(place).await;
            let mut state = shared.lock();
            state.binding = None;
            let (bound, restored) = match result {
                Ok(opened) => opened,
                Err(error) => return Err(error),
            };
            state.generation = bound.generation;
            state.used = restored.is_some_and(|restored| restored.values > 0);
            if restored.is_some() {
                state.copy.restored();
            }
            state.losses.set_restored(restored);
            if state.dropped && state.shutdown.is_none() {
                drop(state);
                shared.let_go(&bound);
            } else {
                state.bound = Some(bound.clone());
            }
            Ok(bound)
        })
    }

    /// Opens the session on a host; on another one where that host opens none any more.
    async fn open(
        self: &Arc<Self>,
        place: Arc<Place>,
    ) -> Result<(Bound, Option<RestoredStore>), SessionError> {
        let mut asked = 1;
        loop {
            let connection =
                self.hosts
                    .acquire()
                    .await
                    .map_err(|cause| SessionError::StartFailed {
                        cause: cause.to_string(),
                    })?;
            let error = match self.open_on(&connection, Arc::clone(&place)).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            if connection.failure().is_some() {
                self.hosts.lost(&connection);
            }
            if self.hosts.config.isolation == Isolation::PerSession {
                connection.close();
            }
            let is_draining = error.is_host_draining();
            if is_draining {
                self.hosts.retire(&connection);
            }
            if !is_draining || asked == MAX_DRAINING_HOSTS {
                return Err(self.error(error, None, SideEffects::None));
            }
            asked += 1;
        }
    }

    async fn open_on(
        self: &Arc<Self>,
        connection: &Connection,
        place: Arc<Place>,
    ) -> Result<(Bound, Option<RestoredStore>), CallError> {
        let generation = self.lock().generation + 1;
        // The host's sessions are numbered because an id is never used twice on one connection.
        let wire_id: Arc<str> = Arc::from(format!("{}#{}", self.id, place.next_number()));
        let session = OpenSession {
            wire_id: Arc::clone(&wire_id),
            id: self.id.clone(),
            generation,
            delegate: self.delegate.clone(),
            place,
        };
        connection.open(session).await?;
        let bound = Bound {
            connection: connection.clone(),
            wire_id,
            generation,
        };
        let restored = self.restore(&bound).await?;
        Ok((bound, restored))
    }

    /// Gives a fresh host the values of the copy, if there is one. An error is the end of the host.
    async fn restore(&self, bound: &Bound) -> Result<Option<RestoredStore>, CallError> {
        let Some((values, restored)) = self.lock().copy.to_restore() else {
            return Ok(None);
        };
        if values.is_empty() {
            return Ok(Some(restored));
        }
        match bound.connection.import_store(&bound.wire_id, values).await {
            Ok(()) => Ok(Some(restored)),
            Err(error @ CallError::Lost { .. }) => Err(error),
            Err(error) => {
                // A host of another build may lack the capability, or bound its stores closer.
                tracing::warn!(session = %self.id, %error, "stored values could not be put back");
                Ok(None)
            }
        }
    }

    /// Has the copy of the stored values made anew, in a task that nobody waits for.
    fn renew_copy(self: &Arc<Self>, generation: u64) {
        if !self.hosts.config.keep_store {
            return;
        }
        let bound = {
            let mut state = self.lock();
            let bound = state.bound.clone();
            let Some(bound) = bound.filter(|bound| bound.generation == generation) else {
                return;
            };
            if !state.copy.note_change() {
                return;
            }
            bound
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let values = bound.connection.export_store(&bound.wire_id).await;
                if let Err(error) = &values {
                    tracing::debug!(session = %shared.id, %error, "the copy of the store is old");
                }
                let mut state = shared.lock();
                // A copy of a lost generation is as old as what the present one began with.
                let values = values.ok().filter(|_| state.generation == generation);
                if !state.copy.take(values) {
                    return;
                }
            }
        });
    }

    /// The host of a cell, and the cell's id there. Never starts a host.
    fn bound_of<'a>(&self, cell_id: &'a CellId) -> Result<(Bound, &'a str), SessionError> {
        let missing = || SessionError::MissingCell {
            cell_id: cell_id.clone(),
        };
        let (generation, host_id) = parse_cell_id(cell_id).ok_or_else(missing)?;
        let mut state = self.lock();
        self.refuse_if_ended(&state)?;
        self.note_loss(&mut state);
        match &state.bound {
            Some(bound) if bound.generation == generation => Ok((bound.clone(), host_id)),
            _ if generation <= state.generation => Err(SessionError::CellLost {
                cell_id: cell_id.clone(),
                cause: state.losses.cause(generation),
            }),
            _ => Err(missing()),
        }
    }

    /// The host that holds the store; `None` when nothing was ever stored.
    async fn bound_if_used(self: &Arc<Self>) -> Result<Option<Bound>, SessionError> {
        let binding = {
            let mut state = self.lock();
            self.refuse_if_ended(&state)?;
            self.note_loss(&mut state);
            match (&state.bound, &state.binding) {
                (Some(bound), _) => return Ok(Some(bound.clone())),
                (None, Some(binding)) => binding.clone(),
                (None, None) if state.generation == 0 => return Ok(None),
                (None, None) => {
                    return Err(SessionError::RuntimeLost {
                        cause: state.losses.cause(state.generation),
                        side_effects: SideEffects::None,
                    });
                }
            }
        };
        binding
            .join()
            .await
            .unwrap_or_else(|| Err(runtime_gone()))
            .map(Some)
    }

    fn start_shutdown(self: &Arc<Self>) -> Flight<Result<(), SessionError>> {
        let shared = Arc::clone(self);
        Flight::start(async move {
            let binding = shared.lock().binding.clone();
            if let Some(binding) = binding {
                // Its result is in the state, and its error is another caller's.
                drop(binding.join().await);
            }
            let bound = shared.lock().bound.take();
            let closed = match &bound {
                // Where its host has failed, its cells and values are gone already, as everybody
                // concerned was told.
                Some(bound) if bound.connection.failure().is_none() => shared.close(bound).await,
                Some(_) | None => Ok(()),
            };
            let mut state = shared.lock();
            if let (Err(CallError::Host(_)), Some(bound)) = (&closed, bound)
                && shared.hosts.config.isolation == Isolation::Shared
            {
                // The host has refused, so the session lives on and can be shut down again.
                state.shutdown = None;
                if state.dropped {
                    state.place = None;
                    drop(state);
                    shared.let_go(&bound);
                } else {
                    state.bound = Some(bound);
                }
            } else {
                state.place = None;
            }
            closed.map_err(|error| shared.error(error, None, SideEffects::Possible))
        })
    }

    async fn close(&self, bound: &Bound) -> Result<(), CallError> {
        let closed = bound.connection.close_session(&bound.wire_id).await;
        if self.hosts.config.isolation == Isolation::PerSession {
            bound.connection.close();
            bound.connection.ended().await;
        }
        closed
    }

    /// Leaves a host that this session no longer needs.
    fn let_go(&self, bound: &Bound) {
        match self.hosts.config.isolation {
            Isolation::PerSession => bound.connection.close(),
            Isolation::Shared => bound.connection.session_gone(&bound.wire_id),
        }
    }

    /// Moves a bound generation whose host has failed to the losses.
    fn note_loss(&self, state: &mut State) {
        let Some(bound) = &state.bound else { return };
        let Some(cause) = bound.connection.failure() else {
            return;
        };
        let loss = StateLost {
            lost_generation: bound.generation,
            cause: cause.to_string(),
            restored: None,
        };
        self.hosts.lost(&bound.connection);
        let used = std::mem::take(&mut state.used);
        state.lost_host = Some(bound.connection.exit());
        state.bound = None;
        state.losses.add(loss, used);
    }

    fn note_use(&self, bound: &Bound) {
        let mut state = self.lock();
        if state.generation == bound.generation {
            state.used = true;
        }
    }

    /// A response for the embedder: under the cell's outer id, and with the news of a loss once.
    fn observed(
        self: &Arc<Self>,
        observed: Result<Observed, CallError>,
        generation: u64,
        cell_id: &CellId,
    ) -> Result<CellResponse, SessionError> {
        match observed {
            Ok(Observed { response, .. }) => {
                // Only what cells have stored that have ended is in the session's store.
                if response.status != CellStatus::Yielded {
                    self.renew_copy(generation);
                }
                Ok(CellResponse {
                    cell_id: cell_id.clone(),
                    state_lost: self.lock().losses.take_untold(generation),
                    ..response
                })
            }
            Err(error) => Err(self.error(error, Some(cell_id), SideEffects::Possible)),
        }
    }

    fn error(
        &self,
        error: CallError,
        cell_id: Option<&CellId>,
        side_effects: SideEffects,
    ) -> SessionError {
        session_error(error, &self.id, cell_id, side_effects)
    }

    /// The session's place, which it has until it ends.
    fn place(&self, state: &State) -> Result<Arc<Place>, SessionError> {
        self.refuse_if_ended(state)?;
        state.place.clone().ok_or_else(|| SessionError::ShutDown {
            session_id: self.id.clone(),
        })
    }

    fn refuse_if_ended(&self, state: &State) -> Result<(), SessionError> {
        if state.shutdown.is_none() {
            return Ok(());
        }
        Err(SessionError::ShutDown {
            session_id: self.id.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn runtime_gone() -> SessionError {
    SessionError::RuntimeLost {
        cause: "the client's async runtime shut down".to_owned(),
        side_effects: SideEffects::None,
    }
}
