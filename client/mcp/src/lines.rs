// SPDX-License-Identifier: Apache-2.0
//! Lines of JSON from a stream, within a bound: of a line that is too long, its length and the id in it are
//! kept, so that the request or answer in it can be told to have failed.

use std::io;

use rmcp::model::RequestId;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Reads lines of at most so many bytes.
pub struct Lines<R> {
    reader: BufReader<R>,
    max_bytes: usize,
    line: Vec<u8>,
    /// The line that is too long and being skipped.
    skipped: Option<Skipped>,
}

/// A line, without its end.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// All of it.
    Whole(Vec<u8>),
    /// It was too long.
    TooLong {
        /// Its length.
        bytes: usize,
        /// The id of the message in it.
        id: Option<RequestId>,
    },
}

/// What is kept of a line that is too long.
#[derive(Default)]
struct Skipped {
    bytes: usize,
    scanner: IdScanner,
}

impl Skipped {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.scanner.add(bytes);
    }
}

impl<R: AsyncRead + Unpin + Send> Lines<R> {
    /// Reads `reader`; lines of more than `max_bytes` are not kept.
    pub fn new(reader: R, max_bytes: usize) -> Self {
        Self {
            reader: BufReader::new(reader),
            max_bytes,
            line: Vec::new(),
            skipped: None,
        }
    }

    /// The next line; nothing at the end, where a line without its end is passed over. What was read is kept
    /// in `self` before the next await, so that the future may be dropped.
    ///
    /// # Errors
    /// When the stream fails.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let (used, ended) = {
                let available = self.reader.fill_buf().await?;
                if available.is_empty() {
                    return Ok(None);
                }
                let end = memchr::memchr(b'\n', available);
                let part = available
                    .get(..end.unwrap_or(available.len()))
                    .unwrap_or_default();
                if self.skipped.is_none() && self.line.len() + part.len() > self.max_bytes {
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
                return Ok(Some(match self.skipped.take() {
                    Some(skipped) => Line::TooLong {
                        bytes: skipped.bytes,
                        id: skipped.scanner.id(),
                    },
                    None => Line::Whole(std::mem::take(&mut self.line)),
                }));
            }
        }
    }
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
