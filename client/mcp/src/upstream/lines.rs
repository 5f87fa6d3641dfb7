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
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::lines::{Line, Lines};

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
    lines: Lines<R>,
    writer: Option<mpsc::Sender<Outgoing>>,
    unasked: VecDeque<Instant>,
    ending: Ending,
}

struct Outgoing {
    line: Vec<u8>,
    written: oneshot::Sender<io::Result<()>>,
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
            lines: Lines::new(reader, MAX_MESSAGE_BYTES),
            writer: Some(sender),
            unasked: VecDeque::new(),
            ending,
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
            let line = match self.lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.ending.set("the server closed its output");
                    return None;
                }
                Err(error) => {
                    let why = format!("the server's output failed: {error}");
                    self.ending.set(why);
                    return None;
                }
            };
            let message = match line {
                Line::TooLong {
                    bytes,
                    id: Some(id),
                } => return Some(too_long(id, bytes)),
                Line::TooLong { id: None, .. } => None,
                Line::Whole(line) if line.trim_ascii().is_empty() => continue,
                Line::Whole(line) => serde_json::from_slice(&line).ok(),
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

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
