// SPDX-License-Identifier: Apache-2.0
//! Sessions: admission of cells, their observation, the store, shutdown.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use code_mode_api::waist::Held;
use code_mode_api::{
    CellId, CellSummary, ExecuteRequest, LimitName, RawJson, SessionDelegate, SessionError,
    SessionId,
};
use code_mode_engine::{ScriptOptions, ToolTable};
use serde_json::value::RawValue;

use crate::cell::{Cell, CellOwner, Origin, SeatedCell};
use crate::job::Job;
use crate::observation::{ObservationId, Observer};
use crate::runtime_core::{RuntimeCore, SessionPlace};
use crate::shares::Shares;
use crate::slots::{KeptOpen, Presence, Seat, Slot};
use crate::store::{Store, StoreBounds, StoreFull};
use crate::timing;

/// A session: cells that share stored values. Cheap to clone; when the last clone is dropped, its
/// running cells are terminated.
#[derive(Clone)]
pub struct Session {
    handle: Arc<SessionHandle>,
}

/// What the clones of a session share; its drop is the session's end.
struct SessionHandle {
    core: Arc<SessionCore>,
}

/// What a session's cells know of it.
pub(crate) struct SessionCore {
    pub(crate) id: SessionId,
    pub(crate) delegate: Arc<dyn SessionDelegate>,
    pub(crate) runtime: Arc<RuntimeCore>,
    pub(crate) store: Arc<Store>,
    pub(crate) shares: Shares,
    state: Mutex<SessionState>,
}

#[derive(Default)]
struct SessionState {
    /// Cells that run, and ended ones whose result nobody has had.
    cells: HashMap<CellId, Kept>,
    /// Those whose result is just being told. Nobody may have it in the end, and then the next observer gets it.
    telling: HashMap<CellId, Arc<Cell>>,
    last_cell: u64,
    /// The [`Presence`]s that its cells hold.
    present: usize,
    closing: bool,
    /// Held until the session is closed.
    place: Option<SessionPlace>,
    on_closed: Vec<Box<dyn FnOnce() + Send>>,
}

/// A cell that may leave a result, or has left one.
struct Kept {
    cell: Arc<Cell>,
    _result: Held,
}

/// All that one cell takes of its session and its runtime.
struct Places {
    slot: Slot,
    seat: Seat,
    presence: Presence,
    /// The place of its result.
    result: Held,
}

/// A cell that has its id and its slot and does not run yet. Dropping it gives all back that it has taken.
pub struct AdmittedCell {
    cell: Arc<Cell>,
    job: Job,
    result: Held,
    session: Arc<SessionHandle>,
    yield_time: Duration,
}

impl Session {
    pub(crate) fn new(core: SessionCore) -> Self {
        Self {
            handle: Arc::new(SessionHandle {
                core: Arc::new(core),
            }),
        }
    }

    fn core(&self) -> &Arc<SessionCore> {
        &self.handle.core
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.core().id
    }

    /// Checks a request and takes an id and a slot for its cell. Nothing runs yet.
    ///
    /// # Errors
    /// [`SessionError::ShutDown`], [`SessionError::InvalidRequest`] or [`SessionError::Limit`];
    /// nothing has been taken then.
    pub fn admit(&self, request: ExecuteRequest) -> Result<AdmittedCell, SessionError> {
        let admitted = self.admit_uncounted(request);
        self.core().runtime.shared.count_refusal(admitted)
    }

    fn admit_uncounted(&self, request: ExecuteRequest) -> Result<AdmittedCell, SessionError> {
        let core = self.core();
        let config = &core.runtime.shared.config;
        if request.source.len() > config.max_source_bytes {
            return Err(SessionError::Limit {
                limit: LimitName::SourceBytes,
                maximum: config.max_source_bytes as u64,
                detail: format!("the source has {}", request.source.len()),
            });
        }
        let tools = ToolTable::new(request.tools, config.max_tools, config.max_tool_bytes)?;
        let (id, places) = core.take_cell_id()?;
        let shared = &core.runtime.shared;
        let limits = shared.operator_limits.lowered_by(&request.limits);
        let mailbox = core.runtime.backend.mailbox();
        let options = ScriptOptions {
            globals: request.globals.unwrap_or(config.globals),
            typescript: config.typescript,
            exact_integers: request.exact_integers.unwrap_or(config.exact_integers),
        };
        let origin = Origin {
            session_id: core.id.clone(),
            store: Arc::clone(&core.store),
            runtime: Arc::clone(shared),
            slot: places.slot,
            presence: places.presence,
            answers: Arc::clone(&core.shares.answers),
            unread: Arc::clone(&core.shares.unread),
            session: Arc::downgrade(core) as Weak<dyn CellOwner>,
            delegate: Arc::clone(&core.delegate),
        };
        let cell = Cell::new(id, request.exec_call_id, limits, options, mailbox, origin);
        let cell = SeatedCell::new(cell, places.seat);
        Ok(AdmittedCell {
            cell: Arc::clone(cell.cell()),
            job: Job {
                cell,
                source: request.source,
                tools,
                within: tracing::Span::none(),
                queued: tracing::Span::none(),
            },
            result: places.result,
            session: Arc::clone(&self.handle),
            yield_time: request.yield_time.unwrap_or(config.default_yield_time),
        })
    }

    /// Observes a cell until it ends, yields, or `yield_time` (by default the runtime's) has
    /// passed. When the result is there already, the observer is called before this returns, unless
    /// another thread is just calling the embedder about the same cell.
    ///
    /// # Errors
    /// [`SessionError::MissingCell`], [`SessionError::CellFinished`] or
    /// [`SessionError::BusyObserver`]; the observer is dropped uncalled then.
    pub fn observe(
        &self,
        cell: &CellId,
        yield_time: Option<Duration>,
        observer: Observer,
    ) -> Result<ObservationId, SessionError> {
        let yield_time = yield_time.unwrap_or(self.core().runtime.shared.config.default_yield_time);
        self.core().find(cell)?.observe(yield_time, observer)
    }

    /// Ends an observation without ending the cell: its observer is called with
    /// [`SessionError::Cancelled`]. Does nothing when the observation is over.
    pub fn detach(&self, cell: &CellId, observation: ObservationId) {
        if let Ok(cell) = self.core().find(cell) {
            cell.detach(observation);
        }
    }

    /// Ends an observation now, as if its yield time had passed: its observer gets what has come so
    /// far. Does nothing when the observation is over.
    pub fn yield_observation(&self, cell: &CellId, observation: ObservationId) {
        if let Ok(cell) = self.core().find(cell) {
            cell.yield_observation(observation);
        }
    }

    /// The cell of this id, while it runs or has a result that nobody has had.
    pub(crate) fn find(&self, cell: &CellId) -> Result<Arc<Cell>, SessionError> {
        self.core().find(cell)
    }

    /// Why a cell that its caller does not know cannot be observed.
    pub(crate) fn why_not(&self, cell: &CellId) -> SessionError {
        match self.core().find(cell) {
            Err(error) => error,
            Ok(_) => SessionError::CellFinished {
                cell_id: cell.clone(),
            },
        }
    }

    /// Ends a cell. The observer, and with it whoever observes the cell, is called once the cell's
    /// V8 thread has ended.
    ///
    /// # Errors
    /// [`SessionError::MissingCell`] or [`SessionError::CellFinished`]; the observer is dropped
    /// uncalled then.
    pub fn terminate(&self, cell: &CellId, observer: Observer) -> Result<(), SessionError> {
        self.core().find(cell)?.terminate(observer)
    }

    /// The cells that run or keep a result, in the order of their making.
    ///
    /// # Errors
    /// [`SessionError::ShutDown`].
    pub fn list_cells(&self) -> Result<Vec<CellSummary>, SessionError> {
        self.core().check_open()?;
        // A cell takes the session's lock while it holds its own, so none is asked under it.
        let cells = self.core().lock().all_cells();
        let mut listed: Vec<CellSummary> = cells.iter().filter_map(|cell| cell.summary()).collect();
        // The ids are numbers.
        listed.sort_by_cached_key(|cell| (cell.cell_id.as_str().len(), cell.cell_id.clone()));
        Ok(listed)
    }

    /// The values that ended cells have stored.
    ///
    /// # Errors
    /// [`SessionError::ShutDown`].
    pub fn export_store(&self) -> Result<BTreeMap<String, RawJson>, SessionError> {
        self.core().check_open()?;
        let values = self.core().store.snapshot();
        values
            .iter()
            .map(
                |(key, value)| match RawValue::from_string(value.to_string()) {
                    Ok(value) => Ok((key.clone(), value)),
                    Err(error) => Err(SessionError::InvalidRequest {
                        message: format!("the stored value of {key} is not JSON: {error}"),
                    }),
                },
            )
            .collect()
    }

    /// Stores values as if a cell had: all of them or, on an error, none.
    ///
    /// # Errors
    /// [`SessionError::ShutDown`] or [`SessionError::Limit`].
    pub fn import_store(&self, values: BTreeMap<String, RawJson>) -> Result<(), SessionError> {
        self.core().check_open()?;
        let imported = self.core().store.import(values);
        let imported = imported.map_err(|(limit, maximum): StoreFull| SessionError::Limit {
            limit,
            maximum,
            detail: "nothing was stored".to_owned(),
        });
        self.core().runtime.shared.count_refusal(imported)
    }

    /// Refuses new cells, terminates the running ones, and calls `done` once all V8 threads of the
    /// session have ended: at once when there are none.
    pub fn begin_shutdown(&self, done: Box<dyn FnOnce() + Send>) {
        self.core().close(Some(done));
    }

    /// As [`begin_shutdown`](Self::begin_shutdown), and waits for the end.
    pub async fn shutdown(&self) {
        let (done, closed) = tokio::sync::oneshot::channel();
        self.begin_shutdown(Box::new(move || {
            // The receiver is gone when the caller no longer waits, which is its right.
            let _ = done.send(());
        }));
        // The sender is dropped unsent only if the callback was dropped, which `close` never does.
        let _ = closed.await;
    }
}

impl Drop for SessionHandle {
    fn drop(&mut self) {
        // What its cells have keeps the core until the last of them is gone.
        self.core.close(None);
    }
}

impl AdmittedCell {
    /// The cell's id.
    pub fn id(&self) -> &CellId {
        &self.cell.id
    }

    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Starts the cell; `first` gets its first response.
    pub fn start(self, first: Observer) -> ObservationId {
        let Self {
            cell,
            mut job,
            result,
            session,
            yield_time,
        } = self;
        let observation = cell.start(yield_time, first);
        let core = &session.core;
        let closing = {
            let mut state = core.lock();
            state.keep(&cell, result);
            state.closing
        };
        job.within = tracing::Span::current();
        job.queued = timing::queue(&cell);
        core.runtime.backend.run(job);
        if closing {
            terminate_unheard(&cell);
        }
        observation
    }
}

impl SessionCore {
    pub(crate) fn new(place: SessionPlace, delegate: Arc<dyn SessionDelegate>) -> Self {
        let runtime = Arc::clone(place.runtime());
        let config = &runtime.shared.config;
        let store = Arc::new(Store::new(StoreBounds {
            value_bytes: config.max_stored_value_bytes,
            bytes: config.max_store_bytes,
            keys: config.max_store_keys,
        }));
        let shares = Shares::new(&runtime.shared.pools, config);
        Self {
            id: place.id().clone(),
            delegate,
            shares,
            runtime,
            store,
            state: Mutex::new(SessionState {
                place: Some(place),
                ..SessionState::default()
            }),
        }
    }

    /// An id for a cell, and its places.
    fn take_cell_id(self: &Arc<Self>) -> Result<(CellId, Places), SessionError> {
        let config = &self.runtime.shared.config;
        let mut state = self.lock();
        if state.closing {
            return Err(SessionError::ShutDown {
                session_id: self.id.clone(),
            });
        }
        let result = self.shares.results.try_hold(1);
        let result = result.map_err(|full| SessionError::Limit {
            limit: LimitName::StoredResults,
            maximum: full.maximum() as u64,
            detail: format!("wait for or terminate cells {}", state.oldest_cells()),
        })?;
        if state.last_cell >= config.max_cells_per_session {
            return Err(SessionError::Limit {
                limit: LimitName::CellIds,
                maximum: config.max_cells_per_session,
                detail: "open another session".to_owned(),
            });
        }
        let slot = self.shares.slot()?;
        let seat = self.runtime.shared.seats.take()?;
        state.last_cell += 1;
        let id = CellId::new(state.last_cell.to_string());
        state.present += 1;
        let presence = Presence::new(Arc::clone(self) as Arc<dyn KeptOpen>);
        let places = Places {
            slot,
            seat,
            presence,
            result,
        };
        Ok((id, places))
    }

    fn find(&self, id: &CellId) -> Result<Arc<Cell>, SessionError> {
        let state = self.lock();
        if let Some(kept) = state.cells.get(id) {
            return Ok(Arc::clone(&kept.cell));
        }
        if let Some(cell) = state.telling.get(id) {
            return Ok(Arc::clone(cell));
        }
        // Ids are given out in order, so one up to the last that is no longer here has finished.
        let known = id
            .as_str()
            .parse::<u64>()
            .is_ok_and(|n| (1..=state.last_cell).contains(&n) && n.to_string() == id.as_str());
        Err(if known {
            SessionError::CellFinished {
                cell_id: id.clone(),
            }
        } else {
            SessionError::MissingCell {
                cell_id: id.clone(),
            }
        })
    }

    fn check_open(&self) -> Result<(), SessionError> {
        if self.lock().closing {
            return Err(SessionError::ShutDown {
                session_id: self.id.clone(),
            });
        }
        Ok(())
    }

    fn close(&self, done: Option<Box<dyn FnOnce() + Send>>) {
        // Each hands its result out, to nobody, unless it has done so already.
        let cells = {
            let mut state = self.lock();
            state.closing = true;
            state.on_closed.extend(done);
            state.all_cells()
        };
        for cell in cells {
            terminate_unheard(&cell);
        }
        self.close_if_idle();
    }

    fn close_if_idle(&self) {
        let mut state = self.lock();
        if !state.closing || state.present > 0 {
            return;
        }
        let place = state.place.take();
        let on_closed = std::mem::take(&mut state.on_closed);
        drop(state);
        drop(place);
        for done in on_closed {
            done();
        }
    }

    fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CellOwner for SessionCore {
    fn result_delivered(&self, id: &CellId) {
        let mut state = self.lock();
        if let Some(kept) = state.cells.remove(id) {
            state.telling.insert(id.clone(), kept.cell);
        }
    }

    fn result_told(&self, id: &CellId) {
        self.lock().telling.remove(id);
    }

    /// Such results may stand beyond the bound; there are no more of them than its callers have dropped
    /// futures at the moment of their result.
    fn result_returned(&self, cell: &Arc<Cell>) -> bool {
        let mut state = self.lock();
        if state.closing {
            return false;
        }
        state.keep(cell, self.shares.results.hold(1));
        true
    }

    fn body_gone(&self) {
        self.runtime.backend.refill();
    }
}

impl KeptOpen for SessionCore {
    fn cell_gone(&self) {
        self.lock().present -= 1;
        self.close_if_idle();
    }
}

impl SessionState {
    fn keep(&mut self, cell: &Arc<Cell>, result: Held) {
        let kept = Kept {
            cell: Arc::clone(cell),
            _result: result,
        };
        self.cells.insert(cell.id.clone(), kept);
    }

    fn all_cells(&self) -> Vec<Arc<Cell>> {
        let kept = self.cells.values();
        kept.map(|kept| Arc::clone(&kept.cell)).collect()
    }

    /// The ids of the oldest cells, for an error that says what to do about them.
    fn oldest_cells(&self) -> String {
        const NAMED: usize = 5;
        let mut numbers: Vec<u64> = self
            .cells
            .keys()
            .filter_map(|id| id.as_str().parse().ok())
            .collect();
        numbers.sort_unstable();
        let named: Vec<String> = numbers.iter().take(NAMED).map(u64::to_string).collect();
        named.join(", ") + if numbers.len() > NAMED { ", …" } else { "" }
    }
}

/// Terminates a cell for the session's own sake.
fn terminate_unheard(cell: &Arc<Cell>) {
    // A cell that has finished needs no termination.
    let _ = cell.terminate(Box::new(|_| {}));
}
