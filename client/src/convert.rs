//! Between the wire's types and the interface's, by hand and in one place.
//!
//! Nothing else in this package names a message of the protocol: a change of either side is a
//! change here.

use std::collections::BTreeMap;
use std::time::Duration;

use code_mode_api as api;
use code_mode_api::{LimitName, SessionError, SideEffects};
use code_mode_protocol as wire;
use code_mode_protocol::{AgreedCapabilities, EncodeError, EncodedFrame, OperationRequest};

use crate::connection::events::{Answer, HostMessage, NotifyRequest, RequestId, ToolRequest};
use crate::error::{CallError, ConnectionFailure, HostError};

/// The additions to V1 that this client uses where the host has them. A host adds nothing that its
/// client did not offer, so what nothing here would use is left out.
pub(crate) const OFFERED: [wire::Extension; 4] = [
    wire::Extension::Limits,
    wire::Extension::Store,
    wire::Extension::Errors,
    wire::Extension::Globals,
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
    delegate_frame(id, Err(wire::DelegateError::new(message)))
        .map_err(|error| ConnectionFailure::Internal(error.to_string()))
}

fn delegate_frame(
    id: i64,
    result: Result<wire::DelegateValue, wire::DelegateError>,
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

fn session_id(id: &str) -> Result<wire::SessionId, ConnectionFailure> {
    wire::SessionId::new(id).map_err(|error| ConnectionFailure::Internal(error.to_string()))
}

fn terminate_request(session: &str, cell: &str) -> Result<OperationRequest, ConnectionFailure> {
    let cell_id =
        wire::CellId::new(cell).map_err(|error| ConnectionFailure::Internal(error.to_string()))?;
    Ok(OperationRequest::Terminate {
        session_id: session_id(session)?,
        cell_id,
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
    pub(crate) fn open(&self, id: RequestId) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::Open {
            session_id,
            cell_execution_limits: None,
            output_truncation: None,
        })
    }

    pub(crate) fn shutdown(&self, id: RequestId) -> Result<EncodedFrame, SessionError> {
        self.encode(id, |session_id| OperationRequest::Shutdown { session_id })
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
        enabled_tools: wire::EnabledTools,
    ) -> Result<EncodedFrame, SessionError> {
        let max_output_tokens = request
            .max_output_tokens
            .map(|tokens| wire::MaxOutputTokens::new(tokens.into()))
            .transpose()
            .map_err(|error| invalid(&error))?;
        let request = wire::ExecuteRequest {
            tool_call_id: request.exec_call_id,
            enabled_tools,
            source: request.source,
            yield_time_ms: request.yield_time.map(milliseconds),
            max_output_tokens,
            limits: limits(&request.limits),
            globals: request.globals.map(|globals| match globals {
                api::Globals::Contract => wire::Globals::Contract,
                api::Globals::Web => wire::Globals::Web,
            }),
        };
        self.encode(id, |session_id| OperationRequest::Execute {
            session_id,
            request,
        })
    }

    pub(crate) fn wait(
        &self,
        id: RequestId,
        cell: &str,
        yield_time: Option<Duration>,
    ) -> Result<EncodedFrame, SessionError> {
        let cell_id = wire::CellId::new(cell).map_err(|error| invalid(&error))?;
        // Never null: the public host of 2026 refuses a wait without a time, though the contract
        // allows it.
        let yield_time = milliseconds(yield_time.unwrap_or(api::DEFAULT_YIELD_TIME));
        let request = wire::WaitRequest {
            cell_id,
            yield_time_ms: Some(yield_time),
        };
        self.encode(id, |session_id| OperationRequest::Wait {
            session_id,
            request,
            max_output_tokens: None,
            output_range: None,
        })
    }

    pub(crate) fn terminate(
        &self,
        id: RequestId,
        cell: &str,
    ) -> Result<EncodedFrame, SessionError> {
        let cell_id = wire::CellId::new(cell).map_err(|error| invalid(&error))?;
        self.encode(id, |session_id| OperationRequest::Terminate {
            session_id,
            cell_id,
            max_output_tokens: None,
        })
    }

    fn encode(
        &self,
        id: RequestId,
        request: impl FnOnce(wire::SessionId) -> OperationRequest,
    ) -> Result<EncodedFrame, SessionError> {
        let session = wire::SessionId::new(self.session).map_err(|error| invalid(&error))?;
        EncodedFrame::encode(&operation(id, request(session)), self.agreed)
            .map_err(|error| refused(&error))
    }
}

fn invalid(error: &wire::InvalidValue) -> SessionError {
    SessionError::InvalidRequest {
        message: error.to_string(),
    }
}

/// Whole milliseconds, rounded up so that a short wait does not become none.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn limits(limits: &api::CellLimits) -> Option<wire::Limits> {
    let limits = wire::Limits {
        heap_bytes: limits.heap_bytes,
        external_bytes: limits.external_bytes,
        cpu_time_ms: limits.cpu_time.map(milliseconds),
        wall_time_ms: limits.wall_time.map(milliseconds),
        output_bytes: limits.output_bytes,
        output_items: limits.output_items,
        open_tool_calls: limits.open_tool_calls,
        total_tool_calls: limits.total_tool_calls,
        timers: limits.timers,
    };
    (limits != wire::Limits::default()).then_some(limits)
}

/// The wire's form of tools.
pub(crate) fn tool_definitions(tools: &[api::ToolDefinition]) -> Vec<wire::ToolDefinition> {
    tools.iter().map(tool_definition).collect()
}

fn tool_definition(tool: &api::ToolDefinition) -> wire::ToolDefinition {
    wire::ToolDefinition {
        name: tool.name.clone(),
        tool_name: wire::ToolName {
            name: tool.tool_name.name.clone(),
            namespace: tool.tool_name.namespace.clone(),
        },
        description: tool.description.clone(),
        kind: match tool.kind {
            api::ToolKind::Function => wire::ToolKind::Function,
            api::ToolKind::Freeform => wire::ToolKind::Freeform,
        },
        input_schema: tool.input_schema.clone(),
        output_schema: tool.output_schema.clone(),
    }
}

/// A message of the host in this crate's terms; `None` for a greeting, which the reader handles.
pub(crate) fn host_message(message: wire::HostMessage) -> Option<HostMessage> {
    Some(match message {
        wire::HostMessage::Ready { .. } | wire::HostMessage::Rejected { .. } => return None,
        wire::HostMessage::OperationResponse { id, result } => HostMessage::Response {
            id: id.get(),
            result: result.map(answer).map_err(host_error),
        },
        wire::HostMessage::ExecuteInitialResponse { id, result } => HostMessage::Initial {
            id: id.get(),
            result: result.map(cell_response).map_err(host_error),
        },
        wire::HostMessage::DelegateRequest {
            id,
            session_id,
            request,
        } => delegate_request(id.get(), session_id.to_string(), request),
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
            wire::WaitOutcome::LiveCell(response) => Answer::Live(cell_response(response)),
            wire::WaitOutcome::MissingCell(_) => Answer::Missing,
        },
        wire::OperationValue::SessionClosed { session_id } => Answer::SessionClosed {
            session: session_id.to_string(),
        },
        wire::OperationValue::StoreExported { values } => Answer::StoreExported(values),
        wire::OperationValue::StoreImported {} => Answer::StoreImported,
        wire::OperationValue::OutputRead { .. } => Answer::NotAskedFor,
    }
}

fn delegate_request(id: i64, session: String, request: wire::DelegateRequest) -> HostMessage {
    match request {
        wire::DelegateRequest::ToolInvoke { invocation } => HostMessage::Tool(ToolRequest {
            id,
            session,
            cell: invocation.cell_id.to_string(),
            call_id: invocation.runtime_tool_call_id,
            tool_name: api::ToolName {
                name: invocation.tool_name.name,
                namespace: invocation.tool_name.namespace,
            },
            tool_kind: match invocation.tool_kind {
                wire::ToolKind::Function => api::ToolKind::Function,
                wire::ToolKind::Freeform => api::ToolKind::Freeform,
            },
            input: invocation.input,
        }),
        wire::DelegateRequest::NotificationSend {
            call_id: _,
            cell_id,
            text,
        } => HostMessage::Notify(NotifyRequest {
            id,
            session,
            cell: cell_id.to_string(),
            text,
        }),
    }
}

fn cell_response(response: wire::CellResponse) -> api::CellResponse {
    let (output, status) = match response {
        wire::CellResponse::Result { output, error_text } => {
            (output, api::CellStatus::Completed { error_text })
        }
        wire::CellResponse::Yielded(output) => (output, api::CellStatus::Yielded),
        wire::CellResponse::Terminated(output) => (output, api::CellStatus::Terminated),
    };
    api::CellResponse {
        cell_id: api::CellId::new(output.cell_id.as_str()),
        status,
        content_items: output.content_items.into_iter().map(content_item).collect(),
        timings: api::CellTimings {
            host_duration: output
                .timings
                .code_mode_host_duration_ns
                .map(Duration::from_nanos),
            result_buffered_for: output
                .timings
                .result_buffered_for_ns
                .map(Duration::from_nanos),
        },
        state_lost: None,
    }
}

fn content_item(item: wire::ContentItem) -> api::ContentItem {
    match item {
        wire::ContentItem::InputText { text } => api::ContentItem::Text(text),
        wire::ContentItem::InputImage { image_url, detail } => api::ContentItem::Image {
            image_url,
            detail: detail.map(|detail| match detail {
                wire::ImageDetail::Auto => api::ImageDetail::Auto,
                wire::ImageDetail::Low => api::ImageDetail::Low,
                wire::ImageDetail::High => api::ImageDetail::High,
                wire::ImageDetail::Original => api::ImageDetail::Original,
            }),
        },
        wire::ContentItem::InputAudio { audio_url } => api::ContentItem::Audio { audio_url },
    }
}

fn host_error(error: wire::WireError) -> HostError {
    let (code, side_effects) = error.details.map_or((None, None), |details| {
        let side_effects = match details.side_effects {
            wire::SideEffects::None => SideEffects::None,
            wire::SideEffects::Possible => SideEffects::Possible,
        };
        (Some(details.code.as_str().to_owned()), Some(side_effects))
    });
    HostError {
        message: error.message,
        code,
        side_effects,
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
        CallError::Host(error) => {
            let side_effects = error.side_effects.unwrap_or(side_effects);
            let refused = |message| SessionError::Refused {
                message,
                side_effects,
            };
            match error.code.as_deref() {
                Some("missing-cell") => SessionError::MissingCell { cell_id: cell() },
                Some("cell-finished") => SessionError::CellFinished { cell_id: cell() },
                Some("busy-observer") => SessionError::BusyObserver { cell_id: cell() },
                Some("shut-down") => SessionError::ShutDown {
                    session_id: session_id.clone(),
                },
                Some("invalid-request") => SessionError::InvalidRequest {
                    message: error.message,
                },
                Some("cancelled") => SessionError::Cancelled { side_effects },
                Some(code) => match limit(code, &error.message) {
                    Some(error) => error,
                    None => refused(error.message),
                },
                None => refused(error.message),
            }
        }
    }
}

/// A limit that a host has named by its code; the value stands in the message, in the form that
/// [`SessionError::Limit`] gives it.
fn limit(code: &str, message: &str) -> Option<SessionError> {
    let limit = LIMITS
        .into_iter()
        .find(|(name, _)| code.strip_prefix("limit/") == Some(name))?
        .1;
    let rest = message.strip_prefix("the limit of ")?;
    let (maximum, rest) = rest.split_once(' ')?;
    let rest = rest
        .strip_prefix(&limit.to_string())?
        .strip_prefix(" is reached")?;
    let detail = if rest.is_empty() {
        ""
    } else {
        rest.strip_prefix(": ")?
    };
    Some(SessionError::Limit {
        limit,
        maximum: maximum.parse().ok()?,
        detail: detail.to_owned(),
    })
}

/// Each bound by the last part of its error code.
const LIMITS: [(&str, LimitName); 22] = [
    ("heap-bytes", LimitName::HeapBytes),
    ("external-bytes", LimitName::ExternalBytes),
    ("cpu-time-ms", LimitName::CpuTimeMs),
    ("wall-time-ms", LimitName::WallTimeMs),
    ("source-bytes", LimitName::SourceBytes),
    ("output-bytes", LimitName::OutputBytes),
    ("output-items", LimitName::OutputItems),
    ("stored-value-bytes", LimitName::StoredValueBytes),
    ("store-bytes", LimitName::StoreBytes),
    ("store-keys", LimitName::StoreKeys),
    ("open-tool-calls", LimitName::OpenToolCalls),
    ("total-tool-calls", LimitName::TotalToolCalls),
    ("open-notifications", LimitName::OpenNotifications),
    ("timers", LimitName::Timers),
    ("value-bytes", LimitName::ValueBytes),
    ("tools", LimitName::Tools),
    ("tool-bytes", LimitName::ToolBytes),
    ("active-cells", LimitName::ActiveCells),
    ("stored-results", LimitName::StoredResults),
    ("sessions", LimitName::Sessions),
    ("requests-in-flight", LimitName::RequestsInFlight),
    ("cell-ids", LimitName::CellIds),
];

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
