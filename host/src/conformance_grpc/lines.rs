// SPDX-License-Identifier: Apache-2.0
//! What a host says, as lines of a transcript.

use code_mode_grpc::extensions as ours;
use code_mode_grpc::tonic::Status;
use code_mode_grpc::v1;
use serde_json::{Value, json};

/// One thing that came of a call, and the ids in it that later steps may need.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) line: String,
    /// Of a session or a tool call.
    pub(super) id: Option<String>,
    /// Of a notification.
    pub(super) note: Option<String>,
}

impl Said {
    fn of(line: impl Into<String>) -> Self {
        Self {
            line: line.into(),
            id: None,
            note: None,
        }
    }

    fn with(line: impl Into<String>, id: String) -> Self {
        Self {
            id: Some(id),
            ..Self::of(line)
        }
    }
}

pub(super) fn ok() -> Said {
    Said::of("ok")
}

pub(super) fn end() -> Said {
    Said::of("end")
}

pub(super) fn status(status: &Status) -> Said {
    Said::of(format!("{:?} {}", status.code(), status.message()))
}

pub(super) fn session_event(event: v1::SessionEvent) -> Said {
    use v1::session_event::Event;
    match event.event {
        Some(Event::Opened(opened)) => {
            let agreed = match opened.output_truncation {
                0 => "opened".to_owned(),
                2 => "opened truncating".to_owned(),
                other => format!("opened truncation={other}"),
            };
            Said::with(agreed, opened.session_id)
        }
        Some(Event::ToolCallCancelled(_)) => Said::of("call-cancelled"),
        Some(Event::Notification(note)) => Said {
            note: Some(note.notification_id),
            ..Said::of(format!(
                "notification {} {} {} {}",
                note.execution_id, note.cell_id, note.call_id, note.text
            ))
        },
        Some(Event::NotificationCancelled(_)) => Said::of("notification-cancelled"),
        Some(Event::CellClosed(closed)) => Said::of(format!(
            "closed {} {} calls={}",
            closed.execution_id, closed.cell_id, closed.final_tool_call_sequence
        )),
        None => Said::of("an unknown event"),
    }
}

pub(super) fn execute_event(event: v1::ExecuteEvent) -> Said {
    use v1::execute_event::Event;
    match event.event {
        Some(Event::Started(started)) => Said::of(format!(
            "started {} {}",
            started.execution_id, started.cell_id
        )),
        Some(Event::Outcome(of)) => Said::of(outcome(of)),
        None => Said::of("an unknown event"),
    }
}

pub(super) fn wait_response(response: v1::WaitResponse) -> Said {
    use v1::wait_response::Outcome;
    Said::of(match response.outcome {
        Some(Outcome::LiveCell(of)) => format!("live {}", outcome(of)),
        Some(Outcome::MissingCell(of)) => format!("missing {}", outcome(of)),
        None => "an unknown outcome".to_owned(),
    })
}

pub(super) fn kept_text(kept: ours::ReadOutputResponse) -> Said {
    Said::of(format!(
        "kept {} of {} {}",
        kept.offset,
        kept.total_bytes,
        json!(kept.text)
    ))
}

pub(super) fn tool_call(call: v1::ToolCall) -> Said {
    let name = call.tool_name.unwrap_or_default();
    let namespace = name.namespace.map(|space| space + "/").unwrap_or_default();
    let kind = if call.tool_kind == 2 {
        "freeform"
    } else {
        "function"
    };
    let input = call.input_json.map_or_else(
        || "-".to_owned(),
        |input| String::from_utf8_lossy(&input).into_owned(),
    );
    let line = format!(
        "call {} {} {} #{} {namespace}{} {kind} {input}",
        call.execution_id, call.cell_id, call.runtime_tool_call_id, call.sequence, name.name
    );
    Said::with(line, call.invocation_id)
}

fn outcome(outcome: v1::ExecutionOutcome) -> String {
    use v1::execution_outcome::Outcome;
    let items: Vec<Value> = outcome.content_items.into_iter().map(item).collect();
    let items = Value::Array(items);
    let cell = outcome.cell_id;
    match outcome.outcome {
        Some(Outcome::Yielded(_)) => format!("yielded {cell} {items}"),
        Some(Outcome::Terminated(_)) => format!("terminated {cell} {items}"),
        Some(Outcome::Completed(v1::Completed { error_text: None })) => {
            format!("completed {cell} {items}")
        }
        Some(Outcome::Completed(v1::Completed {
            error_text: Some(error),
        })) => format!("failed {cell} {items} {}", json!(error)),
        None => "an outcome without a kind".to_owned(),
    }
}

fn item(item: v1::ContentItem) -> Value {
    use v1::content_item::Item;
    match item.item {
        Some(Item::Text(text)) => json!(text.text),
        Some(Item::Image(image)) => json!({"image": image.image_url, "detail": image.detail}),
        Some(Item::Audio(audio)) => json!({"audio": audio.audio_url}),
        None => Value::Null,
    }
}
