// SPDX-License-Identifier: Apache-2.0
//! What goes to the host: batches of frames, written as far as the host takes them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};

use super::inputs::Frame;
use crate::error::ConnectionFailure;

/// How many frames one write may carry; a batch with more takes more writes.
const MAX_FRAMES_PER_WRITE: usize = 64;

/// The host's input, and the one batch that is being written to it.
///
/// Nothing is lost when a write is interrupted: the batch and how much of it has gone stay here. A
/// host that takes not one byte within the deadline has failed: waiting longer would only let callers
/// hang. One that is slow but goes on reading has not, however large the batch.
pub(super) struct Writer {
    /// `None` once the input is closed.
    input: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// What has not gone whole. Each frame's share of the budget ends when the frame has gone.
    batch: VecDeque<Frame>,
    /// Bytes of the first frame that have gone.
    written: usize,
    /// Whether what has gone was not flushed yet.
    unflushed: bool,
    deadline: Duration,
    /// Fires when the host has taken nothing for too long; there is none while everything could be
    /// written at once.
    overdue: Option<Pin<Box<Sleep>>>,
    /// Whether the host has taken anything since `overdue` was set.
    progress: bool,
}

impl Writer {
    pub(super) fn new(input: Box<dyn AsyncWrite + Send + Unpin>, deadline: Duration) -> Self {
        Self {
            input: Some(input),
            batch: VecDeque::new(),
            written: 0,
            unflushed: false,
            deadline,
            overdue: None,
            progress: false,
        }
    }

    /// Writes as much as the host takes now: the batch at hand, and then, as the next batch, what
    /// has gathered in `outbox` meanwhile. Where the host takes no more, the task of `context` is
    /// woken when it does, or when that is overdue.
    ///
    /// # Errors
    /// When the input fails, or the host has taken nothing for the deadline. The input is closed then, and nothing is taken
    /// out of an `outbox` any more.
    pub(super) fn write(
        &mut self,
        outbox: &mut Vec<Frame>,
        context: &mut Context<'_>,
    ) -> Result<(), ConnectionFailure> {
        let failure = loop {
            if self.input.is_none() {
                return Ok(());
            }
            if self.batch.is_empty() && !self.unflushed {
                if outbox.is_empty() {
                    return Ok(());
                }
                self.batch.extend(outbox.drain(..));
            }
            match self.poll_batch(context) {
                Poll::Ready(Ok(())) => self.overdue = None,
                Poll::Ready(Err(error)) => break ConnectionFailure::Write(error.to_string()),
                Poll::Pending => {
                    let deadline = self.deadline;
                    let overdue = match &mut self.overdue {
                        Some(overdue) => {
                            if std::mem::take(&mut self.progress) {
                                overdue.as_mut().reset(Instant::now() + deadline);
                            }
                            overdue
                        }
                        none => {
                            self.progress = false;
                            none.insert(Box::pin(sleep(deadline)))
                        }
                    };
                    if overdue.as_mut().poll(context).is_pending() {
                        return Ok(());
                    }
                    break ConnectionFailure::WriteDeadline(deadline);
                }
            }
        };
        self.close();
        Err(failure)
    }

    /// Whether the host has taken everything.
    pub(super) fn has_written_all(&self) -> bool {
        self.batch.is_empty() && !self.unflushed
    }

    /// Closes the host's input, also in the middle of a frame.
    pub(super) fn close(&mut self) {
        self.input = None;
        self.batch.clear();
        self.overdue = None;
    }

    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(input) = &mut self.input else {
            return Poll::Pending;
        };
        while !self.batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_FRAMES_PER_WRITE];
            let mut gone = self.written;
            for (slice, frame) in slices.iter_mut().zip(&self.batch) {
                *slice = IoSlice::new(&frame.bytes.as_bytes()[std::mem::take(&mut gone)..]);
            }
            let slices = &slices[..self.batch.len().min(MAX_FRAMES_PER_WRITE)];
            let wrote = ready!(Pin::new(&mut *input).poll_write_vectored(context, slices))?;
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.progress = true;
            self.written += wrote;
            while let Some(first) = self.batch.front()
                && self.written >= first.bytes.wire_bytes()
            {
                self.written -= first.bytes.wire_bytes();
                self.batch.pop_front();
            }
        }
        ready!(Pin::new(input).poll_flush(context))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
