// SPDX-License-Identifier: Apache-2.0
//! Between the messages of V1 frames and those of gRPC, by hand and in one place.

use std::collections::BTreeMap;

use code_mode_grpc::extensions as ours;
use code_mode_grpc::prost::Message as _;
use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic::metadata::MetadataValue;
use code_mode_grpc::tonic::{Code, Request, Status};
use code_mode_grpc::{CELL_LIMITS_METADATA, ERROR_CODE_METADATA, v1};
use code_mode_protocol as frames;
use code_mode_protocol::{Capability, CapabilitySet, Extension, RawJson, WireError};
use serde_json::value::RawValue;

use crate::wire::why;

/// What the bridge offers the client in the host's name.
pub(crate) struct Offer(pub(crate) frames::HostOffer);

impl Offer {
    /// What a host has that has said so. The names of errors are always had: where the host does not give
    /// them, they follow from the kind of its refusal.
    pub(crate) fn new(named: &[String]) -> Self {
        let has = |extension: &Extension| {
            *extension == Extension::Errors || named.iter().any(|name| name == extension.name())
        };
        let mut extensions = vec![Extension::Limits, Extension::Store, Extension::Errors];
        extensions.retain(has);
        let capabilities: Vec<Capability> =
            extensions.into_iter().map(Extension::capability).collect();
        Self(frames::HostOffer {
            versions: frames::SupportedVersions::v1(),
            // No name comes twice.
            capabilities: CapabilitySet::new(capabilities)
                .unwrap_or_else(|_| CapabilitySet::empty()),
        })
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

/// An execute, with the bounds of its cell.
pub(crate) fn execute(
    session_id: &str,
    execution_id: String,
    request: frames::ExecuteRequest,
) -> Request<v1::ExecuteRequest> {
    let tools = request.enabled_tools.into_definitions();
    let mut asked = Request::new(v1::ExecuteRequest {
        session_id: session_id.to_owned(),
        execution_id,
        tool_call_id: exec_call_id(request.tool_call_id),
        source: request.source,
        enabled_tools: tools.into_iter().map(tool).collect(),
        yield_time_ms: request.yield_time_ms,
        max_output_tokens: request.max_output_tokens.map(|tokens| tokens.get().into()),
    });
    if let Some(limits) = request.limits {
        let limits = ours::CellLimits {
            heap_bytes: limits.heap_bytes,
            external_bytes: limits.external_bytes,
            cpu_time_ms: limits.cpu_time_ms,
            wall_time_ms: limits.wall_time_ms,
            output_bytes: limits.output_bytes,
            output_items: limits.output_items,
            open_tool_calls: limits.open_tool_calls,
            total_tool_calls: limits.total_tool_calls,
            timers: limits.timers,
        };
        let value = MetadataValue::from_bytes(&limits.encode_to_vec());
        asked.metadata_mut().insert_bin(CELL_LIMITS_METADATA, value);
    }
    asked
}

/// The contract wants some text where V1 takes none as well.
fn exec_call_id(id: String) -> String {
    if id.is_empty() { "none".to_owned() } else { id }
}

fn tool(tool: frames::ToolDefinition) -> v1::ToolDefinition {
    v1::ToolDefinition {
        name: tool.name,
        tool_name: Some(v1::ToolName {
            name: tool.tool_name.name,
            namespace: tool.tool_name.namespace,
        }),
        description: tool.description,
        kind: i32::from(match tool.kind {
            frames::ToolKind::Function => v1::ToolKind::Function,
            frames::ToolKind::Freeform => v1::ToolKind::Freeform,
        }),
        input_schema_json: tool.input_schema.map(bytes),
        output_schema_json: tool.output_schema.map(bytes),
    }
}

/// A call as V1 has it, or what is wrong with it.
pub(crate) fn invocation(call: v1::ToolCall) -> Result<frames::ToolInvocation, String> {
    let kind = v1::ToolKind::try_from(call.tool_kind);
    let tool_name = call.tool_name.ok_or("a tool call without a name")?;
    Ok(frames::ToolInvocation {
        cell_id: frames::CellId::new(&call.cell_id).map_err(|error| error.to_string())?,
        runtime_tool_call_id: call.runtime_tool_call_id,
        tool_name: frames::ToolName {
            name: tool_name.name,
            namespace: tool_name.namespace,
        },
        tool_kind: match kind {
            Ok(v1::ToolKind::Freeform) => frames::ToolKind::Freeform,
            Ok(v1::ToolKind::Function) => frames::ToolKind::Function,
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

/// An outcome as V1 has it, or what is wrong with it.
pub(crate) fn response(
    outcome: v1::ExecutionOutcome,
    buffered_for_ns: Option<u64>,
) -> Result<frames::CellResponse, String> {
    use v1::execution_outcome::Outcome;
    let items = outcome.content_items.into_iter().map(item);
    let output = frames::CellOutput {
        cell_id: frames::CellId::new(&outcome.cell_id).map_err(|error| error.to_string())?,
        content_items: items.collect::<Result<_, _>>()?,
        timings: frames::Timings {
            code_mode_host_duration_ns: Some(outcome.code_mode_host_duration_ns),
            result_buffered_for_ns: buffered_for_ns,
        },
    };
    Ok(
        match outcome.outcome.ok_or("an outcome that says nothing")? {
            Outcome::Yielded(v1::Yielded {}) => frames::CellResponse::Yielded(output),
            Outcome::Terminated(v1::Terminated {}) => frames::CellResponse::Terminated(output),
            Outcome::Completed(v1::Completed { error_text }) => {
                frames::CellResponse::Result { output, error_text }
            }
        },
    )
}

/// What stands for the outcome of a cell that has ended with its session.
pub(crate) fn terminated(cell_id: frames::CellId) -> frames::CellResponse {
    frames::CellResponse::Terminated(frames::CellOutput {
        cell_id,
        content_items: Vec::new(),
        timings: frames::Timings::default(),
    })
}

fn item(item: v1::ContentItem) -> Result<frames::ContentItem, String> {
    use v1::content_item::Item;
    Ok(match item.item.ok_or("an item of no kind that is known")? {
        Item::Text(v1::TextItem { text }) => frames::ContentItem::InputText { text },
        Item::Image(v1::ImageItem { image_url, detail }) => frames::ContentItem::InputImage {
            image_url,
            detail: detail
                .map(|detail| match v1::ImageDetail::try_from(detail) {
                    Ok(v1::ImageDetail::Auto) => Ok(frames::ImageDetail::Auto),
                    Ok(v1::ImageDetail::Low) => Ok(frames::ImageDetail::Low),
                    Ok(v1::ImageDetail::High) => Ok(frames::ImageDetail::High),
                    Ok(v1::ImageDetail::Original) => Ok(frames::ImageDetail::Original),
                    Ok(v1::ImageDetail::Unspecified) | Err(_) => {
                        Err(format!("the image detail {detail}"))
                    }
                })
                .transpose()?,
        },
        Item::Audio(v1::AudioItem { audio_url }) => frames::ContentItem::InputAudio { audio_url },
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

/// Stored values from the host, or what is wrong with them.
pub(crate) fn values(stored: Vec<ours::StoredValue>) -> Result<BTreeMap<String, RawJson>, String> {
    stored
        .into_iter()
        .map(|value| Ok((value.key, json(&value.value_json)?)))
        .collect()
}

/// A refusal as V1 has it. `side_effects` is what the call leaves open.
pub(crate) fn error(status: &Status, side_effects: frames::SideEffects) -> WireError {
    let named = status.metadata().get(ERROR_CODE_METADATA);
    let named = named.and_then(|code| code.to_str().ok());
    let code = named.or(match status.code() {
        Code::FailedPrecondition => Some("busy-observer"),
        Code::InvalidArgument | Code::OutOfRange => Some("invalid-request"),
        Code::Cancelled => Some("cancelled"),
        _ => None,
    });
    let error = WireError::new(why(status));
    match code.and_then(|code| frames::ErrorCode::new(code).ok()) {
        Some(code) => error.with_details(code, side_effects),
        None => error,
    }
}

/// Whether an error says that its call was cancelled.
pub(crate) fn is_cancellation(error: &WireError) -> bool {
    let details = error.details.as_ref();
    details.is_some_and(|details| details.code.as_str() == "cancelled")
}
