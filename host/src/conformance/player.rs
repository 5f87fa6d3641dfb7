// SPDX-License-Identifier: Apache-2.0
//! Plays a transcript against a host.

use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::pattern::{Bindings, short};
use super::{Step, Transcript};

/// How long the host may take over one step, and over hearing that it is to end.
const STEP_DEADLINE: Duration = Duration::from_secs(30);

/// The contract's cap of a frame's payload, bytes.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// What the public host adds to plain V1 (contract, section *Extensions*).
const TIMINGS: [&str; 2] = ["code_mode_host_duration_ns", "result_buffered_for_ns"];

/// How a host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Without an error.
    Clean,
    /// With an error, which is said here.
    Failed(String),
}

/// Whether the timings that the contract tolerates may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    /// Every byte is plain V1.
    Strict,
    /// Timings are overlooked.
    Timings,
}

/// A host that a transcript is played against.
#[derive(Debug)]
pub struct Host<R, W, T, E> {
    /// Where its frames come from.
    pub reader: R,
    /// Where it takes frames from.
    pub writer: W,
    /// Tells it to end, as SIGTERM does.
    pub terminate: T,
    /// Resolves when it has ended.
    pub end: E,
}

/// Where a host left a transcript.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Mismatch {
    /// The line of the step.
    pub line: usize,
    /// What was expected and what came.
    pub message: String,
}

/// Plays a transcript.
///
/// A transcript without an `end` step goes on to close the stream to the host, reads what still
/// comes, and expects a clean end.
///
/// # Errors
/// For the first step that goes otherwise than the transcript says.
pub async fn play<R, W, T, E>(
    transcript: &Transcript,
    host: Host<R, W, T, E>,
    tolerance: Tolerance,
) -> Result<(), Mismatch>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    T: Fn() -> Result<(), String>,
    E: Future<Output = End>,
{
    let Host {
        reader,
        writer,
        terminate,
        end,
    } = host;
    let mut player = Player {
        reader,
        writer: Some(writer),
        tolerance,
        bindings: Bindings::default(),
        ahead: None,
    };
    let mut last_line = 0;
    for (line, step) in &transcript.steps {
        last_line = *line;
        let at = |message| Mismatch {
            line: *line,
            message,
        };
        match step {
            Step::Send(template) => player.send(template).await.map_err(at)?,
            Step::SendBytes(bytes) => player.send_bytes(bytes).await.map_err(at)?,
            Step::Expect(frames) => player.expect(frames).await.map_err(at)?,
            Step::Overlook(frame) => player.overlook(frame).await.map_err(at)?,
            Step::Signal => terminate().map_err(at)?,
            Step::UntilRefused(part) => {
                let refused = within("the host's refusal", player.until_refused(part));
                refused.await.flatten().map_err(at)?;
            }
            Step::Close => player.close().await.map_err(at)?,
            Step::End { clean } => {
                player.expect_end().await.map_err(at)?;
                return expect_status(*clean, end).await.map_err(at);
            }
        }
    }
    let at = |message| Mismatch {
        line: last_line,
        message,
    };
    player.close().await.map_err(at)?;
    while player.next(tolerance).await.map_err(at)?.is_some() {}
    expect_status(true, end).await.map_err(at)
}

async fn expect_status(clean: bool, end: impl Future<Output = End>) -> Result<(), String> {
    let end = within("the host's end", end).await?;
    match end {
        End::Clean if !clean => Err("the host ended cleanly, expected a failure".into()),
        End::Failed(reason) if clean => {
            Err(format!("the host failed, expected a clean end: {reason}"))
        }
        _ => Ok(()),
    }
}

struct Player<R, W> {
    reader: R,
    writer: Option<W>,
    tolerance: Tolerance,
    bindings: Bindings,
    /// A frame that was read and belongs to the next step, as it came.
    ahead: Option<Value>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Player<R, W> {
    async fn send(&mut self, template: &Value) -> Result<(), String> {
        let payload = self.bindings.fill(template)?.to_string();
        let length = u32::try_from(payload.len()).map_err(|error| error.to_string())?;
        self.send_bytes(&[&length.to_le_bytes(), payload.as_bytes()].concat())
            .await
    }

    async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), String> {
        let writer = self
            .writer
            .as_mut()
            .ok_or("the stream to the host is closed")?;
        let send = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        within("writing to the host", send)
            .await?
            .map_err(|error| format!("the host takes nothing: {error}"))
    }

    async fn close(&mut self) -> Result<(), String> {
        if let Some(mut writer) = self.writer.take()
            && let Err(error) = within("closing", writer.shutdown()).await?
        {
            // A host that has closed its own side first is seen by what follows.
            tracing::debug!(%error, "the stream to the host cannot be closed");
        }
        Ok(())
    }

    async fn expect(&mut self, expected: &[Value]) -> Result<(), String> {
        let mut open: Vec<&Value> = expected.iter().collect();
        // A rule about timings is held to them.
        let tolerance = if expected.iter().any(mentions_timings) {
            Tolerance::Strict
        } else {
            self.tolerance
        };
        while !open.is_empty() {
            let actual = self
                .next(tolerance)
                .await?
                .ok_or_else(|| format!("the host closed, expected {}", short(open[0])))?;
            let mut differences = Vec::new();
            let found = open.iter().position(|expected| {
                self.bindings
                    .matches(expected, &actual)
                    .map_err(|difference| differences.push(difference))
                    .is_ok()
            });
            match found {
                Some(index) => open.remove(index),
                None => {
                    return Err(format!(
                        "{}; the host sent {}",
                        differences.join(", or "),
                        short(&actual)
                    ));
                }
            };
        }
        Ok(())
    }

    /// Reads on as long as frames are like this one.
    async fn overlook(&mut self, frame: &Value) -> Result<(), String> {
        while let Some(actual) = self.next_untouched().await? {
            if self.bindings.matches(frame, &actual).is_err() {
                self.ahead = Some(actual);
                break;
            }
        }
        Ok(())
    }

    /// Opens a session after the other, since the host hears of a signal when it does, and shuts each down, so
    /// that it is not their number which is refused.
    async fn until_refused(&mut self, part: &str) -> Result<(), String> {
        for number in 1_i64.. {
            let (id, session_id) = (-1_000 - 2 * number, format!("refused-{number}"));
            let open = json!({"method": "session/open", "sessionId": session_id});
            let answer = self.ask(id, &open).await?;
            if answer["status"] == "error" {
                let message = answer["message"].as_str().unwrap_or_default();
                return if message.contains(part) {
                    Ok(())
                } else {
                    Err(format!(
                        "the host refused with {message:?}, expected {part:?}"
                    ))
                };
            }
            let shutdown = json!({"method": "session/shutdown", "sessionId": session_id});
            self.ask(id - 1, &shutdown).await?;
        }
        Err("the host never refuses a session".to_owned())
    }

    /// Asks for something that nothing else comes between, and gives the result.
    async fn ask(&mut self, id: i64, request: &Value) -> Result<Value, String> {
        let result = "result of a question";
        self.send(&json!({"type": "operation/request", "id": id, "request": request}))
            .await?;
        let expected = json!({
            "type": "operation/response", "id": id, "result": format!("$bind:{result}"),
        });
        self.expect(&[expected]).await?;
        self.bindings.fill(&json!(format!("${result}")))
    }

    async fn expect_end(&mut self) -> Result<(), String> {
        match self.next(self.tolerance).await? {
            None => Ok(()),
            Some(frame) => Err(format!(
                "the host sent {}, expected it to close",
                short(&frame)
            )),
        }
    }

    /// The host's next frame; `None` at the end.
    async fn next(&mut self, tolerance: Tolerance) -> Result<Option<Value>, String> {
        let mut frame = self.next_untouched().await?;
        if let (Tolerance::Timings, Some(frame)) = (tolerance, &mut frame) {
            remove_timings(frame);
        }
        Ok(frame)
    }

    /// The same as it came.
    async fn next_untouched(&mut self) -> Result<Option<Value>, String> {
        if let Some(frame) = self.ahead.take() {
            return Ok(Some(frame));
        }
        within("the host's next frame", read_frame(&mut self.reader)).await?
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(STEP_DEADLINE, future)
        .await
        .map_err(|_| format!("{what} did not come within {} s", STEP_DEADLINE.as_secs()))
}

/// Reads a frame without this project's own decoder, which is not to judge itself.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Value>, String> {
    let broken = |error: std::io::Error| format!("the host's output broke off: {error}");
    let mut length = [0; 4];
    if reader.read(&mut length[..1]).await.map_err(broken)? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut length[1..]).await.map_err(broken)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PAYLOAD_BYTES {
        return Err(format!("the host sent a frame of {length} bytes"));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await.map_err(broken)?;
    serde_json::from_slice(&payload)
        .map(Some)
        .map_err(|error| format!("the host sent what is not JSON: {error}"))
}

/// Whether a frame that is expected has timings in it.
fn mentions_timings(expected: &Value) -> bool {
    let text = expected.to_string();
    TIMINGS.iter().any(|name| text.contains(name))
}

/// Removes the timings where the contract tolerates them and nowhere else.
fn remove_timings(frame: &mut Value) {
    let value = match frame.pointer_mut("/result/value") {
        Some(value) => value,
        None => return,
    };
    let places = ["", "/outcome/LiveCell", "/outcome/MissingCell"];
    for place in places {
        for variant in ["Result", "Yielded", "Terminated"] {
            let response = value.pointer_mut(&format!("{place}/{variant}"));
            if let Some(Value::Object(members)) = response {
                for name in TIMINGS {
                    if members.get(name).is_some_and(Value::is_u64) {
                        members.remove(name);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "player_tests.rs"]
mod tests;
