// SPDX-License-Identifier: Apache-2.0
//! The queue of frames that wait to be written, bounded in frames and in bytes.
//!
//! # Who waits, and why nothing can deadlock
//! The queue is *full* when it holds its bound of frames or bytes. Room is made by one event only,
//! the client's reading, which never depends on this host; so every wait here ends with the client
//! reading, or with the stall deadline, after which the writer fails the connection.
//!
//! - A cell's thread waits for room before it hands over a tool call or a notification
//!   ([`Outgoing::push_waiting`]). It holds no lock meanwhile.
//! - The task of a cell's process waits for room before it hears what the process says next
//!   ([`Outgoing::room`]); so the process waits, once its stream is full.
//! - The reader waits for room before it takes the next frame from the client
//!   ([`Outgoing::room`]). A client that does not read is not served.
//! - Answers, `delegate/cancel` and `cell/closed` do not wait ([`Outgoing::push`]): they come up on
//!   threads that must not block, and a cell could not end without them. Their number is bounded by
//!   the requests in flight, open calls and active cells that they end, none of which can grow
//!   while reader and cells wait; their bytes by the hard bound, past which the connection fails
//!   at once.
//!
//! # Who writes
//! Where the output allows it ([`DirectOutput`]), whoever queues a frame writes it, so that it needs
//! no other thread to be woken on its way. One at a time has the turn to write ([`Turn`]): with it go
//! all frames that are queued, so order on the wire is the order of the queue. What a thread cannot
//! write at once, because the client does not read or because others queue more and more, it leaves
//! to the writer task, which alone can wait.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_protocol::EncodedFrame;
use tokio::sync::Notify;

use crate::config::ConnectionLimits;
use crate::direct::DirectOutput;
use crate::frames::{Frames, Written};

/// Writes that a thread makes in a row before it leaves the rest to the writer task: its own frame,
/// and what others have queued meanwhile. It bounds how long others can keep a script from going on.
const WRITES_IN_A_ROW: usize = 4;

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
    frames: Frames,
    turn: Turn,
    /// Where threads write to by themselves; `None` when all is left to the writer task, and once
    /// the queue is closed.
    direct: Option<Arc<DirectOutput>>,
    /// Frames queued and frames on their way out that are not wholly written.
    unwritten_frames: usize,
    unwritten_bytes: usize,
    full_since: Option<Instant>,
    closed: bool,
    /// Nobody waits for room any more, because the connection is coming to its end.
    waiting_is_over: bool,
    /// The hard bound was passed: the number of bytes that were to be held.
    overflow: Option<usize>,
    /// A thread's write has failed; the writer task tells of it.
    failed: Option<io::Error>,
}

/// Who may write. No frame is written without the turn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody writes; whoever queues a frame may take the turn.
    #[default]
    Free,
    /// A thread writes, and looks at the queue once more before it gives the turn back.
    Thread,
    /// The writer task writes, or has been woken to do so, until the queue is empty.
    Task,
}

/// What the writer finds when it looks for work.
#[derive(Debug)]
pub(crate) enum Batch {
    /// Frames to write, at least one.
    Frames(Frames),
    /// A thread's write has failed.
    Failed(io::Error),
    /// The hard bound was passed; this many bytes were to be held.
    Overflow(usize),
    /// The queue is closed and everything is handed out.
    End,
}

impl Outgoing {
    /// An empty queue with these bounds. With `direct`, which must be the writer task's output as
    /// well, threads write by themselves.
    pub(crate) fn new(limits: &ConnectionLimits, direct: Option<DirectOutput>) -> Self {
        let state = State {
            direct: direct.map(Arc::new),
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            room_for_threads: Condvar::new(),
            room_for_reader: Notify::new(),
            ready: Notify::new(),
            max_frames: limits.outgoing_frames,
            max_bytes: limits.outgoing_bytes,
            max_bytes_hard: limits.outgoing_bytes_hard,
        }
    }

    /// Queues a frame without waiting for room, and sees to its writing.
    pub(crate) fn push(&self, frame: EncodedFrame) -> Result<(), QueueClosed> {
        let state = self.put(self.lock(), frame)?;
        self.write(state);
        Ok(())
    }

    /// Queues a frame once there is room, and sees to its writing; blocks the thread until there is.
    /// Only for cell threads.
    pub(crate) fn push_waiting(&self, frame: EncodedFrame) -> Result<(), QueueClosed> {
        let state = self
            .room_for_threads
            .wait_while(self.lock(), |state| self.must_wait(state))
            .unwrap_or_else(PoisonError::into_inner);
        let state = self.put(state, frame)?;
        self.write(state);
        Ok(())
    }

    /// Queues a frame that is to go out with another one, or after something more urgent than its
    /// writing. [`flush`](Self::flush) must follow on the same thread, before anything that waits.
    pub(crate) fn queue(&self, frame: EncodedFrame) -> Result<(), QueueClosed> {
        self.put(self.lock(), frame).map(drop)
    }

    /// Sees to the writing of what is queued.
    pub(crate) fn flush(&self) {
        self.write(self.lock());
    }

    /// Whether nobody has to wait for room.
    pub(crate) fn has_room(&self) -> bool {
        !self.must_wait(&self.lock())
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

    /// Everything that is queued, as soon as there is something that no thread writes. Only for the
    /// writer, which says with [`written`](Self::written) what it has written of it.
    pub(crate) async fn next_batch(&self) -> Batch {
        loop {
            let notified = self.ready.notified();
            {
                let mut state = self.lock();
                if let Some(bytes) = state.overflow {
                    return Batch::Overflow(bytes);
                }
                if let Some(error) = state.failed.take() {
                    return Batch::Failed(error);
                }
                // A thread that has the turn wakes the writer if it leaves anything to do.
                if state.turn != Turn::Thread {
                    if !state.frames.is_empty() {
                        state.turn = Turn::Task;
                        return Batch::Frames(std::mem::take(&mut state.frames));
                    }
                    state.turn = Turn::Free;
                    if state.closed {
                        return Batch::End;
                    }
                }
            }
            notified.await;
        }
    }

    /// Takes note that the client has taken whole frames.
    pub(crate) fn written(&self, written: Written) {
        if self.note(&mut self.lock(), written) {
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
        let direct = {
            let mut state = self.lock();
            state.closed = true;
            // What is left is the writer's, and the output is closed once the writer is done with
            // it, however long others hold this queue.
            state.direct.take()
        };
        drop(direct);
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

    fn put<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        frame: EncodedFrame,
    ) -> Result<MutexGuard<'a, State>, QueueClosed> {
        if state.closed {
            return Err(QueueClosed);
        }
        let bytes = state.unwritten_bytes + frame.wire_bytes();
        if bytes > self.max_bytes_hard {
            state.overflow = Some(bytes);
            drop(state);
            self.close();
            return Err(QueueClosed);
        }
        state.unwritten_frames += 1;
        state.unwritten_bytes = bytes;
        state.frames.push(frame);
        if state.full_since.is_none() && self.is_full(&state) {
            state.full_since = Some(Instant::now());
        }
        Ok(state)
    }

    /// Sees to the writing of what is queued: here, or by whoever has the turn, or by the writer.
    fn write<'a>(&'a self, state: MutexGuard<'a, State>) {
        if state.turn != Turn::Free || state.frames.is_empty() {
            return;
        }
        let Some(direct) = state.direct.clone() else {
            drop(state);
            self.ready.notify_one();
            return;
        };
        self.write_by(state, |frames| direct.write(frames));
    }

    /// Takes the turn and writes by `write`, which is not called with the lock held. It gives how
    /// many bytes were taken; fewer than all if the output takes no more for now.
    fn write_by<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        mut write: impl FnMut(&Frames) -> io::Result<usize>,
    ) {
        state.turn = Turn::Thread;
        let mut room = false;
        for _ in 0..WRITES_IN_A_ROW {
            let mut frames = std::mem::take(&mut state.frames);
            drop(state);
            let result = write(&frames);
            state = self.lock();
            match result {
                Ok(count) => room |= self.note(&mut state, frames.advance(count)),
                Err(error) => {
                    state.failed = Some(error);
                    state.turn = Turn::Task;
                    drop(state);
                    self.close();
                    return;
                }
            }
            if !frames.is_empty() {
                // The output takes no more for now. The rest stays in front of what came meanwhile.
                frames.append(std::mem::take(&mut state.frames));
                state.frames = frames;
                break;
            }
            if state.frames.is_empty() {
                break;
            }
        }
        let rest = !state.frames.is_empty();
        state.turn = if rest { Turn::Task } else { Turn::Free };
        // The writer ends only when nobody writes any more.
        let wake_writer = rest || state.closed;
        drop(state);
        if wake_writer {
            self.ready.notify_one();
        }
        if room {
            self.wake_waiters();
        }
    }

    /// Takes note of whole frames written. True if those who wait for room are to be woken.
    fn note(&self, state: &mut State, written: Written) -> bool {
        state.unwritten_frames = state.unwritten_frames.saturating_sub(written.frames);
        state.unwritten_bytes = state.unwritten_bytes.saturating_sub(written.bytes);
        let room = state.full_since.is_some() && !self.is_full(state);
        if room {
            state.full_since = None;
        }
        room
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
