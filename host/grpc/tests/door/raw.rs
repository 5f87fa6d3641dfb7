// SPDX-License-Identifier: Apache-2.0
//! A client of HTTP/2 that keeps only the rules that a test wants it to keep.

use code_mode_grpc::prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

const INITIAL_WINDOW_SIZE: u8 = 4;

/// The contract's service.
pub const SERVICE: &str = "codex.code_mode.v1.CodeModeHost";

/// A frame that the host has sent.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One connection.
pub struct Raw {
    write: WriteHalf<DuplexStream>,
    reading: AbortHandle,
    /// Everything but answers to pings and settings; it ends with the connection.
    frames: mpsc::UnboundedReceiver<Frame>,
    next_stream: u32,
    pings: u64,
}

impl Raw {
    /// Greets. The host may send `window` bytes on each stream before it is given more, which it never is.
    pub async fn greet(io: DuplexStream, window: u32) -> Self {
        let (read, write) = tokio::io::split(io);
        let (sender, frames) = mpsc::unbounded_channel();
        let reading = tokio::spawn(read_all(read, sender)).abort_handle();
        let mut raw = Self {
            write,
            reading,
            frames,
            next_stream: 1,
            pings: 0,
        };
        let mut greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut settings = vec![0, INITIAL_WINDOW_SIZE];
        settings.extend(window.to_be_bytes());
        greeting.extend(frame(SETTINGS, 0, 0, &settings));
        greeting.extend(frame(SETTINGS, ACK, 0, &[]));
        assert!(raw.send(&greeting).await);
        raw
    }

    /// Sends bytes; false when the host hears nothing any more.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.write.write_all(bytes).await.is_ok()
    }

    /// Sends a frame; false as above.
    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send(&frame(kind, flags, stream, payload)).await
    }

    /// Begins a call and gives its stream.
    pub async fn begin(&mut self, path: &str) -> u32 {
        let stream = self.stream();
        let headers = headers(path, "");
        self.frame(HEADERS, END_HEADERS, stream, &headers).await;
        stream
    }

    /// Makes a call and gives its stream.
    pub async fn call(&mut self, method: &str, message: &impl Message) -> u32 {
        let stream = self.begin(&format!("/{SERVICE}/{method}")).await;
        self.frame(DATA, END_STREAM, stream, &enclosed(message))
            .await;
        stream
    }

    /// A number for a stream.
    pub fn stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Breaks a stream off.
    pub async fn reset(&mut self, stream: u32) -> bool {
        let cancel = 8_u32.to_be_bytes();
        self.frame(RST_STREAM, 0, stream, &cancel).await
    }

    /// The next frame; `None` once the host has ended the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        self.frames
            .recv()
            .await
            .filter(|frame| frame.kind != GOAWAY)
    }

    /// Leaves what the host sends where it is.
    pub fn reads_no_more(&self) {
        self.reading.abort();
    }

    /// What the host has sent until it has seen all that was sent to it; `None` when it ends the connection
    /// instead.
    pub async fn settled(&mut self) -> Option<Vec<Frame>> {
        self.pings += 1;
        let payload = self.pings.to_be_bytes();
        if !self.frame(PING, 0, 0, &payload).await {
            return None;
        }
        let mut seen = Vec::new();
        loop {
            let frame = self.next().await?;
            if frame.kind == PING && frame.payload == payload {
                return Some(seen);
            }
            seen.push(frame);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The connection is closed once neither half is held.
        self.reading.abort();
    }
}

/// Reads frames until the host sends no more.
async fn read_all(mut read: ReadHalf<DuplexStream>, frames: mpsc::UnboundedSender<Frame>) {
    let mut head = [0; 9];
    while read.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if read.read_exact(&mut payload).await.is_err() {
            return;
        }
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        };
        if frame.kind != SETTINGS && frames.send(frame).is_err() {
            return;
        }
    }
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A message with gRPC's prefix.
pub fn enclosed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).expect("short").to_be_bytes());
    bytes.extend(message);
    bytes
}

/// The headers of a call, with one more of this value unless it is empty.
pub fn headers(path: &str, more: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "code-mode-host"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-more", more),
    ] {
        if !value.is_empty() {
            // A literal that is not to be remembered, name and value as they are.
            bytes.push(0);
            text(&mut bytes, name);
            text(&mut bytes, value);
        }
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    const PREFIX: usize = 127;
    match u8::try_from(text.len()) {
        Ok(length) if usize::from(length) < PREFIX => bytes.push(length),
        _ => {
            bytes.push(127);
            let mut rest = text.len() - PREFIX;
            while rest >= 128 {
                bytes.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            bytes.push(rest as u8);
        }
    }
    bytes.extend(text.as_bytes());
}
