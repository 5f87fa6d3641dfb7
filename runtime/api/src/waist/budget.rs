// SPDX-License-Identifier: Apache-2.0
//! What a session may hold: bytes for its client and its cells, or places.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::Pool;

/// Counts what one session holds of something: events that nobody has taken or passed on, in bytes,
/// answers that its cells have not had, its cells themselves.
///
/// Those who may wait do so while it is full ([`Outbox::wait_for_room`](super::Outbox::wait_for_room)),
/// so what it holds can pass the maximum by one event of each cell at most; those who may be refused ask
/// for what they want ([`try_hold`](Self::try_hold)). What is held is given back when it is dropped.
pub struct Budget {
    maximum: usize,
    /// What the session shares with all others of its host.
    pool: Option<Arc<Pool>>,
    state: Mutex<Account>,
    freed: Condvar,
}

#[derive(Default)]
pub(super) struct Account {
    held: usize,
    /// Those who wait in a task, by the outbox that they wait for.
    wakers: BTreeMap<u64, Waker>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(maximum: usize) -> Arc<Self> {
        Self::of(maximum, None)
    }

    /// A budget of so many bytes, all of which count in this pool as well. Those who wait do so from
    /// the session's share of the pool on, if that is less.
    pub fn within(pool: &Arc<Pool>, maximum: usize) -> Arc<Self> {
        pool.join();
        Self::of(maximum, Some(Arc::clone(pool)))
    }

    fn of(maximum: usize, pool: Option<Arc<Pool>>) -> Arc<Self> {
        Arc::new(Self {
            maximum,
            pool,
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

    /// Counts bytes until the value that it gives is dropped, whether there is room or not.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let mut held = self.nothing();
        held.add(bytes);
        held
    }

    /// Counts bytes until the value that it gives is dropped, if the session may hold them.
    ///
    /// # Errors
    /// [`Full`], and nothing is counted.
    pub fn try_hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Full> {
        let mut held = self.nothing();
        held.grow(bytes)?;
        Ok(held)
    }

    fn nothing(self: &Arc<Self>) -> Held {
        Held {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Account> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many bytes more would still be within the budget.
    pub(super) fn fits(&self, state: &Account, bytes: usize) -> bool {
        let share = self.pool.as_ref().map_or(usize::MAX, |pool| pool.share());
        state.held.saturating_add(bytes) <= self.maximum.min(share)
    }

    /// Gives the lock away until somebody has given bytes back.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, Account>) -> MutexGuard<'a, Account> {
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

impl Account {
    pub(super) fn wake_later(&mut self, outbox: u64, waker: Waker) {
        self.wakers.insert(outbox, waker);
    }
}

/// Bytes that a [`Budget`] counts until this is dropped.
pub struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.leave();
        }
    }
}

/// There is no room for more: what the maximum is that would be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The session's own.
    Session(usize),
    /// That of all sessions together, of which this one has its share.
    Host(usize),
}

impl Full {
    /// The maximum that would be passed.
    pub fn maximum(self) -> usize {
        match self {
            Self::Session(maximum) | Self::Host(maximum) => maximum,
        }
    }
}

impl Held {
    /// Counts more, if the session may hold it.
    ///
    /// # Errors
    /// [`Full`], and what was counted before still is.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let budget = &*self.budget;
        let mut state = budget.lock();
        if state.held.saturating_add(bytes) > budget.maximum {
            return Err(Full::Session(budget.maximum));
        }
        if let Some(pool) = &budget.pool
            && !pool.try_take(state.held, bytes)
        {
            return Err(Full::Host(pool.maximum()));
        }
        state.held += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Counts more, whether there is room or not.
    pub fn add(&mut self, bytes: usize) {
        self.budget.lock().held += bytes;
        if let Some(pool) = &self.budget.pool {
            pool.take(bytes);
        }
        self.bytes += bytes;
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.bytes).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.lock().held -= self.bytes;
        if let Some(pool) = &self.budget.pool {
            pool.give_back(self.bytes);
        }
        self.budget.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Full};
    use crate::waist::Pool;

    #[test]
    fn a_session_holds_no_more_than_its_maximum_and_a_refusal_takes_nothing() {
        let budget = Budget::new(10);
        let mut first = budget.try_hold(4).unwrap();
        assert_eq!(budget.try_hold(7).unwrap_err(), Full::Session(10));
        assert_eq!(first.grow(7), Err(Full::Session(10)));
        assert_eq!(first.grow(6), Ok(()));
        assert_eq!(budget.held(), 10);
        drop(first);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_greedy_session_leaves_others_their_share() {
        let pool = Pool::new(80);
        let greedy = Budget::within(&pool, 1_000);
        let modest = Budget::within(&pool, 1_000);
        let much = greedy.try_hold(70).unwrap();
        assert_eq!(greedy.try_hold(1).unwrap_err(), Full::Host(80));
        let little = modest.try_hold(10).unwrap();
        assert_eq!(modest.try_hold(1).unwrap_err(), Full::Host(80));
        drop(much);
        assert_eq!(pool.held(), 10);
        assert!(modest.try_hold(60).is_ok());
        drop(little);
        assert_eq!((pool.held(), pool.maximum()), (0, 80));
    }

    #[test]
    fn a_session_that_is_gone_has_no_share_any_more() {
        let pool = Pool::new(80);
        let first = Budget::within(&pool, 1_000);
        {
            let _second = Budget::within(&pool, 1_000);
            let state = first.lock();
            assert!(first.fits(&state, 40) && !first.fits(&state, 41));
        }
        let state = first.lock();
        assert!(first.fits(&state, 80) && !first.fits(&state, 81));
    }

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
