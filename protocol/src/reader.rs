// SPDX-License-Identifier: Apache-2.0
//! Reading frames.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::AgreedCapabilities;
use crate::frame::{HEADER_BYTES, MAX_FRAME_BYTES};
use crate::message::{self, DecodeError, Message};

/// Bytes that are asked of the input at one time; frames that come together up to this size take
/// one read.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Room that is kept from one large payload for the next, in bytes. A payload of a mebibyte that has to
/// be given fresh memory takes longer for its page faults than for all that is done with it.
const KEPT_PAYLOAD_BYTES: usize = 2 * 1024 * 1024;

/// Why no message could be read. The connection is of no use after any of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The input failed.
    #[error("reading a frame failed: {0}")]
    Io(#[from] io::Error),
    /// The input ended inside a frame.
    #[error("the input ended inside a frame: {received} of {}", expected_bytes(.expected))]
    Truncated {
        /// Bytes of the frame that came, its length included.
        received: usize,
        /// Bytes of the whole frame, if its length had come.
        expected: Option<usize>,
    },
    /// The length is over the cap; nothing was allocated for it.
    #[error("a frame of {length} bytes was announced; a frame holds at most {MAX_FRAME_BYTES}")]
    TooLong {
        /// The length that the peer announced, in bytes.
        length: usize,
    },
    /// The payload is not a message that may be sent.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

fn expected_bytes(expected: &Option<usize>) -> String {
    expected.map_or_else(
        || String::from("an unknown number of bytes"),
        |n| format!("{n} bytes"),
    )
}

/// Reads frames from any input.
///
/// The end of the input at a frame boundary is `Ok(None)`; the other outcomes are in [`ReadError`].
/// The memory held is [`READ_BUFFER_BYTES`] and the frame being read, whose buffer grows with the
/// data received and never with the length announced; of that buffer [`KEPT_PAYLOAD_BYTES`] stay.
///
/// # Caveats
/// Reading is cancel safe: what has been received is kept in the reader, so a future that is
/// dropped loses nothing and the next call goes on where it was.
#[derive(Debug)]
pub struct FrameReader<R> {
    input: R,
    /// Bytes that were received and belong to no payload yet: `buffer[start..end]`.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The length of the payload that is being received, once it is known and allowed.
    length: Option<usize>,
    /// What has come of that payload; without a length, a payload that was handed out.
    payload: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from this input.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            length: None,
            payload: Vec::new(),
        }
    }

    /// The input, of which part may have been read ahead.
    pub fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Reads the next message; `None` when the input has ended at a frame boundary.
    ///
    /// # Errors
    /// As [`ReadError`] lists them.
    pub async fn next_message<M: Message>(
        &mut self,
        agreed: &AgreedCapabilities,
    ) -> Result<Option<M>, ReadError> {
        match self.next_payload().await? {
            Some(payload) => Ok(Some(message::decode(payload, agreed)?)),
            None => Ok(None),
        }
    }

    /// Reads the next payload without decoding it; `None` when the input has ended at a frame
    /// boundary.
    ///
    /// # Errors
    /// As [`ReadError`] lists them, except [`ReadError::Malformed`].
    pub async fn next_payload(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.length.is_none() {
            self.payload.clear();
            self.payload.shrink_to(KEPT_PAYLOAD_BYTES);
        }
        loop {
            let Some(length) = self.length else {
                if !self.take_header()? && !self.fill_buffer().await? {
                    self.end_outside_payload()?;
                    return Ok(None);
                }
                continue;
            };
            // A payload that has come whole is handed out where it is.
            let start = self.start;
            if self.payload.is_empty() && self.end - start >= length {
                self.length = None;
                self.start += length;
                return Ok(Some(&self.buffer[start..start + length]));
            }
            self.take_buffered(length);
            let missing = length - self.payload.len();
            if missing == 0 {
                self.length = None;
                return Ok(Some(&self.payload));
            }
            // A large rest goes straight to its place; a small one is read along with whatever
            // follows it.
            let more = if missing >= READ_BUFFER_BYTES {
                self.fill_payload(missing).await?
            } else {
                self.fill_buffer().await?
            };
            if !more {
                return Err(ReadError::Truncated {
                    received: HEADER_BYTES + self.payload.len(),
                    expected: Some(HEADER_BYTES + length),
                });
            }
        }
    }

    /// Takes the next payload's length out of the buffer, if it has come. A length over the cap
    /// stays there, so that every further call fails like the first.
    fn take_header(&mut self) -> Result<bool, ReadError> {
        let Some(header) = self.buffer[self.start..self.end].first_chunk::<HEADER_BYTES>() else {
            return Ok(false);
        };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_FRAME_BYTES {
            return Err(ReadError::TooLong { length });
        }
        self.start += HEADER_BYTES;
        self.length = Some(length);
        Ok(true)
    }

    /// Moves what has come of the payload out of the buffer.
    fn take_buffered(&mut self, length: usize) {
        let missing = length - self.payload.len();
        let count = (self.end - self.start).min(missing);
        if self.payload.capacity() - self.payload.len() < count {
            self.make_room(missing);
        }
        self.payload
            .extend_from_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
    }

    /// Makes room for more of the payload, of which `missing` bytes have not come: as much as has
    /// been received so far, or one buffer. A peer has to send half of what it makes us hold, and
    /// a whole payload takes no more memory than its length.
    fn make_room(&mut self, missing: usize) {
        self.payload
            .reserve_exact(self.payload.len().max(READ_BUFFER_BYTES).min(missing));
    }

    /// Reads once into the buffer, which holds less than a header at this point; `false` at the
    /// end of the input.
    async fn fill_buffer(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = self.input.read(&mut self.buffer[self.end..]).await?;
        self.end += count;
        Ok(count > 0)
    }

    /// Reads once into the payload, of which `missing` bytes have not come; `false` at the end of
    /// the input.
    async fn fill_payload(&mut self, missing: usize) -> io::Result<bool> {
        if self.payload.len() == self.payload.capacity() {
            self.make_room(missing);
        }
        let room = u64::try_from(missing).unwrap_or(u64::MAX);
        let count = (&mut self.input)
            .take(room)
            .read_buf(&mut self.payload)
            .await?;
        Ok(count > 0)
    }

    fn end_outside_payload(&self) -> Result<(), ReadError> {
        match self.end - self.start {
            0 => Ok(()),
            received => Err(ReadError::Truncated {
                received,
                expected: None,
            }),
        }
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
