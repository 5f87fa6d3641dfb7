// SPDX-License-Identifier: Apache-2.0
//! The queue of frames that wait to be written, bounded in frames and in bytes.
//!
//! # Who waits, and why nothing can deadlock
//! The queue is *full* when it holds its bound of frames or bytes. Room is made by one event only,
//! the client's reading, which never depends on this host.
//!
//! Nobody waits for room here. While the queue is full the door takes no events
//! ([`Outgoing::has_room`]), so these stay in the outboxes of their cells, which are bounded: a cell
//! waits before it calls or notifies once its outbox, or the budget of its session, is full. The
//! reader goes on: what the client sends is heard, a terminate above all.
//! What the door itself says, the refusal of a request for instance, is queued whatever room there
//! is, up to the hard bounds, past which the connection fails at once. Full without progress for too
//! long, it fails as well.
//!
//! # Who writes
//! Where the output allows it ([`DirectOutput`]), whoever queues a frame writes it, so that it needs
//! no other thread to be woken on its way. One at a time has the turn to write ([`Turn`]): with it go
//! all frames that are queued, so order on the wire is the order of the queue. What a thread cannot
//! write at once, because the client does not read or because others queue more and more, it leaves
//! to the writer task, which alone can wait.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::waist::Credit;
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
pub(crate) struct Outgoing {
    state: Mutex<Backlog>,
    /// Wakes the courier when there is room or no hope of it.
    room: Notify,
    /// Wakes the writer, whatever it is at, when a hard bound was passed.
    overflowed: Notify,
    /// Wakes the writer when there is a frame, or when none will come any more.
    ready: Notify,
    max_frames: usize,
    max_bytes: usize,
    max_bytes_hard: usize,
    max_frames_hard: usize,
}

#[derive(Default)]
struct Backlog {
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
    /// There is always room, because the connection is coming to its end.
    waiting_is_over: bool,
    /// A hard bound was passed: what was to be held.
    overflow: Option<Written>,
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
pub(crate) enum Batch {
    /// Frames to write, at least one.
    Frames(Frames),
    /// A thread's write has failed.
    Failed(io::Error),
    /// A hard bound was passed; this much was to be held.
    Overflow(Written),
    /// The queue is closed and everything is handed out.
    End,
}

impl Outgoing {
    /// An empty queue with these bounds. With `direct`, which must be the writer task's output as
    /// well, threads write by themselves.
    pub(crate) fn new(limits: &ConnectionLimits, direct: Option<DirectOutput>) -> Self {
        let state = Backlog {
            direct: direct.map(Arc::new),
            ..Backlog::default()
        };
        Self {
            state: Mutex::new(state),
            room: Notify::new(),
            overflowed: Notify::new(),
            ready: Notify::new(),
            max_frames: limits.outgoing_frames,
            max_bytes: limits.outgoing_bytes,
            max_bytes_hard: limits.outgoing_bytes_hard,
            max_frames_hard: limits.outgoing_frames_hard,
        }
    }

    /// Queues a frame, and sees to its writing. What its event counts for is given back once it is
    /// written.
    pub(crate) fn push(
        &self,
        frame: EncodedFrame,
        credit: Option<Credit>,
    ) -> Result<(), QueueClosed> {
        let state = self.put(self.lock(), frame, credit)?;
        self.write(state);
        Ok(())
    }

    /// Whether events may be taken for this queue.
    pub(crate) fn has_room(&self) -> bool {
        !self.must_wait(&self.lock())
    }

    /// Resolves when there is room, or when the queue is closed.
    pub(crate) async fn room(&self) {
        loop {
            let notified = self.room.notified();
            {
                let state = self.lock();
                if !self.must_wait(&state) {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Fails the connection if its hard bound of bytes is passed together with those that wait
    /// elsewhere for room in this queue.
    pub(crate) fn bound(&self, waiting_bytes: usize) {
        let state = self.lock();
        let bytes = state.unwritten_bytes.saturating_add(waiting_bytes);
        if bytes <= self.max_bytes_hard || !self.is_full(&state) || state.closed {
            return;
        }
        let frames = state.unwritten_frames;
        self.overflow(state, Written { frames, bytes });
    }

    /// Resolves when a hard bound was passed, with what was to be held. Only for the writer.
    pub(crate) async fn overflowed(&self) -> Written {
        loop {
            let notified = self.overflowed.notified();
            if let Some(held) = self.lock().overflow {
                return held;
            }
            notified.await;
        }
    }

    fn overflow(&self, mut state: MutexGuard<'_, Backlog>, held: Written) {
        state.overflow = Some(held);
        drop(state);
        self.close();
        self.overflowed.notify_waiters();
    }

    /// Everything that is queued, as soon as there is something that no thread writes. Only for the
    /// writer, which says with [`written`](Self::written) what it has written of it.
    pub(crate) async fn next_batch(&self) -> Batch {
        loop {
            let notified = self.ready.notified();
            {
                let mut state = self.lock();
                if let Some(held) = state.overflow {
                    return Batch::Overflow(held);
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

    /// From now on there is always room: what cells still say at the end of the connection is queued
    /// at once, within the hard bounds.
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
        mut state: MutexGuard<'a, Backlog>,
        frame: EncodedFrame,
        credit: Option<Credit>,
    ) -> Result<MutexGuard<'a, Backlog>, QueueClosed> {
        if state.closed {
            return Err(QueueClosed);
        }
        let bytes = state.unwritten_bytes + frame.wire_bytes();
        let frames = state.unwritten_frames + 1;
        if bytes > self.max_bytes_hard || frames > self.max_frames_hard {
            self.overflow(state, Written { frames, bytes });
            return Err(QueueClosed);
        }
        state.unwritten_frames = frames;
        state.unwritten_bytes = bytes;
        state.frames.push(frame, credit);
        if state.full_since.is_none() && self.is_full(&state) {
            state.full_since = Some(Instant::now());
        }
        Ok(state)
    }

    /// Sees to the writing of what is queued: here, or by whoever has the turn, or by the writer.
    fn write<'a>(&'a self, state: MutexGuard<'a, Backlog>) {
        if state.turn != Turn::Free || state.frames.is_empty() {
            return;
        }
        let Some(direct) = state.direct.clone() else {
            drop(state);
            self.ready.notify_one();
            return;
        };
        self.write_by(state, |frames| direct.write(&frames.slices()));
    }

    /// Takes the turn and writes by `write`, which is not called with the lock held. It gives how
    /// many bytes were taken; fewer than all if the output takes no more for now.
    fn write_by<'a>(
        &'a self,
        mut state: MutexGuard<'a, Backlog>,
        mut write: impl FnMut(&Frames) -> io::Result<usize>,
    ) {
        state.turn = Turn::Thread;
        let mut room = false;
        for _ in 0..WRITES_IN_A_ROW {
            let mut frames = std::mem::take(&mut state.frames);
            drop(state);
            // What written events counted for is given back here, without the lock.
            let result = write(&frames).map(|count| frames.advance(count));
            state = self.lock();
            match result {
                Ok(written) => room |= self.note(&mut state, written),
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
    fn note(&self, state: &mut Backlog, written: Written) -> bool {
        state.unwritten_frames = state.unwritten_frames.saturating_sub(written.frames);
        state.unwritten_bytes = state.unwritten_bytes.saturating_sub(written.bytes);
        let room = state.full_since.is_some() && !self.is_full(state);
        if room {
            state.full_since = None;
        }
        room
    }

    fn is_full(&self, state: &Backlog) -> bool {
        state.unwritten_frames >= self.max_frames || state.unwritten_bytes >= self.max_bytes
    }

    fn must_wait(&self, state: &Backlog) -> bool {
        self.is_full(state) && !state.closed && !state.waiting_is_over
    }

    fn wake_waiters(&self) {
        self.room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Backlog> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
