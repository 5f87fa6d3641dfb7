// SPDX-License-Identifier: Apache-2.0
//! Frames: a message serialised once, with its length in front (wire contract, section *Frames*).

use std::io::{self, Write};

use crate::message::Message;
use crate::{AgreedCapabilities, EncodeError};

/// The largest payload of a frame, in bytes (wire contract, section *Frames*).
pub const MAX_FRAME_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of the length in front of a payload.
pub(crate) const HEADER_BYTES: usize = 4;

/// Room beyond a message's texts that its field names usually need, in bytes.
const SPARE_BYTES: usize = 256;

/// Unused room that a frame may keep, in bytes; a frame with more is moved to a fitting buffer,
/// so that what a queue counts is what it holds.
const MAX_UNUSED_BYTES: usize = 4096;

/// A message ready to be written: serialised, checked against the cap and against the agreed
/// capabilities. Only such frames can be queued and written, so nothing unchecked can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// The length and the payload.
    bytes: Vec<u8>,
}

impl EncodedFrame {
    /// Serialises a message in one pass; raw JSON is copied as it is.
    ///
    /// # Errors
    /// When the message uses an extension that was not agreed, or would exceed
    /// [`MAX_FRAME_BYTES`]; encoding stops as soon as that is certain.
    pub fn encode<M: Message>(
        message: &M,
        agreed: &AgreedCapabilities,
    ) -> Result<Self, EncodeError> {
        Self::encode_within(message, agreed, MAX_FRAME_BYTES)
    }

    fn encode_within<M: Message>(
        message: &M,
        agreed: &AgreedCapabilities,
        maximum: usize,
    ) -> Result<Self, EncodeError> {
        if let Some(extension) = agreed.first_missing(message.extensions()) {
            return Err(EncodeError::NotAgreed(extension));
        }
        message.check()?;
        let at_least = message.least_bytes();
        if at_least > maximum {
            return Err(EncodeError::TooLong { at_least, maximum });
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + at_least + SPARE_BYTES);
        bytes.extend([0; HEADER_BYTES]);
        let mut payload = PayloadWriter {
            bytes,
            maximum,
            refused: None,
        };
        if let Err(error) = serde_json::to_writer(&mut payload, message) {
            return Err(match payload.refused {
                Some(at_least) => EncodeError::TooLong { at_least, maximum },
                None => EncodeError::Json(error),
            });
        }
        let mut bytes = payload.bytes;
        let length = bytes.len() - HEADER_BYTES;
        let header = u32::try_from(length)
            .map_err(|_| EncodeError::TooLong {
                at_least: length,
                maximum,
            })?
            .to_le_bytes();
        bytes[..HEADER_BYTES].copy_from_slice(&header);
        if bytes.capacity() - bytes.len() > MAX_UNUSED_BYTES {
            bytes.shrink_to_fit();
        }
        Ok(Self { bytes })
    }

    /// The whole frame: length and payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload: one message as JSON.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Bytes that the frame takes on the wire, its length included; what a queue bounded in bytes
    /// counts.
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Collects a payload up to the cap.
struct PayloadWriter {
    bytes: Vec<u8>,
    /// The cap of the payload, in bytes.
    maximum: usize,
    /// The size that the payload had reached when it was refused.
    refused: Option<usize>,
}

impl Write for PayloadWriter {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.write_all(part)?;
        Ok(part.len())
    }

    fn write_all(&mut self, part: &[u8]) -> io::Result<()> {
        let length = (self.bytes.len() - HEADER_BYTES).saturating_add(part.len());
        if length > self.maximum {
            self.refused = Some(length);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
