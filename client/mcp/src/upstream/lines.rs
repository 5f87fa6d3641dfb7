// SPDX-License-Identifier: Apache-2.0
//! One JSON message a line, over the standard streams of a server, within bounds.
//!
//! The SDK has a transport like this. It drops a line that is too long, so that whoever waits for the
//! answer in it waits until its deadline, and it reads for ever from a server that sends nonsense. Here
//! the call whose answer is too long fails at once with its size, and a server that floods is cut off.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ErrorCode, ErrorData, JsonRpcError, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Bytes of one message of a server (16 MiB, as much as the SDK takes over HTTP).
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Messages of a server in [`FLOOD_WINDOW`] that nobody has asked for: notifications, requests, and lines
/// that are no messages. One that sends more is cut off.
pub const MAX_UNASKED_MESSAGES: usize = 10_000;

/// See [`MAX_UNASKED_MESSAGES`] (10 s).
pub const FLOOD_WINDOW: Duration = Duration::from_secs(10);

/// Messages to a server that are not yet written; senders wait for room.
const MAX_QUEUED_MESSAGES: usize = 64;

/// Why a connection over lines ended, for people.
#[derive(Clone, Default)]
pub struct Ending(Arc<Mutex<Option<String>>>);

impl Ending {
    fn set(&self, why: impl Into<String>) {
        let mut ending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ending.get_or_insert_with(|| why.into());
    }

    /// Why, if the connection has ended by what the server did.
    pub fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The transport; see the module.
pub struct LineTransport<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// The line that is too long and being skipped.
    skipped: Option<Skipped>,
    writer: Option<mpsc::Sender<Outgoing>>,
    unasked: VecDeque<Instant>,
    ending: Ending,
}

struct Outgoing {
    line: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
}

/// What is kept of a line that is too long: its length and the id of the answer in it.
#[derive(Default)]
struct Skipped {
    bytes: usize,
    scanner: IdScanner,
}

impl<R: AsyncRead + Unpin + Send> LineTransport<R> {
    /// A transport over a server's output and input. It must be made within a Tokio runtime.
    pub fn new<W>(reader: R, writer: W, ending: Ending) -> Self
    where
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_MESSAGES);
        tokio::spawn(write_all(writer, receiver));
        Self {
            reader: BufReader::new(reader),
            line: Vec::new(),
            skipped: None,
            writer: Some(sender),
            unasked: VecDeque::new(),
            ending,
        }
    }

    /// The next line that can be a message, or the stand-in for one that is too long. What was read
    /// is kept in `self` before the next await, so that the future may be dropped.
    async fn read(&mut self) -> Option<Read> {
        loop {
            let (used, ended) = {
                let available = match self.reader.fill_buf().await {
                    Ok([]) => {
                        self.ending.set("the server closed its output");
                        return None;
                    }
                    Ok(available) => available,
                    Err(error) => {
                        self.ending
                            .set(format!("the server's output failed: {error}"));
                        return None;
                    }
                };
                let end = memchr::memchr(b'\n', available);
                let part = available
                    .get(..end.unwrap_or(available.len()))
                    .unwrap_or_default();
                if self.skipped.is_none() && self.line.len() + part.len() > MAX_MESSAGE_BYTES {
                    let mut skipped = Skipped::default();
                    skipped.add(&std::mem::take(&mut self.line));
                    self.skipped = Some(skipped);
                }
                match &mut self.skipped {
                    Some(skipped) => skipped.add(part),
                    None => self.line.extend_from_slice(part),
                }
                (part.len() + usize::from(end.is_some()), end.is_some())
            };
            self.reader.consume(used);
            if ended {
                return Some(match self.skipped.take() {
                    Some(skipped) => Read::TooLong(skipped),
                    None => Read::Line(std::mem::take(&mut self.line)),
                });
            }
        }
    }

    /// Counts a message that nobody has asked for; false when there were too many.
    fn count_unasked(&mut self) -> bool {
        let now = Instant::now();
        while self
            .unasked
            .front()
            .is_some_and(|first| now.duration_since(*first) > FLOOD_WINDOW)
        {
            self.unasked.pop_front();
        }
        self.unasked.push_back(now);
        self.unasked.len() <= MAX_UNASKED_MESSAGES
    }
}

enum Read {
    Line(Vec<u8>),
    TooLong(Skipped),
}

impl Skipped {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.scanner.add(bytes);
    }
}

async fn write_all<W: AsyncWrite + Unpin>(mut writer: W, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = queue.recv().await {
        let written = async {
            writer.write_all(&outgoing.line).await?;
            writer.flush().await
        };
        // Whoever sent it may have gone.
        let _ = outgoing.written.send(written.await);
    }
    // Dropping the writer closes the server's input, which tells it to end.
}

impl<R: AsyncRead + Unpin + Send> Transport<RoleClient> for LineTransport<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let writer = self.writer.clone();
        async move {
            let closed = || io::Error::new(io::ErrorKind::NotConnected, "the server was closed");
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let (written, result) = oneshot::channel();
            writer
                .ok_or_else(closed)?
                .send(Outgoing { line, written })
                .await
                .map_err(|_| closed())?;
            result.await.map_err(|_| closed())?
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message = match self.read().await? {
                Read::TooLong(skipped) => match skipped.scanner.id() {
                    Some(id) => return Some(too_long(id, skipped.bytes)),
                    None => None,
                },
                Read::Line(line) if line.trim_ascii().is_empty() => continue,
                Read::Line(line) => serde_json::from_slice(&line).ok(),
            };
            match message {
                Some(answer @ (JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_))) => {
                    return Some(answer);
                }
                unasked => {
                    if !self.count_unasked() {
                        self.ending.set(format!(
                            "the server sent more than {MAX_UNASKED_MESSAGES} messages that nobody \
                             asked for within {} s and was cut off",
                            FLOOD_WINDOW.as_secs()
                        ));
                        return None;
                    }
                    match unasked {
                        Some(message) => return Some(message),
                        None => tracing::debug!("an MCP server sent a line that is no message"),
                    }
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.writer = None;
        Ok(())
    }
}

fn too_long(id: RequestId, bytes: usize) -> RxJsonRpcMessage<RoleClient> {
    let message = format!(
        "the server's answer of {bytes} bytes is larger than the {MAX_MESSAGE_BYTES} that are taken"
    );
    let error = ErrorData::new(ErrorCode::INTERNAL_ERROR, message, None);
    JsonRpcMessage::Error(JsonRpcError::new(Some(id), error))
}

/// Bytes of an id or a key that are kept; longer ones are none of ours.
const MAX_ID_BYTES: usize = 64;

/// Finds the value of the member `id` of the outermost object in JSON that is not kept.
#[derive(Default)]
struct IdScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The text of the string or number at depth 1 that is being read.
    token: Vec<u8>,
    /// Whether the token at depth 1 stands behind the colon of the member `id`.
    awaits_value: bool,
    last_key: Vec<u8>,
    id: Option<Vec<u8>>,
}

impl IdScanner {
    fn add(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            // A long text is passed over at once: only its end and what is escaped in it count.
            if self.in_string && !self.escaped && self.depth > 1 {
                let next = memchr::memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                if next > 0 {
                    bytes = bytes.get(next..).unwrap_or_default();
                    continue;
                }
            }
            self.step(byte);
            bytes = rest;
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            if self.depth == 1 && self.token.len() <= MAX_ID_BYTES {
                self.token.push(byte);
            }
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.token.clear();
                    self.token.push(byte);
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' | b',' => {
                if self.depth == 1 {
                    self.end_value();
                }
                if byte != b',' {
                    self.depth = self.depth.saturating_sub(1);
                }
            }
            b':' if self.depth == 1 => {
                self.last_key = std::mem::take(&mut self.token);
                self.awaits_value = self.last_key == b"\"id\"";
            }
            _ if self.depth == 1
                && !byte.is_ascii_whitespace()
                && self.token.len() <= MAX_ID_BYTES =>
            {
                self.token.push(byte);
            }
            _ => {}
        }
    }

    fn end_value(&mut self) {
        let token = std::mem::take(&mut self.token);
        if std::mem::take(&mut self.awaits_value) && token.len() <= MAX_ID_BYTES {
            self.id = Some(token);
        }
    }

    fn id(&self) -> Option<RequestId> {
        serde_json::from_slice(self.id.as_deref()?).ok()
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
