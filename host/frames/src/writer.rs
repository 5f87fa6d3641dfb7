// SPDX-License-Identifier: Apache-2.0
//! The writer's duty: what is queued goes out, in order, ready frames together in one write.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::ServeError;
use crate::frames::{Frames, Written};
use crate::outgoing::{Batch, Outgoing};

/// Writes until the queue is closed and empty.
///
/// # Errors
/// When a write fails, whoever made it; when the client takes nothing for `stall_deadline` while the
/// queue is full; and when the queue passes a hard bound, at once.
pub(crate) async fn write_frames<W: AsyncWrite + Unpin>(
    mut writer: W,
    queue: &Outgoing,
    stall_deadline: Duration,
) -> Result<(), ServeError> {
    loop {
        match queue.next_batch().await {
            Batch::Frames(frames) => {
                write_batch(&mut writer, queue, frames, stall_deadline).await?;
            }
            Batch::Overflow(held) => return Err(overflow(held)),
            Batch::Failed(error) => return Err(ServeError::Write(error)),
            Batch::End => return writer.shutdown().await.map_err(ServeError::Write),
        }
    }
}

async fn write_batch<W: AsyncWrite + Unpin>(
    writer: &mut W,
    queue: &Outgoing,
    mut frames: Frames,
    stall_deadline: Duration,
) -> Result<(), ServeError> {
    let mut progress = Instant::now();
    while !frames.is_empty() {
        let count = tokio::select! {
            biased;
            held = queue.overflowed() => return Err(overflow(held)),
            count = write_some(writer, &frames) => count.map_err(ServeError::Write)?,
            () = stalled(queue, progress, stall_deadline) => {
                return Err(ServeError::Stalled { deadline: stall_deadline });
            }
        };
        if count == 0 {
            return Err(ServeError::Write(io::ErrorKind::WriteZero.into()));
        }
        progress = Instant::now();
        queue.written(frames.advance(count));
    }
    writer.flush().await.map_err(ServeError::Write)
}

fn overflow(held: Written) -> ServeError {
    ServeError::OutgoingOverflow {
        frames: held.frames,
        bytes: held.bytes,
    }
}

/// One write of as many frames as the operating system takes.
async fn write_some<W: AsyncWrite + Unpin>(writer: &mut W, frames: &Frames) -> io::Result<usize> {
    let slices = frames.slices();
    poll_fn(|cx| Pin::new(&mut *writer).poll_write_vectored(cx, &slices)).await
}

/// Resolves when the queue has been full for the deadline while nothing was written.
async fn stalled(queue: &Outgoing, progress: Instant, deadline: Duration) {
    loop {
        let at = match queue.stalls_at(progress, deadline) {
            Some(at) if at <= Instant::now() => return,
            Some(at) => at,
            // The queue may fill while this sleeps; the stall is then seen one deadline late.
            None => Instant::now() + deadline,
        };
        tokio::time::sleep_until(at.into()).await;
    }
}
