// SPDX-License-Identifier: Apache-2.0
//! The waist over the runtime's callbacks: asks become calls of a session, and what its cells say
//! becomes events.
//!
//! # Threads
//! A cell's own thread waits for room before it calls a tool or notifies, the task of a cell's process
//! before it hears the next message, and nobody else waits. What
//! other threads of the runtime tell, the watchdog or the keeper for example, they put as helpers.
//!
//! # Order
//! `Started` is put before a cell is started, so nothing about it can come before. When a cell is closed is
//! the cell's own decision, in `cell/life.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::waist::{
    Answer, Ask, AskId, Bell, Budget, CallId, Event, Outbox, OutboxOwner, Ringer, Sessions,
};
use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, SessionError,
    SessionId, SessionOptions, ToolError, ToolInvocation,
};
use tokio::sync::oneshot;

use crate::observation::{ObservationId, Observer};
use crate::ringer::{asking, ringer};
use crate::runtime::Runtime;
use crate::session::Session;

/// Events of one cell that nobody has passed on, in bytes, before its thread waits. An event that is
/// larger still has room when there is no other.
pub const CELL_OUTBOX_BYTES: usize = 4 << 20;

impl Sessions for Runtime {
    fn open(
        &self,
        options: SessionOptions,
        bell: Arc<dyn Bell>,
    ) -> Result<Arc<dyn code_mode_api::waist::Session>, SessionError> {
        let budget = self.event_budget();
        let link = Arc::new(Link {
            outbox: Outbox::new(
                OutboxOwner::Session,
                CELL_OUTBOX_BYTES,
                Arc::clone(&bell),
                Arc::clone(&budget),
            ),
            bell,
            budget,
            state: Mutex::default(),
        });
        let delegate = Arc::new(Delegate(Arc::clone(&link)));
        let session = Runtime::open(self, options.session_id, delegate)?;
        Ok(Arc::new(WaistSession { session, link }))
    }
}

/// A session as its door has it. Its drop ends the cells.
struct WaistSession {
    session: Session,
    link: Arc<Link>,
}

/// What the session, its delegate and its observers share.
struct Link {
    bell: Arc<dyn Bell>,
    budget: Arc<Budget>,
    outbox: Arc<Outbox>,
    state: Mutex<OpenAsks>,
}

/// Bounded by the runtime: its cells, their open calls and notifications, and one observation each.
#[derive(Default)]
struct OpenAsks {
    /// The outbox of each cell until its door was told that it is closed.
    cells: HashMap<CellId, Arc<Outbox>>,
    observations: HashMap<AskId, Observation>,
    calls: HashMap<CallId, oneshot::Sender<Result<RawJson, ToolError>>>,
    last_call: u64,
}

/// An execute or wait that has no response yet.
struct Observation {
    cell_id: CellId,
    /// `None` while it is being made.
    id: Option<ObservationId>,
    /// What was asked of it meanwhile.
    yield_asked: bool,
    withdrawn: bool,
}

impl code_mode_api::waist::Session for WaistSession {
    fn ask(&self, id: AskId, ask: Ask) {
        asking(|| self.act(id, ask));
    }

    fn withdraw(&self, id: AskId) {
        asking(|| self.with_observation(id, |observation| observation.withdrawn = true));
    }

    fn answer(&self, call: CallId, result: Result<RawJson, ToolError>) {
        let waiting = self.link.lock().calls.remove(&call);
        if let Some(waiting) = waiting {
            // The call may have been cancelled at this moment.
            let _ = asking(|| waiting.send(result));
        }
    }
}

impl WaistSession {
    fn act(&self, id: AskId, ask: Ask) {
        let done = match ask {
            Ask::Execute(request) => self.execute(id, request),
            Ask::Wait(request) => self.wait(id, &request),
            Ask::Terminate { cell_id } => self.terminate(id, &cell_id),
            Ask::Yield { ask } => {
                self.with_observation(ask, |observation| observation.yield_asked = true);
                Ok(())
            }
            Ask::ListCells => self
                .session
                .list_cells()
                .map(|cells| self.link.answered(id, Ok(Answer::Cells(cells)))),
            Ask::ExportStore => self
                .session
                .export_store()
                .map(|values| self.link.answered(id, Ok(Answer::Store(values)))),
            Ask::ImportStore(values) => self
                .session
                .import_store(values)
                .map(|()| self.link.answered(id, Ok(Answer::Done))),
            Ask::Shutdown => {
                self.shut_down(id);
                Ok(())
            }
            other => Err(SessionError::InvalidRequest {
                message: format!("this runtime cannot do {other:?}"),
            }),
        };
        if let Err(error) = done {
            self.link.lock().observations.remove(&id);
            self.link.answered(id, Err(error));
        }
    }

    fn execute(
        &self,
        ask: AskId,
        request: code_mode_api::ExecuteRequest,
    ) -> Result<(), SessionError> {
        let admitted = self.session.admit(request)?;
        let cell_id = admitted.id().clone();
        let outbox = self.link.add_cell(cell_id.clone());
        self.link.expect(ask, cell_id.clone());
        outbox.put(Event::Started { ask, cell_id }, Ringer::Helper);
        let observation = admitted.start(Link::observer(&self.link, &outbox, ask));
        self.made(ask, observation);
        Ok(())
    }

    fn wait(&self, ask: AskId, request: &code_mode_api::WaitRequest) -> Result<(), SessionError> {
        let observer = self.observer_of(ask, &request.cell_id)?;
        self.link.expect(ask, request.cell_id.clone());
        let observation = self
            .session
            .observe(&request.cell_id, request.yield_time, observer)?;
        self.made(ask, observation);
        Ok(())
    }

    fn terminate(&self, ask: AskId, cell_id: &CellId) -> Result<(), SessionError> {
        let observer = self.observer_of(ask, cell_id)?;
        self.session.terminate(cell_id, observer)
    }

    /// An observer for a cell that may be there. For one that is not, the session knows the reason.
    fn observer_of(&self, ask: AskId, cell_id: &CellId) -> Result<Observer, SessionError> {
        match self.link.cell(cell_id) {
            Some(outbox) => Ok(Link::observer(&self.link, &outbox, ask)),
            None => Err(self.session.why_not(cell_id)),
        }
    }

    fn shut_down(&self, ask: AskId) {
        self.link.stop_all();
        let link = Arc::clone(&self.link);
        let done = move || link.answered(ask, Ok(Answer::Done));
        self.session.begin_shutdown(Box::new(done));
    }

    /// An observation is made; does what was asked of it meanwhile.
    fn made(&self, ask: AskId, id: ObservationId) {
        self.with_observation(ask, |observation| observation.id = Some(id));
    }

    /// Changes an observation that has no response yet, and does to it what it asks for.
    fn with_observation(&self, ask: AskId, change: impl FnOnce(&mut Observation)) {
        let (cell_id, id, withdrawn) = {
            let mut state = self.link.lock();
            let Some(observation) = state.observations.get_mut(&ask) else {
                return;
            };
            change(observation);
            let Some(id) = observation.id else {
                return;
            };
            if !observation.withdrawn && !observation.yield_asked {
                return;
            }
            (observation.cell_id.clone(), id, observation.withdrawn)
        };
        if withdrawn {
            self.session.detach(&cell_id, id);
        } else {
            self.session.yield_observation(&cell_id, id);
        }
    }
}

impl Drop for WaistSession {
    fn drop(&mut self) {
        self.link.stop_all();
    }
}

impl Link {
    fn add_cell(&self, id: CellId) -> Arc<Outbox> {
        let outbox = Outbox::new(
            OutboxOwner::Cell(id.clone()),
            CELL_OUTBOX_BYTES,
            Arc::clone(&self.bell),
            Arc::clone(&self.budget),
        );
        self.lock().cells.insert(id, Arc::clone(&outbox));
        outbox
    }

    fn expect(&self, ask: AskId, cell_id: CellId) {
        let observation = Observation {
            cell_id,
            id: None,
            yield_asked: false,
            withdrawn: false,
        };
        self.lock().observations.insert(ask, observation);
    }

    fn observer(link: &Arc<Self>, outbox: &Arc<Outbox>, ask: AskId) -> Observer {
        let (link, outbox) = (Arc::clone(link), Arc::clone(outbox));
        Box::new(move |result| {
            link.lock().observations.remove(&ask);
            match result {
                Ok(response) => outbox.put(Event::Observed { ask, response }, ringer()),
                Err(error) => link.answered(ask, Err(error)),
            }
        })
    }

    fn answered(&self, ask: AskId, result: Result<Answer, SessionError>) {
        self.outbox.put(Event::Answered { ask, result }, ringer());
    }

    /// Lets no thread of the session wait for room any more.
    fn stop_all(&self) {
        let outboxes: Vec<Arc<Outbox>> = self.lock().cells.values().cloned().collect();
        for outbox in outboxes {
            outbox.stop();
        }
    }

    /// The outbox of a cell that is not closed.
    fn cell(&self, id: &CellId) -> Option<Arc<Outbox>> {
        self.lock().cells.get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, OpenAsks> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runtime's side of a session.
struct Delegate(Arc<Link>);

impl SessionDelegate for Delegate {
    fn make_room(&self, cell_id: &CellId, bytes: usize) {
        if let Some(outbox) = self.0.cell(cell_id) {
            // A cell that was stopped is not heard any more, for as long as it still runs.
            let _ = outbox.wait_for_room(bytes);
        }
    }

    fn room(&self, cell_id: &CellId) -> Option<BoxFuture<'static, ()>> {
        let outbox = self.0.cell(cell_id)?;
        if outbox.has_room_for(0) || outbox.is_stopped() {
            return None;
        }
        Some(Box::pin(async move {
            // Whether there is room or the cell was stopped, the process is to be heard.
            let _ = std::future::poll_fn(|context| outbox.poll_room(0, context)).await;
        }))
    }

    fn cell_stopping(&self, cell_id: &CellId) {
        if let Some(outbox) = self.0.cell(cell_id) {
            outbox.stop();
        }
    }

    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let cell_id = invocation.cell_id.clone();
        self.call(&cell_id, |call| Event::Call { call, invocation })
    }

    fn notify(
        &self,
        notification: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        let cell_id = notification.cell_id.clone();
        let delivered = self.call(&cell_id, |call| Event::Notify { call, notification });
        Box::pin(async move { delivered.await.map(drop) })
    }

    fn cell_closed(&self, _: &SessionId, cell_id: &CellId) {
        let outbox = self.0.lock().cells.remove(cell_id);
        if let Some(outbox) = outbox {
            let cell_id = cell_id.clone();
            outbox.put(Event::CellClosed { cell_id }, ringer());
        }
    }
}

impl Delegate {
    /// Puts a call or notification; the future gives the door's answer.
    fn call(
        &self,
        cell_id: &CellId,
        event: impl FnOnce(CallId) -> Event,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let Some(outbox) = self.0.cell(cell_id) else {
            let error = ToolError::new("the cell is closed");
            return Box::pin(std::future::ready(Err(error)));
        };
        if outbox.is_stopped() {
            // It did not wait for room, and V8 may take a moment to stop it.
            let error = ToolError::new("the cell was told to stop");
            return Box::pin(std::future::ready(Err(error)));
        }
        let (answer, answered) = oneshot::channel();
        let call = {
            let mut state = self.0.lock();
            state.last_call += 1;
            let call = CallId(state.last_call);
            state.calls.insert(call, answer);
            call
        };
        let open = OpenCall {
            link: Arc::clone(&self.0),
            outbox: Arc::clone(&outbox),
            call,
        };
        outbox.put(event(call), ringer());
        Box::pin(async move {
            let _open = open;
            answered
                .await
                .unwrap_or_else(|_| Err(ToolError::new("the call was dropped unanswered")))
        })
    }
}

/// A call whose future lives. Its drop cancels the call, unless it was answered.
struct OpenCall {
    link: Arc<Link>,
    outbox: Arc<Outbox>,
    call: CallId,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let open = self.link.lock().calls.remove(&self.call);
        if open.is_some() {
            let call = self.call;
            self.outbox.put(Event::CallCancelled { call }, ringer());
        }
    }
}
