//! The reader's duty: takes the client's messages in order and acts on each.
//!
//! A request is handed to the runtime on the spot, so its cell's events are queued behind its own
//! answer and nothing that the client sends later can overtake it. In particular an
//! `operation/cancel` never meets an open or an execute that has not been answered; what is left
//! for it is a wait, which it detaches.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api as api;
use code_mode_api::{LimitName, SessionError};
use code_mode_protocol::{
    CellId, ClientMessage, DelegateError, DelegateRequestId, DelegateValue, ExecuteRequest,
    OperationRequest, OperationValue, RequestId, SessionId, WaitRequest,
};
use code_mode_runtime::Runtime;

use crate::calls::{Answer, Answered};
use crate::config::{MAX_SESSION_ID_BYTES, MAX_TOOL_CALL_ID_BYTES};
use crate::connection::{Connection, Refusal};
use crate::requests::{BeginError, InFlight};
use crate::session::SessionLink;
use crate::sessions::{OpenSession, Sessions};
use crate::{ServeError, convert};

/// Acts on the client's messages.
pub(crate) struct Dispatcher {
    pub(crate) connection: Arc<Connection>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) runtime: Runtime,
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
            ClientMessage::DelegateResponse { id, result } => self.delegate_response(id, result),
        }
    }

    fn request(&self, id: RequestId, request: OperationRequest) -> Result<(), ServeError> {
        match self.connection.requests.begin(id) {
            Ok(()) => {}
            Err(BeginError::InFlight) => {
                return Err(violation(format!("request id {id} is in flight")));
            }
            Err(BeginError::Answered) => {
                return Err(violation(format!("request id {id} was used before")));
            }
            Err(BeginError::Full { maximum }) => {
                let limit = LimitName::RequestsInFlight;
                let detail = "wait for an answer first".to_owned();
                let error = SessionError::Limit {
                    limit,
                    maximum: maximum as u64,
                    detail,
                };
                self.connection.refuse(id, error.into());
                return Ok(());
            }
        }
        if let OperationRequest::Open { session_id } = request {
            return self.open(id, session_id);
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
            OperationRequest::Wait { request, .. } => self.wait(id, &session, &request),
            OperationRequest::Terminate { cell_id, .. } => Self::terminate(id, &session, &cell_id),
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

    fn open(&self, id: RequestId, session_id: SessionId) -> Result<(), ServeError> {
        if self.sessions.was_used(&session_id) {
            return Err(violation(format!(
                "session id {session_id} was used before"
            )));
        }
        let opened = self.try_open(&session_id);
        self.connection.answer(
            id,
            opened.map(|()| OperationValue::SessionReady { session_id }),
        );
        Ok(())
    }

    fn try_open(&self, session_id: &SessionId) -> Result<(), Refusal> {
        check_length("sessionId", session_id.as_str(), MAX_SESSION_ID_BYTES)?;
        let api_id = api::SessionId::new(session_id.as_str());
        let link = SessionLink::new(Arc::clone(&self.connection), session_id.clone());
        let link = Arc::new(link);
        let session = self.runtime.open(api_id, Arc::clone(&link) as _)?;
        self.sessions
            .insert(session_id.clone(), OpenSession { session, link });
        Ok(())
    }

    fn execute(&self, id: RequestId, open: &OpenSession, request: ExecuteRequest) {
        let tool_call_id = request.tool_call_id.as_str();
        let admitted =
            check_length("tool_call_id", tool_call_id, MAX_TOOL_CALL_ID_BYTES).and_then(|()| {
                let request = convert::execute_request(request);
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
        let Some(cell_id) = open.link.wire_cell(admitted.id()) else {
            return;
        };
        open.link.closing.started(admitted.id());
        self.connection.start(id, cell_id);
        // What the cell does from here on is queued behind its execution/started, which is written
        // while the cell's thread wakes up.
        admitted.start(open.link.first_observer(id));
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

    fn wait(&self, id: RequestId, open: &OpenSession, request: &WaitRequest) {
        let cell_id = api::CellId::new(request.cell_id.as_str());
        let yield_time = request.yield_time_ms.map(Duration::from_millis);
        match open
            .session
            .observe(&cell_id, yield_time, open.link.wait_observer(id))
        {
            Ok(observation) => {
                let session = open.session.clone();
                let wait = InFlight::Wait {
                    session,
                    cell_id,
                    observation,
                };
                self.connection.requests.update(id, wait);
            }
            Err(error) => open.link.answer_wait(id, Err(error)),
        }
    }

    fn terminate(id: RequestId, open: &OpenSession, cell_id: &CellId) {
        let cell_id = api::CellId::new(cell_id.as_str());
        if let Err(error) = open
            .session
            .terminate(&cell_id, open.link.wait_observer(id))
        {
            open.link.answer_wait(id, Err(error));
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
            Some(InFlight::Wait {
                session,
                cell_id,
                observation,
            }) => {
                session.detach(&cell_id, observation);
            }
            // An execute that has started is answered; a terminate or shutdown cannot be undone.
            Some(InFlight::Operation | InFlight::Started) => {}
            // Answered, forgotten or never used.
            None => {}
        }
    }

    fn delegate_response(
        &self,
        id: DelegateRequestId,
        result: Result<DelegateValue, DelegateError>,
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
                    Err(error) => Err(api::ToolError::new(error.message)),
                });
            }
            Answer::Notification(sender) => {
                let _ = sender.send(match result {
                    Ok(DelegateValue::NotificationDelivered {}) => Ok(()),
                    Ok(DelegateValue::ToolResult { .. }) => Err(wrong_kind("a notification")),
                    Err(error) => Err(api::ToolError::new(error.message)),
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
    let OpenSession { session, link } = open.clone();
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

fn wrong_kind(what: &str) -> api::ToolError {
    api::ToolError::new(format!(
        "the client answered {what} with a value of another kind"
    ))
}

fn violation(message: impl Into<String>) -> ServeError {
    ServeError::Violation(message.into())
}
