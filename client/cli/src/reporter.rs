// SPDX-License-Identifier: Apache-2.0
//! What happens while scripts run, and how it is shown: as text for people or as JSON lines.
//!
//! `docs/cli.md`, section *JSON events*, is the contract of the JSON form.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Style};
use code_mode_embed::{
    CellEvent, CellId, ContentItem, ExecError, ImageDetail, SessionError, StateLost, ToolName,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::images::{self, Picture};
use crate::output::{Printer, Stream};
use crate::units::readable_size;

/// Characters of an input or a message that are shown of a tool call.
const SHOWN_CHARACTERS: usize = 160;

/// What has gone wrong.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();

/// What a line is about.
pub const NOTE: Style = AnsiColor::Cyan.on_default();

/// Something that happened.
#[derive(Debug)]
pub enum Report {
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
        item: Arc<ContentItem>,
    },
    /// The script called a tool.
    ToolCall {
        /// Its cell.
        cell: CellId,
        /// The call's id.
        call: Arc<str>,
        /// The tool.
        tool: ToolName,
        /// The input.
        input: Arc<RawValue>,
    },
    /// A tool has answered. A call that its cell did not wait for has none of these.
    ToolResult {
        /// The caller's cell.
        cell: CellId,
        /// The call's id.
        call: Arc<str>,
        /// The tool's name.
        tool: String,
        /// The result, or the error's message.
        result: Result<Arc<RawValue>, String>,
        /// How long the call took, waiting for a free place included.
        took: Duration,
    },
    /// The script sent a notification.
    Notification {
        /// Its cell.
        cell: CellId,
        /// The text.
        text: Arc<str>,
    },
    /// The session's earlier state was lost with a host.
    StateLost {
        /// What, and why.
        lost: StateLost,
        /// Whether the stored values are back.
        restored: bool,
    },
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

impl CellEnd {
    /// The end that a cell has told of.
    pub fn of(result: Result<(), ExecError>) -> Self {
        result.map_or_else(Self::of_error, |()| Self::Completed)
    }

    /// The end of a cell that gave no result, or was not run.
    pub fn of_error(error: ExecError) -> Self {
        match error {
            ExecError::Script(error) => Self::Failed {
                error_text: error.text,
            },
            ExecError::HostLost(lost) => Self::Error(lost.source),
            ExecError::Session(error) => Self::Error(error),
            ExecError::TimedOut { after, .. } => Self::Terminated(Termination::Timeout(after)),
            _ => Self::Terminated(Termination::Elsewhere),
        }
    }
}

/// Why a cell was terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// Ctrl-C, or SIGINT from elsewhere.
    Interrupt,
    /// SIGTERM.
    Sigterm,
    /// SIGHUP: the terminal has gone.
    Sighup,
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
            Self::Sighup => f.write_str("terminated: SIGHUP received"),
            Self::Killed => f.write_str("killed by a second signal; its end was not waited for"),
            Self::Timeout(after) => write!(f, "terminated: timed out after {after:?}"),
            Self::OutputClosed => {
                f.write_str("terminated: standard output can no longer be written")
            }
            Self::Elsewhere => f.write_str("terminated"),
        }
    }
}

impl Report {
    /// What a cell tells besides its output, its losses and its end; `None` where nobody is told.
    pub fn of_cell(cell: &CellId, event: CellEvent) -> Option<Self> {
        let cell = cell.clone();
        Some(match event {
            CellEvent::Notification(text) => Self::Notification { cell, text },
            CellEvent::ToolCall {
                call_id,
                tool,
                input,
            } => Self::ToolCall {
                cell,
                call: call_id,
                tool,
                input,
            },
            CellEvent::ToolResult {
                call_id,
                tool,
                result,
                took,
            } => Self::ToolResult {
                cell,
                call: call_id,
                tool: tool.name,
                result: result.map_err(|error| error.message),
                took,
            },
            _ => return None,
        })
    }
}

/// Which streams take colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Colors {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// How much is shown, and in which form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Loudness {
    /// Results and errors alone.
    Quiet,
    /// Notices and notifications too.
    #[default]
    Usual,
    /// Tool calls too.
    Verbose,
}

/// How events are shown.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// As JSON lines on standard output and, for people, errors on standard error all the same.
    pub json: bool,
    /// How much people are told.
    pub loudness: Loudness,
    /// Where colours are used.
    pub colors: Colors,
    /// Where images are saved.
    pub images: Option<PathBuf>,
}

impl View {
    /// JSON lines, with everything else as usual.
    #[cfg(test)]
    pub fn json() -> Self {
        Self {
            json: true,
            ..Self::default()
        }
    }
}

/// Shows events; cheap to clone.
#[derive(Clone)]
pub struct Reporter {
    printer: Printer,
    view: Arc<View>,
    images: Arc<AtomicU64>,
    lost_images: Arc<AtomicBool>,
}

impl Reporter {
    /// Shows events through `printer`.
    pub fn new(printer: Printer, view: View) -> Self {
        Self {
            printer,
            view: Arc::new(view),
            images: Arc::default(),
            lost_images: Arc::default(),
        }
    }

    /// The same, with images saved in this folder.
    pub fn saving_images(&self, folder: PathBuf) -> Self {
        let view = View {
            images: Some(folder),
            ..self.view.as_ref().clone()
        };
        Self {
            view: Arc::new(view),
            ..self.clone()
        }
    }

    /// The printer behind this.
    pub fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Where colours are used.
    pub fn colors(&self) -> Colors {
        self.view.colors
    }

    /// Whether an image could not be saved.
    pub fn has_lost_images(&self) -> bool {
        self.lost_images.load(Ordering::Relaxed)
    }

    /// Shows one event.
    pub async fn report(&self, event: Report) {
        let image = match &event {
            Report::Output { item, .. } => match &**item {
                ContentItem::Image { image_url, detail } => {
                    Some(self.take_image(image_url, *detail).await)
                }
                _ => None,
            },
            _ => None,
        };
        if self.view.json {
            let mut object = json_of(&event);
            if let Some(Image {
                file: Some(file), ..
            }) = &image
            {
                object["file"] = json!(file.display().to_string());
            }
            self.printer.line(Stream::Stdout, object.to_string()).await;
        } else if let Some(Image { name, .. }) = &image {
            self.printer.line(Stream::Stdout, name.clone()).await;
        }
        match self.text(&event) {
            Some((Stream::Stderr, text)) => self.printer.line(Stream::Stderr, text).await,
            Some((Stream::Stdout, text)) if !self.view.json => {
                self.printer.line(Stream::Stdout, text).await;
            }
            _ => {}
        }
    }

    /// Shows a failure that is no script's.
    pub async fn problem(&self, message: impl fmt::Display) {
        self.report(Report::Problem(message.to_string())).await;
    }

    /// Numbers and names an image, and saves it if it is to be saved.
    async fn take_image(&self, url: &str, detail: Option<ImageDetail>) -> Image {
        let number = self.images.fetch_add(1, Ordering::Relaxed) + 1;
        let picture = Picture::new(url);
        let decoded = picture.decode();
        let size = match &decoded {
            Ok(bytes) => bytes.len(),
            Err(length) => *length,
        };
        let mut name = format!(
            "[image {number}: {}, {}",
            picture.media_type(),
            readable_size(size as u64)
        );
        if let Some(detail) = detail {
            name.push_str(&format!(", detail {}", detail.name()));
        }
        let mut file = None;
        if let Some(folder) = &self.view.images {
            let saved = match &decoded {
                Ok(bytes) => images::save(&picture, bytes, folder, number),
                Err(_) => Err(std::io::Error::other(
                    "it is no data: URI that can be decoded",
                )),
            };
            match saved {
                Ok(path) => {
                    name.push_str(&format!(", saved as {}", path.display()));
                    file = Some(path);
                }
                Err(error) => {
                    self.lost_images.store(true, Ordering::Relaxed);
                    let problem = format!(
                        "failed to save image {number} in {}: {error}",
                        folder.display()
                    );
                    if self.view.json {
                        let line = problem_json(&problem).to_string();
                        self.printer.line(Stream::Stdout, line).await;
                    }
                    let text = format!("{} {problem}", self.label());
                    self.printer.line(Stream::Stderr, text).await;
                }
            }
        }
        name.push(']');
        Image { name, file }
    }

    /// The program's name in front of its own errors.
    fn label(&self) -> String {
        self.styled("code_mode:", ERROR)
    }

    fn styled(&self, text: &str, style: Style) -> String {
        if self.view.colors.stderr {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// The text for people and its stream; `None` where people are told nothing.
    fn text(&self, event: &Report) -> Option<(Stream, String)> {
        let quiet = self.view.loudness == Loudness::Quiet;
        let verbose = self.view.loudness == Loudness::Verbose;
        let shown = match event {
            Report::ToolCall {
                call, tool, input, ..
            } if verbose => {
                let name = self.styled(&format!("[{call}]"), NOTE);
                (
                    Stream::Stderr,
                    format!("{name} {} {}", tool.name, shortened(input.get())),
                )
            }
            Report::ToolResult {
                call,
                tool,
                result,
                took,
                ..
            } if verbose => {
                let name = self.styled(&format!("[{call}]"), NOTE);
                let how = match result {
                    Ok(_) => "done".to_owned(),
                    Err(message) => format!("failed: {}", shortened(message)),
                };
                (
                    Stream::Stderr,
                    format!("{name} {tool} {how} ({} ms)", milliseconds(*took)),
                )
            }
            Report::Started { .. } | Report::ToolCall { .. } | Report::ToolResult { .. } => {
                return None;
            }
            Report::Output { item, .. } => match &**item {
                ContentItem::Text(text) => (Stream::Stdout, text.clone()),
                ContentItem::Audio { audio_url } => (Stream::Stdout, audio_name(audio_url)),
                ContentItem::Image { .. } => return None,
            },
            // JSON events carry the text; people then read the JSON.
            Report::Notification { .. } if self.view.json || quiet => return None,
            Report::Notification { text, .. } => (
                Stream::Stderr,
                format!("{} {text}", self.styled("[notify]", NOTE)),
            ),
            Report::StateLost { lost, restored } => {
                (Stream::Stderr, state_lost_text(lost, *restored))
            }
            Report::Ended { script, end } => {
                let script = self.styled(script, ERROR);
                match end {
                    CellEnd::Completed => return None,
                    CellEnd::Failed { error_text } => {
                        (Stream::Stderr, format!("{script} failed: {error_text}"))
                    }
                    CellEnd::Terminated(why) => (Stream::Stderr, format!("{script} was {why}")),
                    CellEnd::Error(error) => (Stream::Stderr, format!("{script}: {error}")),
                }
            }
            Report::Notice(_) if quiet => return None,
            Report::Notice(text) => (Stream::Stderr, text.clone()),
            Report::Problem(text) => (Stream::Stderr, format!("{} {text}", self.label())),
        };
        Some(shown)
    }
}

/// An image for people, and where it was saved.
struct Image {
    name: String,
    file: Option<PathBuf>,
}

/// The beginning of a text, on one line.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < text.trim_end().len() {
        shown.push('…');
    }
    shown
}

fn json_of(event: &Report) -> Value {
    match event {
        Report::Started { script, cell } => {
            json!({"event": "started", "script": script, "cell": cell.as_str()})
        }
        Report::Output { cell, item } => match &**item {
            ContentItem::Text(text) => {
                json!({"event": "text", "cell": cell.as_str(), "text": text})
            }
            ContentItem::Image { image_url, detail } => json!({
                "event": "image", "cell": cell.as_str(), "image_url": image_url,
                "detail": detail.map(ImageDetail::name),
            }),
            ContentItem::Audio { audio_url } => {
                json!({"event": "audio", "cell": cell.as_str(), "audio_url": audio_url})
            }
        },
        Report::ToolCall {
            cell,
            call,
            tool,
            input,
        } => json!({
            "event": "tool_call", "cell": cell.as_str(), "call": call,
            "tool": {"name": tool.name, "namespace": tool.namespace}, "input": &**input,
        }),
        Report::ToolResult {
            cell,
            call,
            result,
            took,
            ..
        } => {
            let mut object = json!({
                "event": "tool_result", "cell": cell.as_str(), "call": call,
                "duration_ms": milliseconds(*took),
            });
            match result {
                Ok(value) => object["result"] = json!(&**value),
                Err(message) => object["error"] = json!(message),
            }
            object
        }
        Report::Notification { cell, text } => {
            json!({"event": "notification", "cell": cell.as_str(), "text": text})
        }
        Report::StateLost { lost, restored } => json!({
            "event": "state_lost", "lost_generation": lost.lost_generation, "cause": lost.cause,
            "restored": restored,
        }),
        Report::Ended { script, end } => ended_json(script, end),
        Report::Notice(text) => json!({"event": "notice", "message": text}),
        Report::Problem(text) => problem_json(text),
    }
}

/// A failure that is no script's, as one line of `--json`.
pub fn problem_json(message: &str) -> Value {
    json!({"event": "problem", "message": message})
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

/// Names sound for people: `[audio: audio/wav, 12 KiB]`.
fn audio_name(url: &str) -> String {
    let sound = Picture::new(url);
    let size = sound
        .decode()
        .map_or_else(|length| length, |bytes| bytes.len());
    format!(
        "[audio: {}, {}]",
        sound.media_type(),
        readable_size(size as u64)
    )
}

/// What people read when a session has lost its host.
fn state_lost_text(lost: &StateLost, restored: bool) -> String {
    let cause = &lost.cause;
    if restored {
        return format!(
            "the session's running cells were lost with its host; its stored values were put back: {cause}"
        );
    }
    format!("the session's stored values and running cells were lost with its host: {cause}")
}

#[cfg(test)]
#[path = "reporter_tests.rs"]
mod tests;
