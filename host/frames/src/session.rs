// SPDX-License-Identifier: Apache-2.0
//! One open session: what its client has asked, and what becomes of its events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use code_mode_api::waist::{
    Answer, Ask, AskId, Bell, Budget, CallId, Credit, Event, Outbox, Ringer, Session, Taken,
};
use code_mode_api::{
    CellId, CellResponse, CellState, CellStatus, CellSummary, CellTimings, LimitName, RawJson,
    SessionError, SessionId, ToolError,
};
use code_mode_protocol::{
    DelegateRequest, DelegateRequestId, DelegateValue, EncodeError, HostMessage, OperationValue,
    RequestId, WaitOutcome,
};
use code_mode_service::SessionOutput;
use serde_json::value::RawValue;

use crate::ServeError;
use crate::bounds::SessionBounds;
use crate::calls::{CallKind, Calling, OpenCall};
use crate::config::V1Timings;
use crate::connection::Connection;
use crate::draining::OpenCell;
use crate::refusal::Refusal;
use crate::requests::{Asked, InFlight, Observing};
use crate::word::Carrying;

/// Bytes of a text that names the cells that hold all slots; the rest is left out.
const MAX_HOLDERS_BYTES: usize = 2_048;

/// What is to be done when a session has ended and all of it was told.
pub(crate) type WhenOver = Box<dyn FnOnce() + Send>;

/// One open session.
pub(crate) struct DoorSession {
    pub(crate) id: SessionId,
    /// A number that no other session of the connection has.
    pub(crate) number: u64,
    pub(crate) connection: Arc<Connection>,
    pub(crate) bounds: SessionBounds,
    /// What is done to output on its way.
    pub(crate) output: SessionOutput,
    /// What the session has of the connection's requests in flight.
    pub(crate) places: Arc<Budget>,
    /// Set before anything is asked.
    pub(crate) engine: OnceLock<Arc<dyn Session>>,
    state: Mutex<OpenWork>,
}

#[derive(Default)]
struct OpenWork {
    last_ask: u64,
    /// What was asked and is not answered.
    askers: HashMap<AskId, Asker>,
    /// Calls that the client has been asked for, by their name here.
    calls: HashMap<CallId, i64>,
    /// Cells that the client has not been told are closed.
    cells: HashMap<CellId, OpenCell>,
    /// A shutdown was asked for.
    closing: bool,
    /// The session has answered its shutdown.
    ended: bool,
    when_over: Vec<WhenOver>,
}

impl OpenWork {
    /// What is to be done now that the session has ended and its last cell was told.
    fn take_end(&mut self) -> Vec<WhenOver> {
        let may_begin = |asker: &Asker| matches!(asker, Asker::Execute { open: Some(_), .. });
        if self.ended && self.cells.is_empty() && !self.askers.values().any(may_begin) {
            std::mem::take(&mut self.when_over)
        } else {
            Vec::new()
        }
    }
}

/// Who waits for an answer of the session.
enum Asker {
    /// An execute.
    Execute {
        id: RequestId,
        max_tokens: Option<u64>,
        /// `None` once it was answered with `execution/started`: its cell has it then.
        open: Option<OpenCell>,
    },
    /// A wait or a terminate.
    Observe {
        id: RequestId,
        max_tokens: Option<u64>,
    },
    /// A question about the session itself: its cells, its stored values, or an import of some.
    Question { id: RequestId },
    /// An execute that found no free slot and is told which cells of its session hold some.
    Holders {
        id: RequestId,
        maximum: u64,
        detail: String,
    },
    /// The end of the session.
    Shutdown,
}

impl DoorSession {
    pub(crate) fn new(
        connection: Arc<Connection>,
        id: SessionId,
        number: u64,
        bounds: SessionBounds,
        output: SessionOutput,
    ) -> Self {
        Self {
            id,
            number,
            places: connection.requests.places(),
            connection,
            bounds,
            output,
            engine: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// Starts a cell.
    pub(crate) fn execute(
        self: &Arc<Self>,
        id: RequestId,
        request: code_mode_api::ExecuteRequest,
        open: OpenCell,
    ) {
        let ask = self.begin(Asker::Execute {
            id,
            max_tokens: request.max_output_tokens.map(u64::from),
            open: Some(open),
        });
        self.note(id, InFlight::Execute(self.asked(ask)));
        self.ask(ask, Ask::Execute(request));
    }

    /// Observes a cell.
    pub(crate) fn wait(
        self: &Arc<Self>,
        id: RequestId,
        request: code_mode_api::WaitRequest,
        max_tokens: Option<u64>,
    ) {
        let ask = self.begin(Asker::Observe { id, max_tokens });
        self.note(id, InFlight::Wait(self.asked(ask)));
        self.ask(ask, Ask::Wait(request));
    }

    /// Ends a cell.
    pub(crate) fn terminate(&self, id: RequestId, cell_id: CellId, max_tokens: Option<u64>) {
        let ask = self.begin(Asker::Observe { id, max_tokens });
        self.ask(ask, Ask::Terminate { cell_id });
    }

    /// Lists the cells, or reads or writes the stored values.
    pub(crate) fn question(&self, id: RequestId, what: Ask) {
        let ask = self.begin(Asker::Question { id });
        self.ask(ask, what);
    }

    /// Ends the session; `when_over` comes once its cells have ended and all of that is queued.
    pub(crate) fn shut_down(&self, when_over: WhenOver) {
        let (first, end) = {
            let mut state = self.lock();
            state.when_over.push(when_over);
            let first = !std::mem::replace(&mut state.closing, true);
            (first, state.take_end())
        };
        over(end);
        if first {
            let ask = self.begin(Asker::Shutdown);
            self.ask(ask, Ask::Shutdown);
        }
    }

    fn pass_on(self: &Arc<Self>, event: Event, credit: Credit) {
        match event {
            Event::Started { ask, cell_id } => {
                let request = {
                    let mut state = self.lock();
                    let OpenWork { askers, cells, .. } = &mut *state;
                    let Some(Asker::Execute { id, open, .. }) = askers.get_mut(&ask) else {
                        return;
                    };
                    cells.extend(open.take().map(|open| (cell_id.clone(), open)));
                    *id
                };
                self.connection.start(request, cell_id, credit);
            }
            Event::Call { call, invocation } => {
                let request = DelegateRequest::ToolInvoke { invocation };
                self.call(call, CallKind::Tool, request, credit);
            }
            Event::Notify { call, notification } => {
                let request = DelegateRequest::NotificationSend { notification };
                self.call(call, CallKind::Notification, request, credit);
            }
            Event::CallCancelled { call } => {
                let open = self.lock().calls.remove(&call);
                if let Some(id) = open.filter(|id| self.connection.calls.cancel(*id)) {
                    let id = DelegateRequestId::new(id);
                    let message = HostMessage::DelegateCancel { id };
                    self.connection.send(&message, Some(credit));
                }
            }
            Event::Observed { ask, response } => self.observed(ask, response, credit),
            Event::CellClosed { cell_id } => {
                let session_id = self.id.clone();
                let message = HostMessage::CellClosed {
                    session_id,
                    cell_id: cell_id.clone(),
                };
                self.connection.send(&message, Some(credit));
                let open = self.lock().cells.remove(&cell_id);
                self.closed(open);
            }
            Event::Answered { ask, result } => self.answered(ask, result, credit),
            other => tracing::error!(?other, "the door does not know this event"),
        }
    }

    /// Opens a call and sends its request.
    fn call(
        self: &Arc<Self>,
        call: CallId,
        kind: CallKind,
        request: DelegateRequest,
        credit: Credit,
    ) {
        let connection = &self.connection;
        let session: Arc<dyn Calling> = Arc::clone(self) as _;
        let open = OpenCall {
            session: Arc::downgrade(&session),
            call,
            kind,
        };
        let Some(id) = connection.calls.open(open) else {
            let maximum = connection.calls.max_open();
            self.refuse(call, format!(
                "the limit of {maximum} open delegate calls on this connection is reached; await some first",
            ));
            return;
        };
        self.lock().calls.insert(call, id);
        let message = HostMessage::DelegateRequest {
            id: DelegateRequestId::new(id),
            request,
        };
        let error = match connection.encode(&message) {
            Ok(frame) => match connection.outgoing.push(frame, Some(credit)) {
                Ok(()) => return,
                Err(_) => "the connection to the client is closing".to_owned(),
            },
            Err(error) => {
                let message = error.to_string();
                if !matches!(error, EncodeError::TooLong { .. }) {
                    connection.fail(ServeError::Encode(error));
                }
                message
            }
        };
        connection.calls.withdraw(id);
        self.lock().calls.remove(&call);
        self.refuse(call, error);
    }

    /// Fails a call that the client is not asked for.
    fn refuse(&self, call: CallId, reason: String) {
        if let Some(engine) = self.engine.get() {
            engine.answer(call, Err(ToolError::new(reason)));
        }
    }

    fn observed(&self, ask: AskId, response: CellResponse, credit: Credit) {
        let asker = self.lock().askers.remove(&ask);
        match asker {
            Some(Asker::Execute { id, max_tokens, .. }) => {
                let response = self.response(id, response, max_tokens);
                self.connection
                    .answer_initial(id, Ok(response), Some(credit));
            }
            Some(Asker::Observe { id, max_tokens }) => {
                let response = self.response(id, response, max_tokens);
                let outcome = WaitOutcome::LiveCell(response);
                let value = OperationValue::WaitCompleted { outcome };
                self.connection.answer(id, Ok(value), Some(credit));
            }
            Some(Asker::Question { .. } | Asker::Holders { .. } | Asker::Shutdown) | None => {}
        }
    }

    fn answered(&self, ask: AskId, result: Result<Answer, SessionError>, credit: Credit) {
        let asker = self.lock().askers.remove(&ask);
        let credit = Some(credit);
        match asker {
            Some(Asker::Execute { id, open, .. }) => {
                let Err(error) = result else {
                    return;
                };
                if open.is_none() {
                    let error = Err(Refusal::from(error));
                    self.connection.answer_initial(id, error, credit);
                    return;
                }
                self.refused(id, error, credit);
                self.closed(open);
            }
            Some(Asker::Observe { id, max_tokens }) => {
                if let Err(error) = result {
                    let answer = self.unobserved(id, error, max_tokens);
                    self.connection.answer(id, answer, credit);
                }
            }
            Some(Asker::Question { id }) => {
                let value = match result {
                    Ok(Answer::Store(values)) => Ok(OperationValue::StoreExported { values }),
                    Ok(Answer::Cells(cells)) => Ok(OperationValue::CellsListed { cells }),
                    Ok(_) => Ok(OperationValue::StoreImported {}),
                    Err(error) => Err(Refusal::from(error)),
                };
                self.connection.answer(id, value, credit);
            }
            Some(Asker::Holders {
                id,
                maximum,
                detail,
            }) => {
                let cells = match result {
                    Ok(Answer::Cells(cells)) => cells,
                    _ => Vec::new(),
                };
                let error = SessionError::Limit {
                    limit: LimitName::ActiveCells,
                    maximum,
                    detail: format!("{}; {detail}", self.holders(&cells)),
                };
                self.connection.answer(id, Err(error.into()), credit);
            }
            Some(Asker::Shutdown) => {
                let end = {
                    let mut state = self.lock();
                    state.ended = true;
                    state.take_end()
                };
                over(end);
            }
            None => {}
        }
    }

    /// Refuses an execute. When there is no free slot, the cells that hold some are named.
    fn refused(&self, id: RequestId, error: SessionError, credit: Option<Credit>) {
        match error {
            SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum,
                detail,
            } => {
                let asker = Asker::Holders {
                    id,
                    maximum,
                    detail,
                };
                let ask = self.begin(asker);
                self.ask(ask, Ask::ListCells);
            }
            error => self.connection.answer(id, Err(error.into()), credit),
        }
    }

    /// The cells of this session that run. Those of others are nobody's business.
    fn holders(&self, cells: &[CellSummary]) -> String {
        let running: Vec<&str> = cells
            .iter()
            .filter(|cell| cell.state != CellState::Ended)
            .map(|cell| cell.cell_id.as_str())
            .collect();
        if running.is_empty() {
            return "held by other sessions".to_owned();
        }
        let mut text = format!("held by session {}: {}", self.id, running.join(", "));
        if text.len() > MAX_HOLDERS_BYTES {
            text.truncate(text.floor_char_boundary(MAX_HOLDERS_BYTES));
            text.push_str(" and more");
        }
        text
    }

    /// The answer to a wait or terminate that observed nothing.
    fn unobserved(
        &self,
        id: RequestId,
        error: SessionError,
        max_tokens: Option<u64>,
    ) -> Result<OperationValue, Refusal> {
        let (SessionError::MissingCell { cell_id } | SessionError::CellFinished { cell_id }) =
            &error
        else {
            return Err(error.into());
        };
        let error_text = error.to_string();
        let response = CellResponse {
            cell_id: cell_id.clone(),
            content_items: self.output.of_missing(&error_text, max_tokens),
            status: CellStatus::Completed {
                error_text: Some(error_text),
            },
            timings: self.timings(id, Some(Duration::ZERO)),
            state_lost: None,
        };
        let outcome = WaitOutcome::MissingCell(response);
        Ok(OperationValue::WaitCompleted { outcome })
    }

    /// A request's response as its client gets it.
    fn response(
        &self,
        id: RequestId,
        mut response: CellResponse,
        max_tokens: Option<u64>,
    ) -> CellResponse {
        self.output.cut(&mut response, max_tokens);
        response.timings = self.timings(id, response.timings.result_buffered_for);
        response
    }

    /// The timings of a response that this client gets. `buffered` is the time that a finished result
    /// has waited for its observer.
    fn timings(&self, id: RequestId, buffered: Option<Duration>) -> CellTimings {
        let which = self.connection.timings();
        if which == V1Timings::None {
            return CellTimings::default();
        }
        CellTimings {
            // From the receipt of the request.
            host_duration: self.connection.requests.age(id),
            result_buffered_for: buffered.filter(|_| which == V1Timings::Both),
        }
    }

    /// An execute has become no cell, or the client was told that its cell is closed.
    fn closed(&self, open: Option<OpenCell>) {
        drop(open);
        let end = self.lock().take_end();
        over(end);
    }

    fn begin(&self, asker: Asker) -> AskId {
        let mut state = self.lock();
        state.last_ask += 1;
        let ask = AskId(state.last_ask);
        state.askers.insert(ask, asker);
        ask
    }

    fn asked(self: &Arc<Self>, ask: AskId) -> Asked {
        let session = Arc::clone(self) as Arc<dyn Observing>;
        Asked { session, ask }
    }

    fn note(&self, id: RequestId, request: InFlight) {
        self.connection.requests.update(id, request);
    }

    fn ask(&self, id: AskId, ask: Ask) {
        self.engine(|engine| engine.ask(id, ask));
    }

    /// Turns to the session itself, with no lock held, and passes on what that brings about.
    fn engine(&self, turn: impl FnOnce(&Arc<dyn Session>)) {
        if let Some(engine) = self.engine.get() {
            let Connection { word, outgoing, .. } = &*self.connection;
            word.asking(outgoing, || turn(engine));
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenWork> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observing for DoorSession {
    fn withdraw(&self, ask: AskId) {
        self.engine(|engine| engine.withdraw(ask));
    }

    fn yield_observation(&self, observation: AskId) {
        let own = {
            let mut state = self.lock();
            state.last_ask += 1;
            AskId(state.last_ask)
        };
        self.ask(own, Ask::Yield { ask: observation });
    }
}

impl Calling for DoorSession {
    fn answer(&self, call: CallId, kind: CallKind, result: Result<DelegateValue, ToolError>) {
        self.lock().calls.remove(&call);
        let result = match (kind, result) {
            (CallKind::Tool, Ok(DelegateValue::ToolResult { result })) => Ok(result),
            (CallKind::Notification, Ok(DelegateValue::NotificationDelivered {})) => Ok(null()),
            (CallKind::Tool, Ok(DelegateValue::NotificationDelivered {})) => {
                Err(wrong_kind("a tool call"))
            }
            (CallKind::Notification, Ok(DelegateValue::ToolResult { .. })) => {
                Err(wrong_kind("a notification"))
            }
            (_, Err(error)) => Err(error),
        };
        self.engine(|engine| engine.answer(call, result));
    }
}

impl Carrying for DoorSession {
    fn number(&self) -> u64 {
        self.number
    }

    fn carry(self: Arc<Self>, outbox: &Arc<Outbox>, most: usize) {
        if !self.connection.outgoing.has_room() {
            let word = &self.connection.word;
            word.leave(Arc::clone(&self) as Arc<dyn Carrying>, outbox);
            let waiting = word.waiting_bytes();
            self.connection.outgoing.bound(waiting);
            return;
        }
        let Some(taking) = outbox.take() else {
            return;
        };
        // What is left when this ends rings the bell again.
        for (index, Taken { event, credit }) in taking.enumerate() {
            self.pass_on(event, credit);
            if index + 1 >= most || !self.connection.outgoing.has_room() {
                return;
            }
        }
    }
}

/// The door's ear in one session.
pub(crate) struct DoorBell {
    pub(crate) session: Weak<DoorSession>,
}

impl Bell for DoorBell {
    fn ring(&self, outbox: &Arc<Outbox>, by: Ringer) {
        let Some(session) = self.session.upgrade() else {
            return;
        };
        match by {
            Ringer::Cell | Ringer::Link => session.carry(outbox, usize::MAX),
            Ringer::Helper => {
                let connection = Arc::clone(&session.connection);
                connection.word.leave(session, outbox);
            }
        }
    }
}

fn over(end: Vec<WhenOver>) {
    for when_over in end {
        when_over();
    }
}

fn null() -> RawJson {
    RawValue::NULL.to_owned()
}

fn wrong_kind(what: &str) -> ToolError {
    ToolError::new(format!(
        "the client answered {what} with a value of another kind"
    ))
}
