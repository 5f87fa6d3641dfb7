// SPDX-License-Identifier: Apache-2.0
//! Writing frames.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::frame::EncodedFrame;

/// Bytes that frames of one batch are gathered into before they are written; a frame that is
/// larger is written by itself, without a copy.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// Writes frames to any output.
///
/// # Caveats
/// Writing is not cancel safe: a future that is dropped half way, like one that has failed, may
/// have written part of a frame, and the connection must be closed.
#[derive(Debug)]
pub struct FrameWriter<W> {
    output: W,
    /// Small frames on their way; empty between calls.
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to this output.
    pub fn new(output: W) -> Self {
        Self {
            output,
            buffer: Vec::new(),
        }
    }

    /// Writes one frame and flushes.
    ///
    /// # Errors
    /// When the output fails.
    pub async fn write(&mut self, frame: &EncodedFrame) -> io::Result<()> {
        self.write_batch(std::slice::from_ref(frame)).await
    }

    /// Writes the frames that are ready, in their order, and flushes once. Small ones go together
    /// in one write of at most [`WRITE_BUFFER_BYTES`].
    ///
    /// # Errors
    /// When the output fails.
    pub async fn write_batch(&mut self, frames: &[EncodedFrame]) -> io::Result<()> {
        for frame in frames {
            let bytes = frame.as_bytes();
            if self.buffer.len() + bytes.len() > WRITE_BUFFER_BYTES {
                self.write_buffer().await?;
            }
            if bytes.len() > WRITE_BUFFER_BYTES || frames.len() == 1 {
                self.output.write_all(bytes).await?;
            } else {
                self.buffer.extend_from_slice(bytes);
            }
        }
        self.write_buffer().await?;
        self.output.flush().await
    }

    async fn write_buffer(&mut self) -> io::Result<()> {
        self.output.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }

    /// Closes the output, as far as it can be closed.
    ///
    /// # Errors
    /// When the output fails.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.output.shutdown().await
    }

    /// Gives the output back.
    pub fn into_inner(self) -> W {
        self.output
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
