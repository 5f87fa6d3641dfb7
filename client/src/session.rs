//! Sessions that outlive their hosts.
//!
//! # States
//! | state | `execute`, `import_store` | `wait`, `terminate` | `export_store` |
//! |---|---|---|---|
//! | unbound, never used | binds, then runs | no such cell | an empty store |
//! | binding | waits for it, then runs | as before the binding | waits for it |
//! | bound, host alive | runs | asks the host; an older generation's cell is lost | asks the host |
//! | bound, host lost | binds under a new generation, then runs | the cell is lost | the store is lost |
//! | shut down | refused | refused | refused |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{
    BoxFuture, CellId, CellResponse, CodeModeSession, ExecuteRequest, RawJson, SessionDelegate,
    SessionError, SessionId, SideEffects, StartedCell, StateLost, WaitRequest,
};

use crate::config::Isolation;
use crate::connection::Connection;
use crate::connection::events::{Observed, OpenSession};
use crate::error::CallError;
use crate::flight::Flight;
use crate::generation::{Losses, outer_cell_id, parse_cell_id};
use crate::hosts::Hosts;
use crate::messages::session_error;
use crate::provider::Place;
use crate::tools::LastTools;

/// A session whose cells run in a host process. Dropping it ends its cells, without waiting.
pub(crate) struct ProcessSession(Arc<Shared>);

struct Shared {
    place: Place,
    hosts: Arc<Hosts>,
    delegate: Arc<dyn SessionDelegate>,
    tools: LastTools,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest generation that was bound; 0 before the first.
    generation: u64,
    bound: Option<Bound>,
    binding: Option<Flight<Result<Bound, SessionError>>>,
    /// Whether the bound generation has held anything that can be lost.
    used: bool,
    losses: Losses,
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
    pub(crate) fn new(place: Place, hosts: Arc<Hosts>, delegate: Arc<dyn SessionDelegate>) -> Self {
        Self(Arc::new(Shared {
            place,
            hosts,
            delegate,
            tools: LastTools::default(),
            state: Mutex::default(),
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
        &self.0.place.id
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

    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>> {
        Box::pin(async move {
            let Some(bound) = self.0.bound_for_export().await? else {
                return Ok(BTreeMap::new());
            };
            let values = bound.connection.export_store(&bound.wire_id).await;
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
            stored.map_err(|error| self.0.error(error, None, SideEffects::None))
        })
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
            self.refuse_if_ended(&state)?;
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
                .get_or_insert_with(|| shared.start_binding())
                .clone()
        };
        flight.join().await.unwrap_or_else(|| Err(runtime_gone()))
    }

    /// Binds in a task of its own: a caller that goes away while the host starts costs nothing, and
    /// the next caller finds the host ready.
    fn start_binding(self: &Arc<Self>) -> Flight<Result<Bound, SessionError>> {
        let shared = Arc::clone(self);
        Flight::start(async move {
            let result = shared.open().await;
            let mut state = shared.lock();
            state.binding = None;
            let Ok(bound) = result else { return result };
            state.generation = bound.generation;
            state.used = false;
            if state.dropped && state.shutdown.is_none() {
                drop(state);
                shared.let_go(&bound);
            } else {
                state.bound = Some(bound.clone());
            }
            Ok(bound)
        })
    }

    async fn open(self: &Arc<Self>) -> Result<Bound, SessionError> {
        let connection = self
            .hosts
            .acquire()
            .await
            .map_err(|cause| SessionError::StartFailed {
                cause: cause.to_string(),
            })?;
        let generation = self.lock().generation + 1;
        // The host's sessions are numbered because an id is never used twice on one connection.
        let wire_id: Arc<str> =
            Arc::from(format!("{}#{}", self.place.id, self.place.next_number()));
        let session = OpenSession {
            wire_id: Arc::clone(&wire_id),
            id: self.place.id.clone(),
            generation,
            delegate: Arc::clone(&self.delegate),
        };
        match connection.open(session).await {
            Ok(()) => Ok(Bound {
                connection,
                wire_id,
                generation,
            }),
            Err(error) => {
                if connection.failure().is_some() {
                    self.hosts.lost(&connection);
                }
                if self.hosts.config.isolation == Isolation::PerSession {
                    connection.close();
                }
                Err(self.error(error, None, SideEffects::None))
            }
        }
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
    async fn bound_for_export(self: &Arc<Self>) -> Result<Option<Bound>, SessionError> {
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
            let Some(bound) = shared.lock().bound.take() else {
                return Ok(());
            };
            if bound.connection.failure().is_some() {
                // Its cells and values are gone already, as everybody concerned was told.
                return Ok(());
            }
            let closed = bound.connection.close_session(&bound.wire_id).await;
            if shared.hosts.config.isolation == Isolation::PerSession {
                bound.connection.close();
                bound.connection.ended().await;
            }
            closed.map_err(|error| shared.error(error, None, SideEffects::Possible))
        })
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
        };
        self.hosts.lost(&bound.connection);
        let used = std::mem::take(&mut state.used);
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
        &self,
        observed: Result<Observed, CallError>,
        generation: u64,
        cell_id: &CellId,
    ) -> Result<CellResponse, SessionError> {
        match observed {
            Ok(Observed { response, .. }) => Ok(CellResponse {
                cell_id: cell_id.clone(),
                state_lost: self.lock().losses.take_untold(generation),
                ..response
            }),
            Err(error) => Err(self.error(error, Some(cell_id), SideEffects::Possible)),
        }
    }

    fn error(
        &self,
        error: CallError,
        cell_id: Option<&CellId>,
        side_effects: SideEffects,
    ) -> SessionError {
        session_error(error, &self.place.id, cell_id, side_effects)
    }

    fn refuse_if_ended(&self, state: &State) -> Result<(), SessionError> {
        if state.shutdown.is_none() {
            return Ok(());
        }
        Err(SessionError::ShutDown {
            session_id: self.place.id.clone(),
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
