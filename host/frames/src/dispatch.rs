// SPDX-License-Identifier: Apache-2.0
//! The reader's duty: takes the client's messages in order and acts on each.
//!
//! A request is handed to its session on the spot, so nothing that the client sends later can overtake
//! it, and what it brings about is passed on before the next message is read. In particular an
//! `operation/cancel` never meets an open or an execute that has not been answered; what is left
//! for it is a wait, which it takes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use code_mode_api::waist::{self, Ask};
use code_mode_api::{
    CellId, ExecuteRequest, LimitName, ReadOutputRequest, SessionError, SessionId, SessionOptions,
    ToolError, WaitRequest,
};
use code_mode_protocol::{
    ClientMessage, DelegateRequestId, DelegateValue, OperationRequest, OperationValue, OutputRange,
    RequestId,
};
use code_mode_service::OUTPUT_NOT_KEPT;

use crate::ServeError;
use crate::bounds::SessionBounds;
use crate::calls::Answered;
use crate::config::{MAX_SESSION_ID_BYTES, MAX_TOOL_CALL_ID_BYTES};
use crate::connection::Connection;
use crate::refusal::Refusal;
use crate::requests::{BeginError, InFlight};
use crate::session::{DoorBell, DoorSession};
use crate::sessions::Sessions;

/// Acts on the client's messages.
pub(crate) struct Dispatcher {
    pub(crate) connection: Arc<Connection>,
    pub(crate) sessions: Arc<Sessions>,
    /// What runs cells.
    pub(crate) engine: Arc<dyn waist::Sessions>,
    /// Of the last session.
    pub(crate) last_session: AtomicU64,
    /// The yield time of a request that does not say.
    pub(crate) default_yield_time: Duration,
    /// Bytes of cut output that each session keeps.
    pub(crate) kept_output_bytes: usize,
}

impl Dispatcher {
    /// Acts on one message.
    ///
    /// # Errors
    /// When the message is a violation of the contract.
    pub(crate) fn dispatch(&self, message: ClientMessage) -> Result<(), ServeError> {
        match message {
            ClientMessage::Hello(_) => Err(violation("a second connection/hello")),
            ClientMessage::OperationRequest { id, request } => self.request(id, request),
            ClientMessage::OperationCancel { id } => {
                self.cancel(id);
                Ok(())
            }
            ClientMessage::OperationYield { id } => {
                self.yield_observation(id);
                Ok(())
            }
            ClientMessage::DelegateResponse { id, result } => self.delegate_response(id, result),
        }
    }

    /// Answers a request of which a number is out of its range.
    ///
    /// # Errors
    /// When the request's id was used before, which is a violation whatever it asks.
    pub(crate) fn out_of_range(&self, id: RequestId, message: String) -> Result<(), ServeError> {
        if self.begin(id)? {
            let refusal = Refusal::new("invalid-request", message);
            self.connection.answer(id, Err(refusal), None);
        }
        Ok(())
    }

    /// Takes a request in; `false` when it was refused because there are too many.
    fn begin(&self, id: RequestId) -> Result<bool, ServeError> {
        match self.connection.requests.begin(id) {
            Ok(()) => Ok(true),
            Err(BeginError::InFlight) => Err(violation(format!("request id {id} is in flight"))),
            Err(BeginError::Answered) => Err(violation(format!("request id {id} was used before"))),
            Err(BeginError::Full { maximum }) => {
                self.connection
                    .refuse(id, too_many_requests(maximum).into());
                Ok(false)
            }
        }
    }

    fn request(&self, id: RequestId, request: OperationRequest) -> Result<(), ServeError> {
        if !self.begin(id)? {
            return Ok(());
        }
        let begins = matches!(
            request,
            OperationRequest::Open { .. } | OperationRequest::Execute { .. }
        );
        if begins && self.connection.open_cells.no_more() {
            self.connection.answer(id, Err(draining()), None);
            return Ok(());
        }
        if let OperationRequest::Open {
            session_id,
            cell_execution_limits,
            output_truncation,
        } = request
        {
            let bounds = SessionBounds::new(cell_execution_limits, output_truncation);
            return self.open(id, session_id, bounds);
        }
        let Some(session) = self.sessions.find(request.session_id()) else {
            let session_id = request.session_id();
            let refusal = Refusal::new(
                "unknown-session",
                format!("unknown code-mode session {session_id}"),
            );
            self.connection.answer(id, Err(refusal), None);
            return Ok(());
        };
        let takes_a_place = matches!(
            request,
            OperationRequest::Execute { .. } | OperationRequest::Wait { .. }
        );
        let requests = &self.connection.requests;
        if takes_a_place && !requests.assign(id, &session.places) {
            let error = too_many_requests(requests.max_in_flight());
            self.connection.answer(id, Err(error.into()), None);
            return Ok(());
        }
        match request {
            // Handled above, since only an open needs no session.
            OperationRequest::Open { .. } => {}
            OperationRequest::Execute { request, .. } => self.execute(id, &session, request),
            OperationRequest::Wait {
                request,
                output_range: Some(range),
                ..
            } => {
                let part = read_output(&session, request.cell_id, range);
                self.connection.answer(id, part, None);
            }
            OperationRequest::Wait {
                request,
                max_output_tokens,
                ..
            } => self.wait(id, &session, request, max_output_tokens),
            OperationRequest::Terminate {
                cell_id,
                max_output_tokens,
                ..
            } => session.terminate(id, cell_id, max_output_tokens),
            OperationRequest::Shutdown { session_id } => self.shutdown(id, session_id),
            OperationRequest::ListCells { .. } => session.question(id, Ask::ListCells),
            OperationRequest::ExportStore { .. } => session.question(id, Ask::ExportStore),
            OperationRequest::ImportStore { values, .. } => {
                session.question(id, Ask::ImportStore(values));
            }
        }
        Ok(())
    }

    fn open(
        &self,
        id: RequestId,
        session_id: SessionId,
        bounds: SessionBounds,
    ) -> Result<(), ServeError> {
        if self.sessions.was_used(&session_id) {
            return Err(violation(format!(
                "session id {session_id} was used before"
            )));
        }
        let opened = self.try_open(&session_id, bounds);
        self.connection.answer(
            id,
            opened.map(|()| OperationValue::SessionReady { session_id }),
            None,
        );
        Ok(())
    }

    fn try_open(&self, session_id: &SessionId, bounds: SessionBounds) -> Result<(), Refusal> {
        check_length("sessionId", session_id.as_str(), MAX_SESSION_ID_BYTES)?;
        let output = bounds.output(self.kept_output_bytes);
        let session = Arc::new(DoorSession::new(
            Arc::clone(&self.connection),
            session_id.clone(),
            self.last_session.fetch_add(1, Ordering::Relaxed),
            bounds,
            output,
        ));
        let bell = DoorBell {
            session: Arc::downgrade(&session),
        };
        let options = SessionOptions {
            session_id: Some(session_id.clone()),
            ..SessionOptions::default()
        };
        let engine = self.engine.open(options, Arc::new(bell))?;
        // It was made a moment ago and has none.
        let _ = session.engine.set(engine);
        self.sessions.insert(session_id.clone(), session);
        Ok(())
    }

    fn execute(&self, id: RequestId, session: &Arc<DoorSession>, mut request: ExecuteRequest) {
        let call_id = request.exec_call_id.as_str();
        if let Err(refusal) = check_length("tool_call_id", call_id, MAX_TOOL_CALL_ID_BYTES) {
            self.connection.answer(id, Err(refusal), None);
            return;
        }
        let bounds = &session.bounds;
        request.yield_time = bounds.yield_time(request.yield_time, self.default_yield_time);
        request.limits.heap_bytes = bounds.heap_bytes(request.limits.heap_bytes);
        // The drain may have begun since it was looked at.
        match self.connection.open_cells.admit() {
            Some(open) => session.execute(id, request, open),
            None => self.connection.answer(id, Err(draining()), None),
        }
    }

    fn wait(
        &self,
        id: RequestId,
        session: &Arc<DoorSession>,
        mut request: WaitRequest,
        max_tokens: Option<u64>,
    ) {
        let bounds = &session.bounds;
        request.yield_time = bounds.yield_time(request.yield_time, self.default_yield_time);
        session.wait(id, request, max_tokens);
    }

    fn shutdown(&self, id: RequestId, session_id: SessionId) {
        let Some(session) = self.sessions.begin_closing(&session_id) else {
            return;
        };
        let connection = Arc::clone(&self.connection);
        close_session(&self.sessions, &session_id, &session, move |session_id| {
            let value = OperationValue::SessionClosed { session_id };
            connection.answer(id, Ok(value), None);
        });
    }

    fn cancel(&self, id: RequestId) {
        match self.connection.requests.get(id) {
            Some(InFlight::Wait(asked)) => asked.session.withdraw(asked.ask),
            // An execute that has started is answered; a terminate or shutdown cannot be undone.
            Some(InFlight::Operation | InFlight::Execute(_) | InFlight::Started(_)) => {}
            // Answered, forgotten or never used.
            None => {}
        }
    }

    fn yield_observation(&self, id: RequestId) {
        match self.connection.requests.get(id) {
            Some(InFlight::Wait(asked) | InFlight::Execute(asked) | InFlight::Started(asked)) => {
                asked.session.yield_observation(asked.ask)
            }
            // It observes nothing.
            Some(InFlight::Operation) | None => {}
        }
    }

    fn delegate_response(
        &self,
        id: DelegateRequestId,
        result: Result<DelegateValue, ToolError>,
    ) -> Result<(), ServeError> {
        match self.connection.calls.answer(id.get()) {
            Answered::Open(open) => {
                if let Some(session) = open.session.upgrade() {
                    session.answer(open.call, open.kind, result);
                }
                Ok(())
            }
            Answered::Late => Ok(()),
            Answered::Unknown => Err(violation(format!("delegate request {id} is not open"))),
        }
    }
}

/// Ends a session; `done` comes once its cells have ended and their events are queued.
pub(crate) fn close_session(
    sessions: &Arc<Sessions>,
    session_id: &SessionId,
    session: &Arc<DoorSession>,
    done: impl FnOnce(SessionId) + Send + 'static,
) {
    let sessions = Arc::clone(sessions);
    let session_id = session_id.clone();
    session.shut_down(Box::new(move || {
        sessions.closed(&session_id);
        done(session_id);
    }));
}

/// A part of what was cut out of a cell's responses.
fn read_output(
    session: &DoorSession,
    cell_id: CellId,
    range: OutputRange,
) -> Result<OperationValue, Refusal> {
    let request = ReadOutputRequest {
        cell_id,
        offset: range.offset,
        max_bytes: range.max_bytes,
    };
    let kept = session.output.read(&request);
    let kept = kept.map_err(|error| Refusal::new(OUTPUT_NOT_KEPT, error.to_string()))?;
    Ok(OperationValue::OutputRead {
        cell_id: request.cell_id,
        offset: kept.offset,
        total_bytes: kept.total_bytes,
        text: kept.text,
    })
}

/// The refusal of a host that is about to end.
fn draining() -> Refusal {
    let message = "the code-mode host is about to end and begins nothing new; start another one";
    Refusal::new("host-draining", message.to_owned())
}

fn too_many_requests(maximum: usize) -> SessionError {
    SessionError::Limit {
        limit: LimitName::RequestsInFlight,
        maximum: maximum as u64,
        detail: "wait for an answer first".to_owned(),
    }
}

fn check_length(what: &str, text: &str, maximum: usize) -> Result<(), Refusal> {
    if text.len() <= maximum {
        return Ok(());
    }
    let message = format!(
        "the limit of {maximum} bytes of {what} is exceeded: it has {}; choose a shorter one",
        text.len()
    );
    Err(Refusal::new("invalid-request", message))
}

fn violation(message: impl Into<String>) -> ServeError {
    ServeError::Violation(message.into())
}
