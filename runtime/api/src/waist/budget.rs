// SPDX-License-Identifier: Apache-2.0
//! Bytes that a session may hold for its client.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Counts the bytes that one session holds for its client: events that nobody has taken or passed on,
/// and whatever else is told to it.
///
/// It refuses nothing by itself. Those who may wait do so while it is full
/// ([`Outbox::wait_for_room`](super::Outbox::wait_for_room)), so what it holds can pass the maximum by
/// one event of each cell at most.
pub struct Budget {
    maximum: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    held: usize,
    /// Those who wait in a task, by the outbox that they wait for.
    wakers: BTreeMap<u64, Waker>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(maximum: usize) -> Arc<Self> {
        Arc::new(Self {
            maximum,
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// The bytes that may be held before those who can wait have to, as it was made.
    pub fn maximum(&self) -> usize {
        self.maximum
    }

    /// The bytes that are held now.
    pub fn held(&self) -> usize {
        self.lock().held
    }

    /// Counts bytes until the value that it gives is dropped.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        self.lock().held += bytes;
        Held {
            budget: Arc::clone(self),
            bytes,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many bytes more would still be within the budget.
    pub(super) fn fits(&self, state: &State, bytes: usize) -> bool {
        state.held.saturating_add(bytes) <= self.maximum
    }

    /// Gives the lock away until somebody has given bytes back.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.freed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes everybody who waits look again.
    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        self.freed.notify_all();
        wakers.into_values().for_each(Waker::wake);
    }
}

impl State {
    pub(super) fn wake_later(&mut self, outbox: u64, waker: Waker) {
        self.wakers.insert(outbox, waker);
    }
}

/// Bytes that a [`Budget`] counts until this is dropped.
pub struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.lock().held -= self.bytes;
        self.budget.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    #[test]
    fn bytes_count_until_they_are_given_back() {
        let budget = Budget::new(10);
        let first = budget.hold(4);
        let second = budget.hold(20);
        assert_eq!((budget.held(), budget.maximum()), (24, 10));
        drop(second);
        assert_eq!(budget.held(), 4);
        drop(first);
        assert_eq!(budget.held(), 0);
    }
}
