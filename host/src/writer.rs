//! The writer's duty: what is queued goes out, in order, ready frames together in one write.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::{Duration, Instant};

use code_mode_protocol::EncodedFrame;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::ServeError;
use crate::outgoing::{Batch, Outgoing};

/// Frames handed to the operating system in one write (Linux takes at most 1,024 pieces).
const FRAMES_PER_WRITE: usize = 256;

/// Writes until the queue is closed and empty.
///
/// # Errors
/// When a write fails, when the client takes nothing for `stall_deadline` while the queue is full,
/// and when the queue passes its hard bound.
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
            Batch::Overflow(bytes) => return Err(ServeError::OutgoingOverflow { bytes }),
            Batch::End => return writer.shutdown().await.map_err(ServeError::Write),
        }
    }
}

async fn write_batch<W: AsyncWrite + Unpin>(
    writer: &mut W,
    queue: &Outgoing,
    mut frames: VecDeque<EncodedFrame>,
    stall_deadline: Duration,
) -> Result<(), ServeError> {
    // How much of the first frame is written.
    let mut offset = 0;
    let mut progress = Instant::now();
    while !frames.is_empty() {
        let mut count = tokio::select! {
            biased;
            count = write_some(writer, &frames, offset) => count.map_err(ServeError::Write)?,
            () = stalled(queue, progress, stall_deadline) => {
                return Err(ServeError::Stalled { deadline: stall_deadline });
            }
        };
        if count == 0 {
            return Err(ServeError::Write(io::ErrorKind::WriteZero.into()));
        }
        progress = Instant::now();
        while let Some(frame) = frames.front() {
            let length = frame.as_bytes().len();
            if count < length - offset {
                offset += count;
                break;
            }
            count -= length - offset;
            offset = 0;
            frames.pop_front();
            queue.written(length);
        }
    }
    writer.flush().await.map_err(ServeError::Write)
}

/// One write of as many frames as the operating system takes.
async fn write_some<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frames: &VecDeque<EncodedFrame>,
    offset: usize,
) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = frames
        .iter()
        .take(FRAMES_PER_WRITE)
        .enumerate()
        .map(|(index, frame)| {
            IoSlice::new(&frame.as_bytes()[if index == 0 { offset } else { 0 }..])
        })
        .collect();
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
