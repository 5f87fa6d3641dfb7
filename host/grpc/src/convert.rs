// SPDX-License-Identifier: Apache-2.0
//! What sessions say, as messages.

use std::time::Duration;

use code_mode_api::waist::Credit;
use code_mode_api::{
    CellId, CellResponse, CellStatus, CellTimings, ContentItem, ImageDetail, ToolInvocation,
    ToolKind,
};
use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::v1;

/// An outcome, and what its event counts for.
pub(crate) struct Outcome {
    pub(crate) message: v1::ExecutionOutcome,
    /// How long the result had waited for its observer, if it had.
    pub(crate) buffered_for: Option<Duration>,
    pub(crate) credit: Option<Credit>,
}

/// An outcome as a message. `duration` is from the receipt of its request.
pub(crate) fn outcome(response: CellResponse, duration: Duration) -> v1::ExecutionOutcome {
    use v1::execution_outcome::Outcome;
    let outcome = match response.status {
        CellStatus::Yielded => Outcome::Yielded(v1::Yielded {}),
        CellStatus::Terminated => Outcome::Terminated(v1::Terminated {}),
        CellStatus::Completed { error_text } => Outcome::Completed(v1::Completed { error_text }),
    };
    v1::ExecutionOutcome {
        cell_id: response.cell_id.to_string(),
        content_items: response.content_items.into_iter().map(item).collect(),
        outcome: Some(outcome),
        code_mode_host_duration_ns: nanoseconds(duration),
    }
}

/// What stands in for the outcome of a cell that is not there, with the output that says so.
pub(crate) fn missing(
    cell_id: &CellId,
    reason: String,
    content_items: Vec<ContentItem>,
    duration: Duration,
) -> v1::ExecutionOutcome {
    let response = CellResponse {
        cell_id: cell_id.clone(),
        status: CellStatus::Completed {
            error_text: Some(reason),
        },
        content_items,
        timings: CellTimings::default(),
        state_lost: None,
    };
    outcome(response, duration)
}

/// A duration in nanoseconds, or the most that the message holds: 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn item(item: ContentItem) -> v1::ContentItem {
    use v1::content_item::Item;
    let item = match item {
        ContentItem::Text(text) => Item::Text(v1::TextItem { text }),
        ContentItem::Image { image_url, detail } => Item::Image(v1::ImageItem {
            image_url,
            detail: detail.map(|detail| {
                i32::from(match detail {
                    ImageDetail::Auto => v1::ImageDetail::Auto,
                    ImageDetail::Low => v1::ImageDetail::Low,
                    ImageDetail::High => v1::ImageDetail::High,
                    ImageDetail::Original => v1::ImageDetail::Original,
                })
            }),
        }),
        ContentItem::Audio { audio_url } => Item::Audio(v1::AudioItem { audio_url }),
    };
    v1::ContentItem { item: Some(item) }
}

/// A call as a message, all but what only the door knows: execution, invocation, sequence, trace.
pub(crate) fn tool_call(invocation: ToolInvocation) -> v1::ToolCall {
    let input: Box<str> = invocation.input.into();
    v1::ToolCall {
        session_id: invocation.session_id.to_string(),
        execution_id: String::new(),
        cell_id: invocation.cell_id.to_string(),
        invocation_id: String::new(),
        runtime_tool_call_id: invocation.call_id,
        tool_name: Some(v1::ToolName {
            name: invocation.tool_name.name,
            namespace: invocation.tool_name.namespace,
        }),
        tool_kind: i32::from(match invocation.tool_kind {
            ToolKind::Function => v1::ToolKind::Function,
            ToolKind::Freeform => v1::ToolKind::Freeform,
        }),
        // A script that gives no input has given null, and that is not sent.
        input_json: (&*input != "null").then(|| Bytes::from(String::from(input).into_bytes())),
        sequence: 0,
        traceparent: None,
    }
}
