// SPDX-License-Identifier: Apache-2.0
//! The client's side of one scenario, over any streams.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::Error;
use crate::scenario::Cell;

/// The most that a frame of the host may hold, bytes: the contract's cap.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// How long a cell may run before it yields, ms: longer than anything is waited for here.
const YIELD_TIME_MS: u64 = 600_000;

const SESSION: &str = "s1";

/// Shakes hands, opens a session, runs the cells one after the other, answers each tool call with
/// its input, shuts down, and waits for the host to close. Before each message it waits for `rest`.
///
/// # Errors
/// When the streams fail or the host says anything but what the scenario expects.
pub(crate) async fn converse(
    cells: &[Cell],
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    rest: impl AsyncFn() -> io::Result<()>,
) -> Result<(), Error> {
    let mut host = Host {
        reader,
        writer,
        rest,
    };
    host.send(&json!({
        "type": "connection/hello",
        "supportedVersions": [1],
        "requiredCapabilities": [],
        "optionalCapabilities": [],
    }))
    .await?;
    host.expect("connection/ready").await?;
    host.request(1, json!({"method": "session/open", "sessionId": SESSION}))
        .await?;
    host.expect_ok(1).await?;
    let mut id = 1;
    for cell in cells {
        id += 1;
        host.run(id, cell).await?;
    }
    id += 1;
    host.request(
        id,
        json!({"method": "session/shutdown", "sessionId": SESSION}),
    )
    .await?;
    host.expect_ok(id).await?;
    (host.rest)().await?;
    host.writer.shutdown().await?;
    drop(host.writer);
    match read_frame(&mut host.reader).await? {
        None => Ok(()),
        Some(frame) => Err(unexpected("the end of the stream", &frame)),
    }
}

struct Host<R, W, F> {
    reader: R,
    writer: W,
    /// Waits until the host has done all that it does by itself. What a message costs would depend
    /// on how fast it comes otherwise: a host that is still at work need not be woken.
    rest: F,
}

impl<R, W, F> Host<R, W, F>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: AsyncFn() -> io::Result<()>,
{
    async fn run(&mut self, id: u64, cell: &Cell) -> Result<(), Error> {
        let tools: Vec<Value> = (0..cell.tools).map(definition).collect();
        self.request(
            id,
            json!({
                "method": "session/execute",
                "sessionId": SESSION,
                "request": {
                    "tool_call_id": "call",
                    "enabled_tools": tools,
                    "source": cell.source,
                    "yield_time_ms": YIELD_TIME_MS,
                    "max_output_tokens": null,
                },
            }),
        )
        .await?;
        self.expect_ok(id).await?;
        let mut frame = self.next().await?;
        while frame["type"] == "delegate/request" {
            let answer = json!({
                "type": "delegate/response",
                "id": frame["id"],
                "result": {
                    "status": "ok",
                    "value": {
                        "type": "tool/result",
                        "result": frame["request"]["invocation"]["input"],
                    },
                },
            });
            self.send(&answer).await?;
            frame = self.next().await?;
        }
        let result = &frame["result"]["value"]["Result"];
        if frame["type"] != "execute/initialResponse"
            || result["content_items"] != json!([{"type": "input_text", "text": "x"}])
            || !result["error_text"].is_null()
        {
            return Err(unexpected("the text `x` as the cell's result", &frame));
        }
        self.expect("cell/closed").await
    }

    async fn request(&mut self, id: u64, request: Value) -> Result<(), Error> {
        self.send(&json!({"type": "operation/request", "id": id, "request": request}))
            .await
    }

    async fn expect(&mut self, kind: &str) -> Result<(), Error> {
        let frame = self.next().await?;
        if frame["type"] == kind {
            Ok(())
        } else {
            Err(unexpected(kind, &frame))
        }
    }

    async fn expect_ok(&mut self, id: u64) -> Result<(), Error> {
        let frame = self.next().await?;
        let right = frame["type"] == "operation/response"
            && frame["id"] == id
            && frame["result"]["status"] == "ok";
        if right {
            Ok(())
        } else {
            Err(unexpected(&format!("success of request {id}"), &frame))
        }
    }

    async fn send(&mut self, frame: &Value) -> Result<(), Error> {
        let payload = frame.to_string();
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        // One write: with two, the host would sometimes read twice, and the count would vary.
        let bytes = [&length.to_le_bytes(), payload.as_bytes()].concat();
        (self.rest)().await?;
        self.writer.write_all(&bytes).await?;
        self.writer.flush().await?;
        Ok(())
    }

    async fn next(&mut self) -> Result<Value, Error> {
        let frame = read_frame(&mut self.reader).await?;
        frame.ok_or_else(|| Error::Unexpected("the host closed its output early".to_owned()))
    }
}

fn definition(index: u32) -> Value {
    let name = format!("tool{index}");
    json!({
        "name": name,
        "tool_name": {"name": name, "namespace": null},
        "description": "Gives back what it is given.",
        "kind": "function",
        "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
        "output_schema": null,
    })
}

/// The next frame; `None` at the end between frames.
async fn read_frame(reader: &mut (impl AsyncRead + Unpin)) -> Result<Option<Value>, Error> {
    let mut length = [0; 4];
    if reader.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut length[1..]).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PAYLOAD_BYTES {
        return Err(Error::Unexpected(format!("a frame of {length} bytes")));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await?;
    let frame = serde_json::from_slice(&payload).map_err(io::Error::from)?;
    Ok(Some(frame))
}

fn unexpected(expected: &str, frame: &Value) -> Error {
    /// How much of a frame a message shows, characters.
    const SHOWN: usize = 500;
    let frame: String = frame.to_string().chars().take(SHOWN).collect();
    Error::Unexpected(format!("expected {expected}, the host sent {frame}"))
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
