//! The queue of frames that wait to be written, bounded in frames and in bytes.
//!
//! # Who waits, and why nothing can deadlock
//! The queue is *full* when it holds its bound of frames or bytes. Room is made by one event only,
//! the client's reading, which never depends on this host; so every wait here ends with the client
//! reading, or with the stall deadline, after which the writer fails the connection.
//!
//! - A cell's thread waits for room before it hands over a tool call or a notification
//!   ([`Outgoing::push_waiting`]). It holds no lock meanwhile.
//! - The reader waits for room before it takes the next frame from the client
//!   ([`Outgoing::room`]). A client that does not read is not served.
//! - Answers, `delegate/cancel` and `cell/closed` do not wait ([`Outgoing::push`]): they come up on
//!   threads that must not block, and a cell could not end without them. Their number is bounded by
//!   the requests in flight, open calls and active cells that they end, none of which can grow
//!   while reader and cells wait; their bytes by the hard bound, past which the connection fails
//!   at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_protocol::EncodedFrame;
use tokio::sync::Notify;

use crate::config::ConnectionLimits;

/// The queue takes no frames any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueClosed;

/// Frames on their way to the client, in the order in which they will be written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    state: Mutex<State>,
    /// Wakes cell threads when there is room or no hope of it.
    room_for_threads: Condvar,
    /// Wakes the reader for the same reasons.
    room_for_reader: Notify,
    /// Wakes the writer when there is a frame, or when none will come any more.
    ready: Notify,
    max_frames: usize,
    max_bytes: usize,
    max_bytes_hard: usize,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<EncodedFrame>,
    /// Frames queued and frames handed to the writer that are not wholly written.
    unwritten_frames: usize,
    unwritten_bytes: usize,
    full_since: Option<Instant>,
    closed: bool,
    /// Nobody waits for room any more, because the connection is coming to its end.
    waiting_is_over: bool,
    /// The hard bound was passed: the number of bytes that were to be held.
    overflow: Option<usize>,
}

/// What the writer finds when it looks for work.
#[derive(Debug)]
pub(crate) enum Batch {
    /// Frames to write, at least one.
    Frames(VecDeque<EncodedFrame>),
    /// The hard bound was passed; this many bytes were to be held.
    Overflow(usize),
    /// The queue is closed and everything is handed out.
    End,
}

impl Outgoing {
    /// An empty queue with these bounds.
    pub(crate) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            state: Mutex::default(),
            room_for_threads: Condvar::new(),
            room_for_reader: Notify::new(),
            ready: Notify::new(),
            max_frames: limits.outgoing_frames,
            max_bytes: limits.outgoing_bytes,
            max_bytes_hard: limits.outgoing_bytes_hard,
        }
    }

    /// Queues a frame without waiting for room.
    pub(crate) fn push(&self, frame: EncodedFrame) -> Result<(), QueueClosed> {
        self.put(self.lock(), frame)
    }

    /// Queues a frame once there is room; blocks the thread until then. Only for cell threads.
    pub(crate) fn push_waiting(&self, frame: EncodedFrame) -> Result<(), QueueClosed> {
        let state = self
            .room_for_threads
            .wait_while(self.lock(), |state| self.must_wait(state))
            .unwrap_or_else(PoisonError::into_inner);
        self.put(state, frame)
    }

    /// Resolves when there is room, or when the queue is closed.
    pub(crate) async fn room(&self) {
        loop {
            let notified = self.room_for_reader.notified();
            {
                let state = self.lock();
                if !self.must_wait(&state) {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Everything that is queued, as soon as there is something. Only for the writer, which says
    /// with [`written`](Self::written) when it is done with it.
    pub(crate) async fn next_batch(&self) -> Batch {
        loop {
            let notified = self.ready.notified();
            {
                let mut state = self.lock();
                if let Some(bytes) = state.overflow {
                    return Batch::Overflow(bytes);
                }
                if !state.frames.is_empty() {
                    return Batch::Frames(std::mem::take(&mut state.frames));
                }
                if state.closed {
                    return Batch::End;
                }
            }
            notified.await;
        }
    }

    /// Takes note that the client has taken a whole frame of this many bytes.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.lock();
        state.unwritten_frames = state.unwritten_frames.saturating_sub(1);
        state.unwritten_bytes = state.unwritten_bytes.saturating_sub(bytes);
        if state.full_since.is_some() && !self.is_full(&state) {
            state.full_since = None;
            drop(state);
            self.wake_waiters();
        }
    }

    /// From now on nobody waits for room: what cells still say at the end of the connection is
    /// queued at once, within the hard bound.
    pub(crate) fn stop_waiting(&self) {
        self.lock().waiting_is_over = true;
        self.wake_waiters();
    }

    /// Takes no frames any more; what is queued can still be written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake_waiters();
        self.ready.notify_one();
    }

    /// When the queue will have been full for `deadline` without progress since `progress`; `None`
    /// while it is not full.
    pub(crate) fn stalls_at(&self, progress: Instant, deadline: Duration) -> Option<Instant> {
        self.lock()
            .full_since
            .map(|full_since| full_since.max(progress) + deadline)
    }

    fn put(
        &self,
        mut state: MutexGuard<'_, State>,
        frame: EncodedFrame,
    ) -> Result<(), QueueClosed> {
        if state.closed {
            return Err(QueueClosed);
        }
        let bytes = state.unwritten_bytes + frame.as_bytes().len();
        if bytes > self.max_bytes_hard {
            state.overflow = Some(bytes);
            drop(state);
            self.close();
            return Err(QueueClosed);
        }
        state.unwritten_frames += 1;
        state.unwritten_bytes = bytes;
        state.frames.push_back(frame);
        if state.full_since.is_none() && self.is_full(&state) {
            state.full_since = Some(Instant::now());
        }
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    fn is_full(&self, state: &State) -> bool {
        state.unwritten_frames >= self.max_frames || state.unwritten_bytes >= self.max_bytes
    }

    fn must_wait(&self, state: &State) -> bool {
        self.is_full(state) && !state.closed && !state.waiting_is_over
    }

    fn wake_waiters(&self) {
        self.room_for_threads.notify_all();
        self.room_for_reader.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
