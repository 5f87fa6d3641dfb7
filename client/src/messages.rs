// SPDX-License-Identifier: Apache-2.0
//! The messages of the protocol that this client makes and takes, in one place.
//!
//! Nothing else in this package names a message of the protocol: a change of those is a change
//! here.

use std::collections::BTreeMap;
use std::time::Duration;

use code_mode_api as api;
use code_mode_api::{SessionError, SideEffects};
use code_mode_protocol as wire;
use code_mode_protocol::{AgreedCapabilities, EncodeError, EncodedFrame, OperationRequest};

use crate::error::{CallError, ConnectionFailure};
use crate::host_message::{Answer, HostMessage, NotifyRequest, RequestId, ToolRequest};

/// The additions to V1 that this client uses where the host has them. A host adds nothing that its
/// client did not offer, so what nothing here would use is left out.
pub(crate) const OFFERED: [wire::Extension; 8] = [
    wire::Extension::Limits,
    wire::Extension::Store,
    wire::Extension::Errors,
    wire::Extension::Globals,
    wire::Extension::ExactIntegers,
    wire::Extension::Output,
    wire::Extension::Cells,
    wire::Extension::BoundedOutput,
];

/// The hello of every connection: version 1, and what this client uses if the host has it.
///
/// # Errors
/// When the lists break a rule of the protocol, which ours do not.
pub(crate) fn hello() -> Result<wire::ClientHello, ConnectionFailure> {
    let optional = wire::Extension::capabilities(&OFFERED);
    let none = wire::CapabilitySet::empty();
    wire::ClientHello::new(wire::SupportedVersions::v1(), none, optional)
        .map_err(|error| ConnectionFailure::Internal(error.to_string()))
}

/// The frame of a hello.
pub(crate) fn hello_frame(hello: wire::ClientHello) -> Result<EncodedFrame, ConnectionFailure> {
    own_frame(&wire::ClientMessage::Hello(hello))
}

/// The frame of the driver's own `operation/cancel`.
pub(crate) fn cancel_frame(id: RequestId) -> Result<EncodedFrame, ConnectionFailure> {
    own_frame(&wire::ClientMessage::OperationCancel {
        id: wire::RequestId::new(id),
    })
}

/// The frame of the driver's own `session/terminate`.
pub(crate) fn terminate_frame(
    id: RequestId,
    session: &str,
    cell: &str,
) -> Result<EncodedFrame, ConnectionFailure> {
    own_frame(&operation(id, terminate_request(session, cell)?))
}

/// The frame of the driver's own `session/shutdown`.
pub(crate) fn shutdown_frame(
    id: RequestId,
    session: &str,
) -> Result<EncodedFrame, ConnectionFailure> {
    own_frame(&operation(
        id,
        OperationRequest::Shutdown {
            session_id: session_id(session)?,
        },
    ))
}

/// The answer to a tool call that has a result.
///
/// # Errors
/// When the result is larger than a frame, in words for the script.
pub(crate) fn tool_result_frame(
    id: i64,
    result: api::RawJson,
) -> Result<EncodedFrame, api::ToolError> {
    let bytes = result.get().len();
    delegate_frame(id, Ok(wire::DelegateValue::ToolResult { result })).map_err(|error| {
        api::ToolError::new(format!(
            "the tool's result of {bytes} bytes cannot be sent: {error}"
        ))
    })
}

/// The answer to a notification that was delivered.
///
/// # Errors
/// Never in practice; the type is shared with [`tool_result_frame`].
pub(crate) fn delivered_frame(id: i64) -> Result<EncodedFrame, api::ToolError> {
    delegate_frame(id, Ok(wire::DelegateValue::NotificationDelivered {}))
        .map_err(|error| api::ToolError::new(error.to_string()))
}

/// The answer to a delegate request that failed.
///
/// # Errors
/// When the message is larger than a frame.
pub(crate) fn delegate_error_frame(
    id: i64,
    message: &str,
) -> Result<EncodedFrame, ConnectionFailure> {
    delegate_frame(id, Err(api::ToolError::new(message)))
        .map_err(|error| ConnectionFailure::Internal(error.to_string()))
}

fn delegate_frame(
    id: i64,
    result: Result<wire::DelegateValue, api::ToolError>,
) -> Result<EncodedFrame, EncodeError> {
    let id = wire::DelegateRequestId::new(id);
    let message = wire::ClientMessage::DelegateResponse { id, result };
    EncodedFrame::encode(&message, &AgreedCapabilities::none())
}

/// Frames that the driver makes by itself are small and plain V1, so they always fit.
fn own_frame(message: &wire::ClientMessage) -> Result<EncodedFrame, ConnectionFailure> {
    EncodedFrame::encode(message, &AgreedCapabilities::none())
        .map_err(|error| ConnectionFailure::Internal(error.to_string()))
}

fn operation(id: RequestId, request: OperationRequest) -> wire::ClientMessage {
    wire::ClientMessage::OperationRequest {
        id: wire::RequestId::new(id),
        request,
    }
}

fn session_id(id: &str) -> Result<api::SessionId, ConnectionFailure> {
    api::SessionId::new(id)
        .ok_or_else(|| ConnectionFailure::Internal("a session id is empty".to_owned()))
}

fn terminate_request(session: &str, cell: &str) -> Result<OperationRequest, ConnectionFailure> {
    Ok(OperationRequest::Terminate {
        session_id: session_id(session)?,
        cell_id: api::CellId::new(cell),
        max_output_tokens: None,
    })
}

/// Why a caller's request cannot be sent.
pub(crate) fn refused(error: &EncodeError) -> SessionError {
    SessionError::InvalidRequest {
        message: match error {
            EncodeError::NotAgreed(extension) => format!(
                "the host lacks the capability {}, which this request needs; use a host that has \
                 it, or leave out what needs it",
                extension.name()
            ),
            error => error.to_string(),
        },
    }
}

/// Requests of callers, encoded on the caller's side.
pub(crate) struct Requests<'a> {
    /// The session on the wire.
    pub(crate) session: &'a str,
    /// What may be used.
    pub(crate) agreed: &'a AgreedCapabilities,
}

impl Requests<'_> {
    pub(crate) fn open(
        &self,
        id: RequestId,
        cuts_output: bool,
    ) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::Open {
            session_id,
            cell_execution_limits: None,
            output_truncation: cuts_output.then_some(wire::OutputTruncation::Server),
        })
    }

    pub(crate) fn shutdown(&self, id: RequestId) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::Shutdown { session_id })
    }

    pub(crate) fn list_cells(&self, id: RequestId) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::ListCells { session_id })
    }

    pub(crate) fn export_store(&self, id: RequestId) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::ExportStore {
            session_id,
        })
    }

    pub(crate) fn import_store(
        &self,
        id: RequestId,
        values: BTreeMap<String, api::RawJson>,
    ) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::ImportStore {
            session_id,
            values,
        })
    }

    pub(crate) fn execute(
        &self,
        id: RequestId,
        request: api::ExecuteRequest,
        encoded_tools: Option<wire::EncodedTools>,
    ) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::Execute {
            session_id,
            request,
            encoded_tools,
        })
    }

    pub(crate) fn wait(
        &self,
        id: RequestId,
        cell: &str,
        yield_time: Option<Duration>,
    ) -> Result<EncodedFrame, SessionError> {
        let request = api::WaitRequest {
            cell_id: api::CellId::new(cell),
            // Never null: the public host of 2026 refuses a wait without a time, though the contract
            // allows it.
            yield_time: Some(yield_time.unwrap_or(api::DEFAULT_YIELD_TIME)),
        };
        self.encode(id, |session_id| OperationRequest::Wait {
            session_id,
            request,
            max_output_tokens: None,
            output_range: None,
        })
    }

    /// Asks for text that was cut; the cell is named by the host's own id.
    pub(crate) fn read_output(
        &self,
        id: RequestId,
        asked: api::ReadOutputRequest,
    ) -> Result<EncodedFrame, SessionError> {
        let request = api::WaitRequest {
            cell_id: asked.cell_id,
            // It plays no part.
            yield_time: Some(Duration::ZERO),
        };
        self.encode(id, |session_id| OperationRequest::Wait {
            session_id,
            request,
            max_output_tokens: None,
            output_range: Some(wire::OutputRange {
                offset: asked.offset,
                max_bytes: asked.max_bytes,
            }),
        })
    }

    pub(crate) fn terminate(
        &self,
        id: RequestId,
        cell: &str,
    ) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::Terminate {
            session_id,
            cell_id: api::CellId::new(cell),
            max_output_tokens: None,
        })
    }

    fn encode(
        &self,
        id: RequestId,
        request: impl FnOnce(api::SessionId) -> OperationRequest,
    ) -> Result<EncodedFrame, SessionError> {
        let session =
            api::SessionId::new(self.session).ok_or_else(|| SessionError::InvalidRequest {
                message: "a session id must not be empty".to_owned(),
            })?;
        EncodedFrame::encode(&operation(id, request(session)), self.agreed)
            .map_err(|error| refused(&error))
    }
}

/// A message of the host in this crate's terms; `None` for a greeting, which the reader handles.
pub(crate) fn host_message(message: wire::HostMessage) -> Option<HostMessage> {
    Some(match message {
        wire::HostMessage::Ready { .. } | wire::HostMessage::Rejected { .. } => return None,
        wire::HostMessage::OperationResponse { id, result } => HostMessage::Response {
            id: id.get(),
            result: result.map(answer),
        },
        wire::HostMessage::ExecuteInitialResponse { id, result } => HostMessage::Initial {
            id: id.get(),
            result,
        },
        wire::HostMessage::DelegateRequest { id, request } => delegate_request(id.get(), request),
        wire::HostMessage::DelegateCancel { id } => HostMessage::CancelDelegate { id: id.get() },
        wire::HostMessage::CellClosed {
            session_id,
            cell_id,
        } => HostMessage::CellClosed {
            session: session_id.to_string(),
            cell: cell_id.to_string(),
        },
    })
}

fn answer(value: wire::OperationValue) -> Answer {
    match value {
        wire::OperationValue::SessionReady { session_id } => Answer::SessionReady {
            session: session_id.to_string(),
        },
        wire::OperationValue::ExecutionStarted { cell_id } => Answer::Started {
            cell: cell_id.to_string(),
        },
        wire::OperationValue::WaitCompleted { outcome } => match outcome {
            wire::WaitOutcome::LiveCell(response) => Answer::Live(response),
            wire::WaitOutcome::MissingCell(_) => Answer::Missing,
        },
        wire::OperationValue::SessionClosed { session_id } => Answer::SessionClosed {
            session: session_id.to_string(),
        },
        wire::OperationValue::CellsListed { cells } => Answer::CellsListed(cells),
        wire::OperationValue::StoreExported { values } => Answer::StoreExported(values),
        wire::OperationValue::StoreImported {} => Answer::StoreImported,
        wire::OperationValue::OutputRead {
            offset,
            total_bytes,
            text,
            ..
        } => Answer::OutputRead(api::KeptText {
            text,
            offset,
            total_bytes,
        }),
    }
}

fn delegate_request(id: i64, request: wire::DelegateRequest) -> HostMessage {
    let session = request.session_id().to_string();
    let cell = request.cell_id().to_string();
    match request {
        wire::DelegateRequest::ToolInvoke { invocation } => HostMessage::Tool(ToolRequest {
            id,
            session,
            cell,
            call_id: invocation.call_id,
            tool_name: invocation.tool_name,
            tool_kind: invocation.tool_kind,
            input: invocation.input,
        }),
        wire::DelegateRequest::NotificationSend { notification } => {
            HostMessage::Notify(NotifyRequest {
                id,
                session,
                cell,
                text: notification.text,
            })
        }
    }
}

/// A failed call in the terms of the interface.
///
/// `cell_id` is the cell that the call was about, for the callers; `side_effects` is what a host
/// without `code_mode/errors-v1` leaves open.
pub(crate) fn session_error(
    error: CallError,
    session_id: &api::SessionId,
    cell_id: Option<&api::CellId>,
    side_effects: SideEffects,
) -> SessionError {
    let cell = || cell_id.cloned().unwrap_or_else(|| api::CellId::new(""));
    match error {
        CallError::Lost {
            cause,
            side_effects,
        } => SessionError::RuntimeLost {
            cause,
            side_effects,
        },
        CallError::Refused(error) => error,
        CallError::MissingCell => SessionError::MissingCell { cell_id: cell() },
        CallError::CellFinished => SessionError::CellFinished { cell_id: cell() },
        CallError::BusyObserver => SessionError::BusyObserver { cell_id: cell() },
        CallError::Host(error) | CallError::Draining(error) => {
            error.into_session_error(session_id, cell_id, side_effects)
        }
    }
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
