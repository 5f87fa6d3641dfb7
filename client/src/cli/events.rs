//! What happens while scripts run, and how it is shown: as text for people or as JSON lines.
//!
//! `docs/cli.md`, section *JSON events*, is the contract of the JSON form.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use code_mode_api::{
    CellId, ContentItem, ImageDetail, RawJson, SessionError, StateLost, ToolInvocation, ToolName,
};
use serde_json::{Value, json};

use super::output::{Printer, Stream};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A script's cell was accepted.
    Started {
        /// The script's name for people.
        script: String,
        /// Its cell.
        cell: CellId,
    },
    /// The script put something out.
    Output {
        /// Its cell.
        cell: CellId,
        /// What.
        item: ContentItem,
    },
    /// The script called a tool.
    ToolCall {
        /// Its cell.
        cell: CellId,
        /// The call's id.
        call: String,
        /// The tool.
        tool: ToolName,
        /// The input.
        input: RawJson,
    },
    /// A tool has answered. A call that its cell did not wait for has none of these.
    ToolResult {
        /// The caller's cell.
        cell: CellId,
        /// The call's id.
        call: String,
        /// The result, or the error's message.
        result: Result<RawJson, String>,
        /// How long the call took, waiting for a free place included.
        took: Duration,
    },
    /// The script sent a notification.
    Notification {
        /// Its cell.
        cell: CellId,
        /// The text.
        text: String,
    },
    /// The session's earlier state was lost with a host.
    StateLost(StateLost),
    /// A script has ended.
    Ended {
        /// The script's name for people.
        script: String,
        /// How.
        end: CellEnd,
    },
    /// Something else that the user should know.
    Notice(String),
    /// Something failed that is no script.
    Problem(String),
}

/// How a cell ended for the one who drove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellEnd {
    /// The script ran to its end.
    Completed,
    /// The script failed.
    Failed {
        /// Name, message and stack.
        error_text: String,
    },
    /// Somebody terminated the cell.
    Terminated(Termination),
    /// The session could not run it, or lost it.
    Error(SessionError),
}

/// Why a cell was terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// Ctrl-C, or SIGINT from elsewhere.
    Interrupt,
    /// SIGTERM.
    Sigterm,
    /// A second signal: the program ends without waiting for the cell's end.
    Killed,
    /// The time given by `--timeout` was over.
    Timeout(Duration),
    /// Nobody reads standard output any more.
    OutputClosed,
    /// The cell was terminated, though not by this program's own request.
    Elsewhere,
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupt => f.write_str("terminated: interrupted by Ctrl-C"),
            Self::Sigterm => f.write_str("terminated: SIGTERM received"),
            Self::Killed => f.write_str("killed by a second signal; its end was not waited for"),
            Self::Timeout(after) => write!(f, "terminated: timed out after {after:?}"),
            Self::OutputClosed => {
                f.write_str("terminated: standard output can no longer be written")
            }
            Self::Elsewhere => f.write_str("terminated"),
        }
    }
}

impl Event {
    /// The event of a tool call.
    pub fn tool_call(invocation: &ToolInvocation) -> Self {
        Self::ToolCall {
            cell: invocation.cell_id.clone(),
            call: invocation.call_id.clone(),
            tool: invocation.tool_name.clone(),
            input: invocation.input.clone(),
        }
    }
}

/// Shows events; cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    printer: Printer,
    json: bool,
    images: Arc<AtomicU64>,
}

impl Reporter {
    /// Shows events through `printer`: as text, or as JSON lines on standard output and, for people,
    /// errors on standard error all the same.
    pub fn new(printer: Printer, json: bool) -> Self {
        Self {
            printer,
            json,
            images: Arc::default(),
        }
    }

    /// The printer behind this.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Shows one event.
    pub async fn report(&self, event: Event) {
        let text = self.text(&event);
        if self.json {
            self.printer
                .line(Stream::Stdout, json_of(&event).to_string())
                .await;
        }
        match text {
            Some((Stream::Stderr, text)) => self.printer.line(Stream::Stderr, text).await,
            Some((Stream::Stdout, text)) if !self.json => {
                self.printer.line(Stream::Stdout, text).await;
            }
            _ => {}
        }
    }

    /// Shows a failure that is no script's.
    pub async fn problem(&self, message: impl fmt::Display) {
        self.report(Event::Problem(message.to_string())).await;
    }

    /// The text for people and its stream; `None` where people are told nothing.
    fn text(&self, event: &Event) -> Option<(Stream, String)> {
        let shown = match event {
            Event::Started { .. } | Event::ToolCall { .. } | Event::ToolResult { .. } => {
                return None;
            }
            Event::Output {
                item: ContentItem::Text(text),
                ..
            } => (Stream::Stdout, text.clone()),
            Event::Output {
                item: ContentItem::Image { image_url, detail },
                ..
            } => {
                let number = self.images.fetch_add(1, Ordering::Relaxed) + 1;
                (Stream::Stdout, image_name(number, image_url, *detail))
            }
            Event::Output {
                item: ContentItem::Audio { audio_url },
                ..
            } => {
                let (media, size) = data_uri(audio_url);
                let name = format!("[audio: {media}, {}]", readable_size(size as u64));
                (Stream::Stdout, name)
            }
            // JSON events carry the text; people then read the JSON.
            Event::Notification { .. } if self.json => return None,
            Event::Notification { text, .. } => (Stream::Stderr, format!("[notify] {text}")),
            Event::StateLost(lost) => (
                Stream::Stderr,
                format!(
                    "the session's stored values and running cells were lost with its host: {}",
                    lost.cause
                ),
            ),
            Event::Ended { script, end } => match end {
                CellEnd::Completed => return None,
                CellEnd::Failed { error_text } => {
                    (Stream::Stderr, format!("{script} failed: {error_text}"))
                }
                CellEnd::Terminated(why) => (Stream::Stderr, format!("{script} was {why}")),
                CellEnd::Error(error) => (Stream::Stderr, format!("{script}: {error}")),
            },
            Event::Notice(text) => (Stream::Stderr, text.clone()),
            Event::Problem(text) => (Stream::Stderr, format!("code_mode: {text}")),
        };
        Some(shown)
    }
}

fn json_of(event: &Event) -> Value {
    match event {
        Event::Started { script, cell } => {
            json!({"event": "started", "script": script, "cell": cell.as_str()})
        }
        Event::Output {
            cell,
            item: ContentItem::Text(text),
        } => {
            json!({"event": "text", "cell": cell.as_str(), "text": text})
        }
        Event::Output {
            cell,
            item: ContentItem::Image { image_url, detail },
        } => json!({
            "event": "image", "cell": cell.as_str(), "image_url": image_url,
            "detail": detail.map(detail_name),
        }),
        Event::Output {
            cell,
            item: ContentItem::Audio { audio_url },
        } => json!({"event": "audio", "cell": cell.as_str(), "audio_url": audio_url}),
        Event::ToolCall {
            cell,
            call,
            tool,
            input,
        } => json!({
            "event": "tool_call", "cell": cell.as_str(), "call": call,
            "tool": {"name": tool.name, "namespace": tool.namespace}, "input": input,
        }),
        Event::ToolResult {
            cell,
            call,
            result,
            took,
        } => {
            let mut object = json!({
                "event": "tool_result", "cell": cell.as_str(), "call": call,
                "duration_ms": milliseconds(*took),
            });
            match result {
                Ok(value) => object["result"] = json!(value),
                Err(message) => object["error"] = json!(message),
            }
            object
        }
        Event::Notification { cell, text } => {
            json!({"event": "notification", "cell": cell.as_str(), "text": text})
        }
        Event::StateLost(lost) => json!({
            "event": "state_lost", "lost_generation": lost.lost_generation, "cause": lost.cause,
        }),
        Event::Ended { script, end } => ended_json(script, end),
        Event::Notice(text) => json!({"event": "notice", "message": text}),
        Event::Problem(text) => json!({"event": "problem", "message": text}),
    }
}

fn ended_json(script: &str, end: &CellEnd) -> Value {
    let (status, detail) = match end {
        CellEnd::Completed => ("completed", None),
        CellEnd::Failed { error_text } => ("failed", Some(error_text.clone())),
        CellEnd::Terminated(Termination::Timeout(_)) => ("timed_out", Some(end_words(end))),
        CellEnd::Terminated(_) => ("terminated", Some(end_words(end))),
        CellEnd::Error(_) => ("error", Some(end_words(end))),
    };
    let mut object = json!({"event": "ended", "script": script, "status": status});
    if let Some(detail) = detail {
        object["error"] = json!(detail);
    }
    if let CellEnd::Error(error) = end {
        object["side_effects"] = json!(error.side_effects().to_string());
    }
    object
}

fn end_words(end: &CellEnd) -> String {
    match end {
        CellEnd::Completed => "completed".into(),
        CellEnd::Failed { error_text } => error_text.clone(),
        CellEnd::Terminated(why) => why.to_string(),
        CellEnd::Error(error) => error.to_string(),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn detail_name(detail: ImageDetail) -> &'static str {
    match detail {
        ImageDetail::Auto => "auto",
        ImageDetail::Low => "low",
        ImageDetail::High => "high",
        ImageDetail::Original => "original",
    }
}

/// Names an image for people: `[image 1: image/png, 12 KiB, detail high]`.
fn image_name(number: u64, url: &str, detail: Option<ImageDetail>) -> String {
    let (media, size) = data_uri(url);
    let detail = match detail {
        None => Cow::Borrowed(""),
        Some(detail) => Cow::Owned(format!(", detail {}", detail_name(detail))),
    };
    format!(
        "[image {number}: {media}, {}{detail}]",
        readable_size(size as u64)
    )
}

/// The media type of a `data:` URI, and how many bytes it holds.
fn data_uri(url: &str) -> (&str, usize) {
    let data = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(','));
    match data {
        None => ("unknown type", url.len()),
        Some((head, body)) => {
            let media = head.split(';').next().filter(|media| !media.is_empty());
            let padding = body.bytes().rev().take_while(|byte| *byte == b'=').count();
            let base64 = head.ends_with(";base64");
            let size = if base64 {
                (body.len() - padding) * 3 / 4
            } else {
                body.len()
            };
            (media.unwrap_or("text/plain"), size)
        }
    }
}

/// A size in bytes for people.
pub fn readable_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
