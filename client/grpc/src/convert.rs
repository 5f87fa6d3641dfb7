// SPDX-License-Identifier: Apache-2.0
//! Between the values of `code_mode_api` and the messages of gRPC, by hand and in one place.

use std::collections::BTreeMap;
use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, CellResponse, CellState, CellStatus, CellSummary, CellTimings, ContentItem,
    DEFAULT_YIELD_TIME, ExecuteRequest, Globals, ImageDetail, RawJson, SessionId, SideEffects,
    ToolDefinition, ToolInvocation, ToolKind, ToolName,
};
use code_mode_client::HOST_DRAINING;
use code_mode_grpc::extensions as ours;
use code_mode_grpc::prost::Message as _;
use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic::metadata::MetadataValue;
use code_mode_grpc::tonic::{Code, Request, Status};
use code_mode_grpc::{
    CELL_LIMITS_METADATA, ERROR_CODE_METADATA, EXACT_INTEGERS_METADATA, GLOBALS_METADATA,
    SIDE_EFFECTS_METADATA, v1,
};
use code_mode_protocol::{ErrorCode, Extension, HostOffer, SupportedVersions, WireError};
use serde_json::value::RawValue;

use crate::wire::why;

/// The error code of a refusal that has none of its own.
const UNNAMED: &str = "host-error";

/// The error code of an execute that the host has refused unseen.
const STREAM_REFUSED: &str = "stream-refused";

/// What the bridge offers the client in the name of a host that has said what it has, and what the contract
/// has anyway. The names of errors are always had: where the host does not give them, they follow from the kind
/// of its refusal.
pub(crate) fn offer(named: &[String]) -> HostOffer {
    let mut extensions = vec![
        Extension::Limits,
        Extension::Store,
        Extension::Globals,
        Extension::ExactIntegers,
        Extension::Output,
        Extension::Cells,
    ];
    extensions.retain(|extension| named.iter().any(|name| name == extension.name()));
    // That a host cuts output is part of the contract.
    extensions.extend([Extension::Errors, Extension::BoundedOutput]);
    HostOffer {
        versions: SupportedVersions::v1(),
        capabilities: Extension::capabilities(&extensions),
    }
}

/// What stands for text that was JSON before, as V1 hands it on.
pub(crate) fn json(bytes: &Bytes) -> Result<RawJson, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    serde_json::from_str::<&RawValue>(text)
        .map(ToOwned::to_owned)
        .map_err(|error| error.to_string())
}

/// JSON as gRPC hands it on.
pub(crate) fn bytes(json: RawJson) -> Bytes {
    let text: Box<str> = json.into();
    Bytes::from(String::from(text).into_bytes())
}

/// An execute, with what the contract has no field for in its metadata.
pub(crate) fn execute(
    session_id: &str,
    execution_id: String,
    request: ExecuteRequest,
) -> Request<v1::ExecuteRequest> {
    let mut asked = Request::new(v1::ExecuteRequest {
        session_id: session_id.to_owned(),
        execution_id,
        tool_call_id: exec_call_id(request.exec_call_id),
        source: request.source,
        enabled_tools: request.tools.iter().map(tool).collect(),
        yield_time_ms: Some(yield_time_ms(request.yield_time)),
        max_output_tokens: request.max_output_tokens.map(u64::from),
    });
    if request.limits != CellLimits::default() {
        let limits = request.limits;
        let limits = ours::CellLimits {
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
        let value = MetadataValue::from_bytes(&limits.encode_to_vec());
        asked.metadata_mut().insert_bin(CELL_LIMITS_METADATA, value);
    }
    // The client asks a host for either only where it has said that it has it.
    if let Some(globals) = request.globals {
        let name = match globals {
            Globals::Contract => "contract",
            Globals::Web => "web",
        };
        let value = MetadataValue::from_static(name);
        asked.metadata_mut().insert(GLOBALS_METADATA, value);
    }
    if let Some(exact) = request.exact_integers {
        let value = MetadataValue::from_static(if exact { "true" } else { "false" });
        asked.metadata_mut().insert(EXACT_INTEGERS_METADATA, value);
    }
    asked
}

/// How long an observer waits, in milliseconds.
pub(crate) fn yield_time_ms(yield_time: Option<Duration>) -> u64 {
    milliseconds(yield_time.unwrap_or(DEFAULT_YIELD_TIME))
}

/// A duration in milliseconds, or the most that a message holds: 584 million years.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The contract wants some text where V1 takes none as well.
fn exec_call_id(id: String) -> String {
    if id.is_empty() { "none".to_owned() } else { id }
}

fn tool(tool: &ToolDefinition) -> v1::ToolDefinition {
    let schema = |schema: &Option<RawJson>| schema.clone().map(bytes);
    v1::ToolDefinition {
        name: tool.name.clone(),
        tool_name: Some(v1::ToolName {
            name: tool.tool_name.name.clone(),
            namespace: tool.tool_name.namespace.clone(),
        }),
        description: tool.description.clone(),
        kind: i32::from(match tool.kind {
            ToolKind::Function => v1::ToolKind::Function,
            ToolKind::Freeform => v1::ToolKind::Freeform,
        }),
        input_schema_json: schema(&tool.input_schema),
        output_schema_json: schema(&tool.output_schema),
    }
}

/// A call of the session that the client knows as `session_id`, or what is wrong with it. Whose exec call
/// it belongs to, the client knows.
pub(crate) fn invocation(
    session_id: SessionId,
    call: v1::ToolCall,
) -> Result<ToolInvocation, String> {
    let kind = v1::ToolKind::try_from(call.tool_kind);
    let tool_name = call.tool_name.ok_or("a tool call without a name")?;
    Ok(ToolInvocation {
        session_id,
        cell_id: cell_id(&call.cell_id)?,
        call_id: call.runtime_tool_call_id,
        exec_call_id: String::new(),
        tool_name: ToolName {
            name: tool_name.name,
            namespace: tool_name.namespace,
        },
        tool_kind: match kind {
            Ok(v1::ToolKind::Freeform) => ToolKind::Freeform,
            Ok(v1::ToolKind::Function) => ToolKind::Function,
            Ok(v1::ToolKind::Unspecified) | Err(_) => {
                return Err("a tool call without a kind".to_owned());
            }
        },
        input: match call.input_json {
            Some(input) => json(&input)?,
            None => RawValue::NULL.to_owned(),
        },
    })
}

/// A cell's id as the host gave it, or what is wrong with it.
pub(crate) fn cell_id(id: &str) -> Result<CellId, String> {
    if id.is_empty() {
        return Err("a cell without an id".to_owned());
    }
    Ok(CellId::new(id))
}

/// What an observer gets of an outcome, or what is wrong with it.
pub(crate) fn response(
    outcome: v1::ExecutionOutcome,
    result_buffered_for: Option<Duration>,
) -> Result<CellResponse, String> {
    use v1::execution_outcome::Outcome;
    let items = outcome.content_items.into_iter().map(item);
    Ok(CellResponse {
        cell_id: cell_id(&outcome.cell_id)?,
        status: match outcome.outcome.ok_or("an outcome that says nothing")? {
            Outcome::Yielded(v1::Yielded {}) => CellStatus::Yielded,
            Outcome::Terminated(v1::Terminated {}) => CellStatus::Terminated,
            Outcome::Completed(v1::Completed { error_text }) => {
                CellStatus::Completed { error_text }
            }
        },
        content_items: items.collect::<Result<_, _>>()?,
        timings: CellTimings {
            host_duration: Some(Duration::from_nanos(outcome.code_mode_host_duration_ns)),
            result_buffered_for,
        },
        state_lost: None,
    })
}

/// What stands for the outcome of a cell that has ended with its session.
pub(crate) fn terminated(cell_id: CellId) -> CellResponse {
    CellResponse {
        cell_id,
        status: CellStatus::Terminated,
        content_items: Vec::new(),
        timings: CellTimings::default(),
        state_lost: None,
    }
}

fn item(item: v1::ContentItem) -> Result<ContentItem, String> {
    use v1::content_item::Item;
    Ok(match item.item.ok_or("an item of no kind that is known")? {
        Item::Text(v1::TextItem { text }) => ContentItem::Text(text),
        Item::Image(v1::ImageItem { image_url, detail }) => ContentItem::Image {
            image_url,
            detail: detail
                .map(|detail| match v1::ImageDetail::try_from(detail) {
                    Ok(v1::ImageDetail::Auto) => Ok(ImageDetail::Auto),
                    Ok(v1::ImageDetail::Low) => Ok(ImageDetail::Low),
                    Ok(v1::ImageDetail::High) => Ok(ImageDetail::High),
                    Ok(v1::ImageDetail::Original) => Ok(ImageDetail::Original),
                    Ok(v1::ImageDetail::Unspecified) | Err(_) => {
                        Err(format!("the image detail {detail}"))
                    }
                })
                .transpose()?,
        },
        Item::Audio(v1::AudioItem { audio_url }) => ContentItem::Audio { audio_url },
    })
}

/// Stored values on their way to the host.
pub(crate) fn stored(values: BTreeMap<String, RawJson>) -> Vec<ours::StoredValue> {
    values
        .into_iter()
        .map(|(key, value)| ours::StoredValue {
            key,
            value_json: bytes(value),
        })
        .collect()
}

/// The list of cells from the host, or what is wrong with it.
pub(crate) fn cells(listed: Vec<ours::Cell>) -> Result<Vec<CellSummary>, String> {
    listed
        .into_iter()
        .map(|cell| {
            let state = match cell.state() {
                ours::CellState::Running => CellState::Running,
                ours::CellState::Stopping => CellState::Stopping,
                ours::CellState::Ended => CellState::Ended,
                ours::CellState::Unspecified => {
                    return Err(format!("a cell in a state without a name, {}", cell.state));
                }
            };
            Ok(CellSummary {
                cell_id: CellId::new(cell.cell_id),
                exec_call_id: cell.call_id,
                state,
                age: Duration::from_millis(cell.age_ms),
                output_bytes: cell.output_bytes,
                unread_bytes: cell.unread_bytes,
            })
        })
        .collect()
}

/// Stored values from the host, or what is wrong with them.
pub(crate) fn values(stored: Vec<ours::StoredValue>) -> Result<BTreeMap<String, RawJson>, String> {
    stored
        .into_iter()
        .map(|value| Ok((value.key, json(&value.value_json)?)))
        .collect()
}

/// What a host that refuses a call has said that this leaves open, if it has.
fn stated(status: &Status) -> Option<SideEffects> {
    let name = status.metadata().get(SIDE_EFFECTS_METADATA)?;
    SideEffects::from_name(name.to_str().ok()?)
}

/// A refusal in the terms of V1. `side_effects` is what the call leaves open where the host does not say.
pub(crate) fn error(status: &Status, side_effects: SideEffects) -> WireError {
    let named = status.metadata().get(ERROR_CODE_METADATA);
    let named = named.and_then(|code| code.to_str().ok());
    let code = named.or(match status.code() {
        Code::FailedPrecondition => Some("busy-observer"),
        Code::InvalidArgument | Code::OutOfRange => Some("invalid-request"),
        Code::Cancelled => Some("cancelled"),
        // Of a session that is to be opened; later on it is a loss.
        Code::Unavailable => Some(HOST_DRAINING),
        // Without a code it could not be told what the call leaves open.
        _ => Some(UNNAMED),
    });
    let error = WireError::new(why(status));
    match code.and_then(|code| ErrorCode::new(code).ok()) {
        Some(code) => error.with_details(code, stated(status).unwrap_or(side_effects)),
        None => error,
    }
}

/// What the host's refusal of an execute that has not started a cell leaves open: what it says itself, or else
/// what follows from the code. A host gives these before it does anything; the others may be the words of what
/// stands before it, which does not know.
pub(crate) fn side_effects(status: &Status) -> SideEffects {
    stated(status).unwrap_or_else(|| match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::ResourceExhausted
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented
        | Code::Unavailable => SideEffects::None,
        _ => SideEffects::Possible,
    })
}

/// The refusal of an execute's stream, of which the host has seen nothing.
pub(crate) fn refused(why: &str) -> WireError {
    let error = WireError::new(format!(
        "the host refuses executes for now, twice in a row: {why}"
    ));
    match ErrorCode::new(STREAM_REFUSED) {
        Ok(code) => error.with_details(code, SideEffects::None),
        Err(_) => error,
    }
}

/// The refusal of an execute in a session that its host has ended: it was not sent.
pub(crate) fn not_sent() -> WireError {
    let error = WireError::new("the host has ended the session");
    match ErrorCode::new(HOST_DRAINING) {
        Ok(code) => error.with_details(code, SideEffects::None),
        Err(_) => error,
    }
}

/// Whether an error is the refusal of a host that is about to end.
pub(crate) fn is_draining(error: &WireError) -> bool {
    let details = error.details.as_ref();
    details.is_some_and(|details| details.code.as_str() == HOST_DRAINING)
}

/// Whether an error says that its call was cancelled.
pub(crate) fn is_cancellation(error: &WireError) -> bool {
    let details = error.details.as_ref();
    details.is_some_and(|details| details.code.as_str() == "cancelled")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_has_not_named_is_not_offered_but_for_the_contract_and_the_names_of_errors() {
        let globals = Extension::Globals.name().to_owned();
        let offered = offer(&[globals, "x".to_owned()]).capabilities;
        let expected = Extension::capabilities(&[
            Extension::Globals,
            Extension::Errors,
            Extension::BoundedOutput,
        ]);
        assert_eq!(offered, expected);
    }

    #[test]
    fn a_status_that_a_host_gives_before_it_begins_leaves_nothing_open_and_any_other_does() {
        for code in [Code::InvalidArgument, Code::AlreadyExists, Code::NotFound] {
            let status = Status::new(code, "no");
            assert_eq!(side_effects(&status), SideEffects::None, "{code:?}");
        }
        for code in [
            Code::DeadlineExceeded,
            Code::Internal,
            Code::Unknown,
            Code::Aborted,
            Code::Cancelled,
        ] {
            let status = Status::new(code, "what stands between has given up");
            assert_eq!(side_effects(&status), SideEffects::Possible, "{code:?}");
        }
    }

    #[test]
    fn what_a_host_says_of_side_effects_goes_before_what_the_call_and_the_code_leave_open() {
        use SideEffects::{None, Possible};
        let left_open = |stated: Option<&'static str>, code, otherwise| {
            let mut status = Status::new(code, "no");
            if let Some(stated) = stated {
                let stated = MetadataValue::from_static(stated);
                status.metadata_mut().insert(SIDE_EFFECTS_METADATA, stated);
            }
            let details = error(&status, otherwise).details.expect("it has a name");
            (details.side_effects, side_effects(&status))
        };
        let nothing = Option::None;
        assert_eq!(
            left_open(nothing, Code::NotFound, Possible),
            (Possible, None)
        );
        assert_eq!(left_open(nothing, Code::Aborted, None), (None, Possible));
        for code in [Code::NotFound, Code::Aborted] {
            assert_eq!(left_open(Some("none"), code, Possible), (None, None));
            assert_eq!(
                left_open(Some("possible"), code, None),
                (Possible, Possible)
            );
            assert_eq!(left_open(Some("perhaps"), code, None).0, None);
        }
    }

    #[test]
    fn a_choice_is_in_the_metadata_and_none_is_left_to_the_host() {
        let request = ExecuteRequest {
            globals: Some(Globals::Web),
            exact_integers: Some(false),
            ..ExecuteRequest::new("1")
        };
        let asked = execute("s", "e".to_owned(), request);
        let said = |name| {
            asked
                .metadata()
                .get(name)
                .and_then(|word| word.to_str().ok())
        };
        assert_eq!(said(GLOBALS_METADATA), Some("web"));
        assert_eq!(said(EXACT_INTEGERS_METADATA), Some("false"));
        let asked = execute("s", "e".to_owned(), ExecuteRequest::new("1"));
        assert!(asked.metadata().is_empty(), "{:?}", asked.metadata());
    }
}
