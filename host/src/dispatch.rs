//! The reader's duty: takes the client's messages in order and acts on each.
//!
//! A request is handed to the runtime on the spot, so its cell's events are queued behind its own
//! answer and nothing that the client sends later can overtake it. In particular an
//! `operation/cancel` never meets an open or an execute that has not been answered; what is left
//! for it is a wait, which it detaches.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    CellId, ExecuteRequest, LimitName, SessionError, SessionId, ToolError, WaitRequest,
};
use code_mode_protocol::{
    ClientMessage, DelegateRequestId, DelegateValue, OperationRequest, OperationValue, RequestId,
};
use code_mode_runtime::Runtime;

use crate::ServeError;
use crate::calls::{Answer, Answered};
use crate::config::{MAX_SESSION_ID_BYTES, MAX_TOOL_CALL_ID_BYTES};
use crate::connection::{Connection, Refusal};
use crate::output::{SessionBounds, SessionOutput};
use crate::requests::{BeginError, InFlight, Observed};
use crate::session::SessionLink;
use crate::sessions::{OpenSession, Sessions};

/// Acts on the client's messages.
pub(crate) struct Dispatcher {
    pub(crate) connection: Arc<Connection>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) runtime: Runtime,
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
            self.connection.answer(id, Err(refusal));
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
                let limit = LimitName::RequestsInFlight;
                let detail = "wait for an answer first".to_owned();
                let error = SessionError::Limit {
                    limit,
                    maximum: maximum as u64,
                    detail,
                };
                self.connection.refuse(id, error.into());
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
            let message =
                "the code-mode host is about to end and begins nothing new; start another one";
            let refusal = Refusal::new("host-draining", message.to_owned());
            self.connection.answer(id, Err(refusal));
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
            self.connection.answer(id, Err(refusal));
            return Ok(());
        };
        match request {
            // Handled above, since only an open needs no session.
            OperationRequest::Open { .. } => {}
            OperationRequest::Execute { request, .. } => self.execute(id, &session, request),
            OperationRequest::Wait {
                request,
                output_range: Some(range),
                ..
            } => {
                let part = session.link.output.read(&request.cell_id, range);
                self.connection.answer(id, part);
            }
            OperationRequest::Wait {
                request,
                max_output_tokens,
                ..
            } => self.wait(id, &session, &request, max_output_tokens),
            OperationRequest::Terminate {
                cell_id,
                max_output_tokens,
                ..
            } => Self::terminate(id, &session, &cell_id, max_output_tokens),
            OperationRequest::Shutdown { session_id } => self.shutdown(id, session_id),
            OperationRequest::ExportStore { .. } => {
                let exported = session.session.export_store();
                let exported = exported.map(|values| OperationValue::StoreExported { values });
                self.connection.answer(id, exported.map_err(Refusal::from));
            }
            OperationRequest::ImportStore { values, .. } => {
                let imported = session.session.import_store(values);
                let imported = imported.map(|()| OperationValue::StoreImported {});
                self.connection.answer(id, imported.map_err(Refusal::from));
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
        );
        Ok(())
    }

    fn try_open(&self, session_id: &SessionId, bounds: SessionBounds) -> Result<(), Refusal> {
        check_length("sessionId", session_id.as_str(), MAX_SESSION_ID_BYTES)?;
        let output = SessionOutput::new(&bounds, self.kept_output_bytes);
        let link = SessionLink::new(Arc::clone(&self.connection), session_id.clone(), output);
        let link = Arc::new(link);
        let session = self
            .runtime
            .open(Some(session_id.clone()), Arc::clone(&link) as _)?;
        let open = OpenSession {
            session,
            link,
            bounds,
        };
        self.sessions.insert(session_id.clone(), open);
        Ok(())
    }

    fn execute(&self, id: RequestId, open: &OpenSession, mut request: ExecuteRequest) {
        let max_tokens = request.max_output_tokens.map(u64::from);
        let tool_call_id = request.exec_call_id.as_str();
        let admitted =
            check_length("tool_call_id", tool_call_id, MAX_TOOL_CALL_ID_BYTES).and_then(|()| {
                let bounds = &open.bounds;
                request.yield_time = bounds.yield_time(request.yield_time, self.default_yield_time);
                request.limits.heap_bytes = bounds.heap_bytes(request.limits.heap_bytes);
                open.session
                    .admit(request)
                    .map_err(|error| self.name_holders(error).into())
            });
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.connection.answer(id, Err(refusal));
                return;
            }
        };
        open.link.closing.started(admitted.id());
        self.connection.open_cells.started();
        self.connection.start(id, admitted.id().clone());
        // What the cell does from here on is queued behind its execution/started, which is written
        // while the cell's thread wakes up.
        let cell_id = admitted.id().clone();
        let observation = admitted.start(open.link.first_observer(id, max_tokens));
        let observed = Observed {
            session: open.session.clone(),
            cell_id,
            observation,
        };
        // Without effect when the cell has answered meanwhile.
        let started = InFlight::Started(Some(observed));
        self.connection.requests.update(id, started);
        self.connection.outgoing.flush();
    }

    /// Says which cells hold the slots when there is none left.
    fn name_holders(&self, error: SessionError) -> SessionError {
        match error {
            SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum,
                detail,
            } => {
                let detail = format!("{}; {detail}", self.sessions.holders());
                SessionError::Limit {
                    limit: LimitName::ActiveCells,
                    maximum,
                    detail,
                }
            }
            other => other,
        }
    }

    fn wait(
        &self,
        id: RequestId,
        open: &OpenSession,
        request: &WaitRequest,
        max_tokens: Option<u64>,
    ) {
        let cell_id = request.cell_id.clone();
        let yield_time = open
            .bounds
            .yield_time(request.yield_time, self.default_yield_time);
        let observer = open.link.wait_observer(id, max_tokens);
        match open.session.observe(&cell_id, yield_time, observer) {
            Ok(observation) => {
                let wait = InFlight::Wait(Observed {
                    session: open.session.clone(),
                    cell_id,
                    observation,
                });
                self.connection.requests.update(id, wait);
            }
            Err(error) => open.link.answer_wait(id, Err(error), max_tokens),
        }
    }

    fn terminate(id: RequestId, open: &OpenSession, cell_id: &CellId, max_tokens: Option<u64>) {
        let observer = open.link.wait_observer(id, max_tokens);
        if let Err(error) = open.session.terminate(cell_id, observer) {
            open.link.answer_wait(id, Err(error), max_tokens);
        }
    }

    fn shutdown(&self, id: RequestId, session_id: SessionId) {
        let Some(open) = self.sessions.begin_closing(&session_id) else {
            return;
        };
        let connection = Arc::clone(&self.connection);
        close_session(&self.sessions, &session_id, &open, move |session_id| {
            connection.answer(id, Ok(OperationValue::SessionClosed { session_id }));
        });
    }

    fn cancel(&self, id: RequestId) {
        match self.connection.requests.get(id) {
            Some(InFlight::Wait(observed)) => {
                observed
                    .session
                    .detach(&observed.cell_id, observed.observation);
            }
            // An execute that has started is answered; a terminate or shutdown cannot be undone.
            Some(InFlight::Operation | InFlight::Started(_)) => {}
            // Answered, forgotten or never used.
            None => {}
        }
    }

    fn yield_observation(&self, id: RequestId) {
        match self.connection.requests.get(id) {
            Some(InFlight::Wait(observed) | InFlight::Started(Some(observed))) => {
                observed
                    .session
                    .yield_observation(&observed.cell_id, observed.observation);
            }
            // It observes nothing.
            Some(InFlight::Operation | InFlight::Started(None)) | None => {}
        }
    }

    fn delegate_response(
        &self,
        id: DelegateRequestId,
        result: Result<DelegateValue, ToolError>,
    ) -> Result<(), ServeError> {
        let answer = match self.connection.calls.answer(id.get()) {
            Answered::Open(answer) => answer,
            Answered::Late => return Ok(()),
            Answered::Unknown => {
                return Err(violation(format!("delegate request {id} is not open")));
            }
        };
        // A receiver that is gone has been cancelled meanwhile.
        match answer {
            Answer::Tool(sender) => {
                let _ = sender.send(match result {
                    Ok(DelegateValue::ToolResult { result }) => Ok(result),
                    Ok(DelegateValue::NotificationDelivered {}) => Err(wrong_kind("a tool call")),
                    Err(error) => Err(error),
                });
            }
            Answer::Notification(sender) => {
                let _ = sender.send(match result {
                    Ok(DelegateValue::NotificationDelivered {}) => Ok(()),
                    Ok(DelegateValue::ToolResult { .. }) => Err(wrong_kind("a notification")),
                    Err(error) => Err(error),
                });
            }
        }
        Ok(())
    }
}

/// Ends a session; `done` comes once its cells have ended and their events are queued.
pub(crate) fn close_session(
    sessions: &Arc<Sessions>,
    session_id: &SessionId,
    open: &OpenSession,
    done: impl FnOnce(SessionId) + Send + 'static,
) {
    let sessions = Arc::clone(sessions);
    let session_id = session_id.clone();
    let OpenSession { session, link, .. } = open.clone();
    open.session.begin_shutdown(Box::new(move || {
        link.shut_down(Box::new(move || {
            sessions.closed(&session_id);
            done(session_id);
        }));
        // The session lives until its end was told.
        drop(session);
    }));
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

fn wrong_kind(what: &str) -> ToolError {
    ToolError::new(format!(
        "the client answered {what} with a value of another kind"
    ))
}

fn violation(message: impl Into<String>) -> ServeError {
    ServeError::Violation(message.into())
}
