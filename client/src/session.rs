// SPDX-License-Identifier: Apache-2.0
//! Sessions that outlive their hosts.
//!
//! # States
//! | state | `execute`, `import_store` | `wait`, `terminate`, `read_output` | `export_store` | `list_cells` |
//! |---|---|---|---|---|
//! | unbound, never used | binds, then runs | no such cell | an empty store | no cells |
//! | binding | waits for it, then runs | as before the binding | waits for it | waits for it |
//! | bound, host alive | runs | asks the host; an older generation's cell is lost | asks the host | asks the host |
//! | bound, host about to end | moves, then runs | asks the host | asks the host | asks the host |
//! | bound, host lost | binds under a new generation, then runs | the cell is lost | the copy, or the store is lost | they are lost |
//! | shut down | refused | refused | refused | refused |
//!
//! A session that keeps a copy of its store binds to a fresh host with the values of the copy.
//!
//! A host that is about to end refuses executes. A session that has nothing there but stored values moves: it
//! takes them along to a fresh host, under a new generation, and nothing is lost and nothing told. One with
//! cells there stays and hands the refusal on.
//!
//! An execute of which surely nothing has run when its host is lost is sent to a fresh host, once, as if the
//! loss had been known before it was sent.

mod stored;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CellId, CellResponse, CellStatus, CellSummary, CodeModeSession, ExecuteRequest,
    HostExit, KeptText, RawJson, ReadOutputRequest, SessionError, SessionId, SessionOptions,
    SideEffects, StartedCell, StateLost, WaitRequest,
};
use tokio::sync::watch;

use crate::config::Isolation;
use crate::connection::Connection;
use crate::connection::inputs::{Observed, OpenSession};
use crate::delegate::Delegate;
use crate::error::CallError;
use crate::flight::Flight;
use crate::generation::{Losses, outer_cell_id, parse_cell_id};
use crate::hosts::Hosts;
use crate::messages::session_error;
use crate::opening::{OpenError, PutBack};
use crate::place::Place;
use crate::process::Exit;
use crate::store_copy::StoreCopy;
use crate::tools::LastTools;

/// Hosts that are asked for a session, one after the other, while each says that it is about to end.
pub const MAX_DRAINING_HOSTS: usize = 6;

/// The pause before the second of these is asked (50 ms). Each further one is twice as long, 1.55 s all
/// together: a balancer needs a moment to see that a host drains.
pub const DRAINING_PAUSE: Duration = Duration::from_millis(50);

/// A session whose cells run in a host process. Dropping it ends its cells, without waiting.
pub(crate) struct ProcessSession(Arc<Shared>);

struct Shared {
    id: SessionId,
    hosts: Arc<Hosts>,
    delegate: Delegate,
    /// Whether each host is to cut the output of the session's cells.
    cuts_output: bool,
    tools: LastTools,
    state: Mutex<BindingState>,
}

struct BindingState {
    /// `None` once the session was shut down or dropped; its host may hold it for longer.
    place: Option<Arc<Place>>,
    /// The newest generation that was bound; 0 before the first.
    generation: u64,
    bound: Option<Bound>,
    binding: Option<Flight<Result<Bound, SessionError>>>,
    /// How often something was given to the bound generation that can be lost with it.
    uses: u64,
    losses: Losses,
    /// `None` when none is kept.
    copy: Option<StoreCopy>,
    /// The values that the session takes along from a host that it has left.
    carried: Option<BTreeMap<String, RawJson>>,
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
    /// A session that no host knows yet. Its id is that of `place`, not the one in `options`.
    pub(crate) fn new(
        place: Arc<Place>,
        hosts: Arc<Hosts>,
        delegate: Delegate,
        options: &SessionOptions,
    ) -> Self {
        let id = place.id.clone();
        let keeps_store = options.keep_store.unwrap_or(hosts.config.keep_store);
        let state = BindingState {
            place: Some(place),
            generation: 0,
            bound: None,
            binding: None,
            uses: 0,
            losses: Losses::default(),
            copy: keeps_store.then(StoreCopy::default),
            carried: None,
            lost_host: None,
            shutdown: None,
            dropped: false,
        };
        Self(Arc::new(Shared {
            id,
            hosts,
            delegate,
            cuts_output: options.cuts_output,
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
            loop {
                // A session on its way to another host has no cells.
                if self.0.carried().is_some() {
                    return Ok(Vec::new());
                }
                let Some(bound) = self.0.bound_if_used().await? else {
                    return Ok(Vec::new());
                };
                match bound.connection.list_cells(&bound.wire_id).await {
                    Ok(mut cells) => {
                        for cell in &mut cells {
                            cell.cell_id = outer_cell_id(bound.generation, cell.cell_id.as_str());
                        }
                        return Ok(cells);
                    }
                    Err(_) if self.0.lock().losses.was_left(bound.generation) => {}
                    Err(error) => return Err(self.0.error(error, None, SideEffects::None)),
                }
            }
        })
    }

    fn read_output(
        &self,
        request: ReadOutputRequest,
    ) -> BoxFuture<'_, Result<KeptText, SessionError>> {
        Box::pin(async move {
            let cell_id = request.cell_id.clone();
            if !self.0.cuts_output {
                return Err(SessionError::InvalidRequest {
                    message: format!(
                        "nothing of exec cell {cell_id} was cut: its session does not"
                    ),
                });
            }
            let (bound, host_id) = self.0.bound_of(&cell_id)?;
            let request = ReadOutputRequest {
                cell_id: CellId::new(host_id),
                ..request
            };
            let kept = bound.connection.read_output(&bound.wire_id, request).await;
            kept.map_err(|error| self.0.error(error, Some(&cell_id), SideEffects::None))
        })
    }

    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>> {
        Box::pin(self.0.export_store())
    }

    fn import_store(
        &self,
        values: BTreeMap<String, RawJson>,
    ) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(self.0.import_store(values))
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
        let mut asked = 1;
        let mut may_go_again = true;
        let (bound, handover) = loop {
            let bound = self.bind().await?;
            self.note_use(&bound);
            let (mut request, tools) = (request.clone(), tools.clone());
            if request.globals.is_none() && bound.connection.can_choose_globals() {
                request.globals = self.hosts.config.preferred_globals;
            }
            match bound
                .connection
                .execute(&bound.wire_id, request, tools)
                .await
            {
                Ok(handover) => break (bound, handover),
                Err(CallError::Draining(_)) if asked < MAX_DRAINING_HOSTS => self.leave(bound),
                Err(CallError::Lost {
                    side_effects: SideEffects::None,
                    cause,
                }) if may_go_again && !self.hosts.is_closed() => {
                    tracing::debug!(session = %self.id, %cause, "an execute goes to a fresh host");
                    may_go_again = false;
                    self.take_back_use(&bound);
                }
                Err(error) => return Err(self.error(error, None, SideEffects::None)),
            }
            asked += 1;
        };
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
        Flight::start(async move { shared.bind_anew(place).await })
    }

    async fn bind_anew(self: &Arc<Self>, place: Arc<Place>) -> Result<Bound, SessionError> {
        let result = self.open(place).await;
        let mut state = self.lock();
        state.binding = None;
        let (bound, put_back) = result?;
        state.generation = bound.generation;
        state.uses = u64::from(put_back.any());
        match put_back {
            PutBack::Carried { .. } => state.carried = None,
            PutBack::Copy(restored) => {
                if let Some(copy) = &mut state.copy {
                    copy.was_put_back();
                }
                state.losses.set_restored(Some(restored));
            }
            PutBack::Nothing => state.losses.set_restored(None),
        }
        if state.dropped && state.shutdown.is_none() {
            drop(state);
            self.let_go(&bound);
        } else {
            state.bound = Some(bound.clone());
        }
        Ok(bound)
    }

    /// Leaves a host that begins nothing any more, unless that was done; whoever binds next is on another
    /// one. Nothing of the session is left there but stored values, which it takes along.
    fn leave(self: &Arc<Self>, bound: Bound) {
        let mut state = self.lock();
        let is_bound = |held: &mut Bound| held.generation == bound.generation;
        // Who shuts the session down meanwhile needs the host that it has.
        let Ok(place) = self.place(&state) else {
            return;
        };
        if state.bound.take_if(is_bound).is_none() {
            return;
        }
        state.losses.leave(bound.generation);
        self.hosts.retire(&bound.connection);
        let shared = Arc::clone(self);
        let as_of = state.copy.as_ref().map(StoreCopy::now);
        state.binding = Some(Flight::start(async move {
            let exported = bound.connection.export_store(&bound.wire_id).await;
            shared.let_go(&bound);
            {
                let mut state = shared.lock();
                let used = std::mem::take(&mut state.uses) > 0;
                match exported {
                    Ok(values) => {
                        if let (Some(copy), Some(as_of)) = (&mut state.copy, as_of) {
                            copy.see(as_of, values.clone());
                        }
                        state.carried = Some(values);
                    }
                    Err(error) => state.losses.add(stayed_behind(&bound, &error), used),
                }
            }
            shared.bind_anew(place).await
        }));
    }

    /// Opens the session on a host; on another one where that host opens none any more, or has ended since.
    async fn open(self: &Arc<Self>, place: Arc<Place>) -> Result<(Bound, PutBack), SessionError> {
        let mut leaves = {
            let state = self.lock();
            state.losses.was_left(state.generation)
        };
        let mut pause = DRAINING_PAUSE;
        for _ in 1..MAX_DRAINING_HOSTS {
            match self.try_open(Arc::clone(&place)).await {
                Ok(opened) => return Ok(opened),
                Err(OpenError::Draining(_)) => leaves = true,
                // The host that is left, and is led to once more, comes to its end at some time.
                Err(OpenError::NoHost(_)) if leaves => {}
                Err(error) => return Err(error.into_inner()),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.try_open(place).await.map_err(OpenError::into_inner)
    }

    async fn try_open(self: &Arc<Self>, place: Arc<Place>) -> Result<(Bound, PutBack), OpenError> {
        let connection = self.hosts.acquire().await.map_err(|cause| {
            let cause = cause.to_string();
            OpenError::NoHost(SessionError::StartFailed { cause })
        })?;
        let error = match self.open_on(&connection, place).await {
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
        let is_lost = matches!(error, CallError::Lost { .. });
        let error = self.error(error, None, SideEffects::None);
        Err(if is_draining {
            self.hosts.retire(&connection);
            OpenError::Draining(error)
        } else if is_lost {
            OpenError::NoHost(error)
        } else {
            OpenError::Refused(error)
        })
    }

    async fn open_on(
        self: &Arc<Self>,
        connection: &Connection,
        place: Arc<Place>,
    ) -> Result<(Bound, PutBack), CallError> {
        let generation = self.lock().generation + 1;
        // The host's sessions are numbered because an id is never used twice on one connection.
        let wire_id: Arc<str> = Arc::from(format!("{}#{}", self.id, place.next_number()));
        let session = OpenSession {
            wire_id: Arc::clone(&wire_id),
            id: self.id.clone(),
            generation,
            delegate: self.delegate.clone(),
            cuts_output: self.cuts_output,
            place,
        };
        connection.open(session).await?;
        let bound = Bound {
            connection: connection.clone(),
            wire_id,
            generation,
        };
        let put_back = self.put_back(&bound).await?;
        Ok((bound, put_back))
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
            _ if state.losses.was_left(generation) => Err(SessionError::CellFinished {
                cell_id: cell_id.clone(),
            }),
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
    fn note_loss(&self, state: &mut BindingState) {
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
        let used = std::mem::take(&mut state.uses) > 0;
        state.lost_host = Some(bound.connection.exit());
        state.bound = None;
        state.losses.add(loss, used);
    }

    fn note_use(&self, bound: &Bound) {
        let mut state = self.lock();
        if state.generation == bound.generation {
            state.uses += 1;
        }
    }

    /// What was noted as a use has not reached the host.
    fn take_back_use(&self, bound: &Bound) {
        let mut state = self.lock();
        if state.generation == bound.generation {
            state.uses = state.uses.saturating_sub(1);
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
    fn place(&self, state: &BindingState) -> Result<Arc<Place>, SessionError> {
        self.refuse_if_ended(state)?;
        state.place.clone().ok_or_else(|| SessionError::ShutDown {
            session_id: self.id.clone(),
        })
    }

    fn refuse_if_ended(&self, state: &BindingState) -> Result<(), SessionError> {
        if state.shutdown.is_none() {
            return Ok(());
        }
        Err(SessionError::ShutDown {
            session_id: self.id.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BindingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loss of a session that has left its host without what it had stored there.
fn stayed_behind(left: &Bound, error: &CallError) -> StateLost {
    StateLost {
        lost_generation: left.generation,
        cause: format!(
            "its host is about to end, and what was stored could not be taken along: {error}"
        ),
        restored: None,
    }
}

fn runtime_gone() -> SessionError {
    SessionError::RuntimeLost {
        cause: "the client's async runtime shut down".to_owned(),
        side_effects: SideEffects::None,
    }
}
