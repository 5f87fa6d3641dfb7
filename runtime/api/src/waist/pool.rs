// SPDX-License-Identifier: Apache-2.0
//! What all sessions of a host share: bytes, or places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The part of a pool that only those get who have less than their share, as a divisor.
const RESERVE: usize = 8;

/// So many bytes, or places, for all sessions of a host together.
///
/// A session may take more than its share for as long as others leave it, but the last eighth is for
/// those only who have less than theirs: whoever comes late finds some, however greedy the first is.
/// A share is what each would have if there were one session more than there is.
pub struct Pool {
    maximum: usize,
    held: AtomicUsize,
    members: AtomicUsize,
}

impl Pool {
    /// A pool of so many.
    pub fn new(maximum: usize) -> Arc<Self> {
        Arc::new(Self {
            maximum,
            held: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
        })
    }

    /// How many there are.
    pub fn maximum(&self) -> usize {
        self.maximum
    }

    /// How many are taken.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// What is every session's when all ask.
    pub(super) fn share(&self) -> usize {
        self.maximum / self.members.load(Ordering::Acquire).max(1)
    }

    /// Takes more for a session that has `own`, if it may have it.
    pub(super) fn try_take(&self, own: usize, more: usize) -> bool {
        let members = self.members.load(Ordering::Acquire);
        self.held
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                may_have(self.maximum, members, held, own, more).then_some(held + more)
            })
            .is_ok()
    }

    /// Takes more in any case.
    pub(super) fn take(&self, more: usize) {
        self.held.fetch_add(more, Ordering::AcqRel);
    }

    pub(super) fn give_back(&self, amount: usize) {
        self.held.fetch_sub(amount, Ordering::AcqRel);
    }

    pub(super) fn join(&self) {
        self.members.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn leave(&self) {
        self.members.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether one of `members` who has `own` may have `more` of `maximum`, of which `held` are taken.
fn may_have(maximum: usize, members: usize, held: usize, own: usize, more: usize) -> bool {
    let wanted = held.saturating_add(more);
    let share = maximum / members.saturating_add(1);
    let most = match own.saturating_add(more) <= share {
        true => maximum,
        false => maximum - maximum / RESERVE,
    };
    wanted <= most
}

#[cfg(test)]
mod tests {
    use super::may_have;

    #[test]
    fn a_session_alone_takes_all_but_the_last_eighth() {
        let taken = (0..)
            .take_while(|held| may_have(128, 1, *held, *held, 1))
            .count();
        assert_eq!(taken, 112);
        // Of a few there is no eighth to keep.
        assert!(may_have(2, 1, 1, 1, 1));
    }

    #[test]
    fn who_has_less_than_its_share_finds_some_of_what_another_has_left() {
        // One holds 112 of 128; the other gets what is left, up to its share.
        let taken = (0..)
            .take_while(|own| may_have(128, 2, 112 + own, *own, 1))
            .count();
        assert_eq!(taken, 16);
        assert!(!may_have(128, 2, 112, 112, 1));
    }

    #[test]
    fn nobody_gets_more_than_there_is() {
        assert!(!may_have(100, 9, 95, 0, 10));
        assert!(!may_have(100, 9, usize::MAX, 0, 10));
        assert!(may_have(100, 9, 90, 0, 10));
    }
}
