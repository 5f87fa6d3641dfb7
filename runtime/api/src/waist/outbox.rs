// SPDX-License-Identifier: Apache-2.0
//! Where events wait for their door.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::{Budget, Event, Held};
use crate::CellId;

/// Who has put an event, and so what a [`Bell`] may do on the spot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ringer {
    /// The cell's own thread: the door may take, encode and write here.
    Cell,
    /// The task that reads a cell's process or a connection: likewise.
    Link,
    /// Anybody else, a watchdog for example, or a door in the middle of an ask: the door only leaves
    /// word for a task of its own.
    Helper,
}

/// A door's ear: rung when an outbox has events and nobody takes them.
pub trait Bell: Send + Sync {
    /// Says that `outbox` holds events. Must not wait.
    fn ring(&self, outbox: &Arc<Outbox>, by: Ringer);
}

/// Whose events an outbox holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxOwner {
    /// Those of the session itself.
    Session,
    /// Those of one of its cells.
    Cell(CellId),
}

/// The cell has been stopped: there is no need to wait, and nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cell was stopped while it waited for room")]
pub struct Stopped;

/// The events of one cell, or of one session, in their order.
///
/// Bounded in bytes, by a capacity of its own and by the budget of its session. An event counts from
/// [`put`](Self::put) until its [`Credit`] is dropped. Putting never waits: whoever can wait asks for
/// room first, and an empty outbox has room for one event of any size.
pub struct Outbox {
    number: u64,
    owner: OutboxOwner,
    capacity: usize,
    bell: Arc<dyn Bell>,
    budget: Arc<Budget>,
    /// Events put whose [`Credit`] lives or is still to be made. Changes under the budget's lock, or
    /// before it is woken.
    outstanding: AtomicUsize,
    outstanding_bytes: AtomicUsize,
    stopped: AtomicBool,
    state: Mutex<WaitingEvents>,
}

#[derive(Default)]
struct WaitingEvents {
    events: VecDeque<(Event, usize, Held)>,
    /// What these count for.
    bytes: usize,
    taking: bool,
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

impl Outbox {
    /// An empty outbox that holds `capacity` bytes before those who can wait have to.
    pub fn new(
        owner: OutboxOwner,
        capacity: usize,
        bell: Arc<dyn Bell>,
        budget: Arc<Budget>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            owner,
            capacity,
            bell,
            budget,
            outstanding: AtomicUsize::new(0),
            outstanding_bytes: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// A number that no other outbox of the process has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whose events these are.
    pub fn owner(&self) -> &OutboxOwner {
        &self.owner
    }

    /// Adds an event, and rings the bell unless somebody is taking: that one sees it.
    pub fn put(self: &Arc<Self>, event: Event, by: Ringer) {
        let bytes = event.bytes();
        let held = self.budget.hold(bytes);
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        self.outstanding_bytes.fetch_add(bytes, Ordering::AcqRel);
        let taking = {
            let mut state = self.lock();
            state.events.push_back((event, bytes, held));
            state.bytes += bytes;
            state.taking
        };
        if !taking {
            self.bell.ring(self, by);
        }
    }

    /// What the events count for that nobody has taken, in bytes.
    pub fn untaken_bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits until an event of so many bytes has room, or the cell is stopped. Only for a cell's own
    /// thread, which must hold no lock.
    ///
    /// # Errors
    /// [`Stopped`].
    pub fn wait_for_room(&self, bytes: usize) -> Result<(), Stopped> {
        let mut state = self.budget.lock();
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return Err(Stopped);
            }
            if self.has_room(bytes, self.budget.fits(&state, bytes)) {
                return Ok(());
            }
            state = self.budget.wait(state);
        }
    }

    /// Whether an event of so many bytes has room now.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        let state = self.budget.lock();
        self.has_room(bytes, self.budget.fits(&state, bytes))
    }

    /// Resolves when an event of so many bytes has room, or the cell is stopped. Only for the one task
    /// that reads a cell's process.
    pub fn poll_room(&self, bytes: usize, context: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        let mut state = self.budget.lock();
        if self.stopped.load(Ordering::Acquire) {
            return Poll::Ready(Err(Stopped));
        }
        if self.has_room(bytes, self.budget.fits(&state, bytes)) {
            return Poll::Ready(Ok(()));
        }
        state.wake_later(self.number, context.waker().clone());
        Poll::Pending
    }

    /// Lets nobody wait for room any more: the cell has been told to stop.
    pub fn stop(&self) {
        let state = self.budget.lock();
        self.stopped.store(true, Ordering::Release);
        drop(state);
        self.budget.wake_all();
    }

    /// Whether the cell has been told to stop: it has nothing to say any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Takes the turn to take events; `None` while somebody else has it, or there are no events.
    pub fn take(self: &Arc<Self>) -> Option<Taking> {
        let mut state = self.lock();
        if state.taking || state.events.is_empty() {
            return None;
        }
        state.taking = true;
        Some(Taking {
            outbox: Arc::clone(self),
        })
    }

    fn has_room(&self, bytes: usize, within_budget: bool) -> bool {
        let held = self.outstanding_bytes.load(Ordering::Acquire);
        self.outstanding.load(Ordering::Acquire) == 0
            || (within_budget && held.saturating_add(bytes) <= self.capacity)
    }

    fn lock(&self) -> MutexGuard<'_, WaitingEvents> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.outbox
            .outstanding_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        self.outbox.outstanding.fetch_sub(1, Ordering::AcqRel);
        // This wakes those who wait, who then see the numbers above.
        drop(self.held.take());
    }
}

/// The turn to take the events of an outbox, one after the other. Its drop gives the turn back, and
/// rings the bell when events are left.
pub struct Taking {
    outbox: Arc<Outbox>,
}

/// An event on its way to the client.
pub struct Taken {
    /// The event.
    pub event: Event,
    /// What it counts for.
    pub credit: Credit,
}

/// What an event that was taken counts for in its outbox and its session, until this is dropped: when
/// the event was passed on.
pub struct Credit {
    outbox: Arc<Outbox>,
    bytes: usize,
    held: Option<Held>,
}

impl Iterator for Taking {
    type Item = Taken;

    fn next(&mut self) -> Option<Taken> {
        let (event, bytes, held) = {
            let mut state = self.outbox.lock();
            let next = state.events.pop_front()?;
            state.bytes -= next.1;
            next
        };
        Some(Taken {
            event,
            credit: Credit {
                outbox: Arc::clone(&self.outbox),
                bytes,
                held: Some(held),
            },
        })
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        let left = {
            let mut state = self.outbox.lock();
            state.taking = false;
            !state.events.is_empty()
        };
        if left {
            self.outbox.bell.ring(&self.outbox, Ringer::Helper);
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
