// SPDX-License-Identifier: Apache-2.0
//! The client's copy of a session's stored values, from which a fresh host gets them back.
//!
//! It is kept here and nowhere above, because only the client knows a fresh host before the first execute
//! goes there: no script has to wait for a question whether the values are there.

use std::collections::BTreeMap;

use code_mode_api::{RawJson, RestoredStore};

/// A copy of a session's stored values, of the size of one frame at most, and how good it is. The first one
/// is empty, as a new session's store is.
#[derive(Debug, Default)]
pub(crate) struct StoreCopy {
    values: BTreeMap<String, RawJson>,
    /// How often values may have been stored, as far as it is known here.
    changes: u64,
    /// How many of these the copy has seen.
    seen: u64,
    /// The newer copy that was asked for and has not come yet.
    asked: Option<AsOf>,
}

/// A state of the store: values that are asked for now have at least these changes in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AsOf(u64);

impl StoreCopy {
    /// The state that values have at least that are asked for now.
    pub(crate) fn now(&self) -> AsOf {
        AsOf(self.changes)
    }

    /// Takes note that values may have been stored. What it gives is a newer copy that is to be asked for now.
    pub(crate) fn note_change(&mut self) -> Option<AsOf> {
        self.changes += 1;
        self.ask()
    }

    fn ask(&mut self) -> Option<AsOf> {
        if self.asked.is_some() || self.is_current() {
            return None;
        }
        self.asked = Some(self.now());
        self.asked
    }

    fn is_current(&self) -> bool {
        self.seen == self.changes
    }

    /// Takes what was asked for; `None` when it could not be had. What it gives is the next copy to be asked for, when
    /// values may have been stored meanwhile.
    pub(crate) fn take(
        &mut self,
        asked: AsOf,
        values: Option<BTreeMap<String, RawJson>>,
    ) -> Option<AsOf> {
        // What was asked of a lost host is waited for no longer.
        self.asked.take_if(|open| *open == asked)?;
        self.see(asked, values?);
        self.ask()
    }

    /// Takes values, whoever has asked for them, unless the copy has newer ones.
    pub(crate) fn see(&mut self, as_of: AsOf, values: BTreeMap<String, RawJson>) {
        if as_of.0 >= self.seen {
            self.values = values;
            self.seen = as_of.0;
        }
    }

    /// Takes values that were added to those in the host.
    pub(crate) fn add(&mut self, values: BTreeMap<String, RawJson>) {
        self.values.extend(values);
    }

    /// The values, as far as they are known.
    pub(crate) fn values(&self) -> BTreeMap<String, RawJson> {
        self.values.clone()
    }

    /// What is to be said of these values when they are put back.
    pub(crate) fn restored(&self) -> RestoredStore {
        RestoredStore {
            values: self.values.len(),
            is_current: self.is_current(),
        }
    }

    /// Takes note that a fresh host has the values of this copy, and nothing else.
    pub(crate) fn was_put_back(&mut self) {
        self.seen = self.changes;
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn one() -> BTreeMap<String, RawJson> {
        [("n".to_owned(), RawValue::NULL.to_owned())].into()
    }

    fn state(copy: &StoreCopy) -> (usize, bool) {
        let restored = copy.restored();
        (restored.values, restored.is_current)
    }

    #[test]
    fn changes_while_a_copy_is_under_way_are_one_more_copy() {
        let mut copy = StoreCopy::default();
        assert_eq!(state(&copy), (0, true), "nothing is stored yet");
        let first = copy.note_change().expect("a newer one");
        assert_eq!(copy.note_change(), None);
        assert_eq!(copy.note_change(), None);
        let next = copy.take(first, Some(one())).expect("the next one");
        assert_eq!(state(&copy), (1, false));
        assert_eq!(copy.take(next, Some(BTreeMap::new())), None);
        assert_eq!(state(&copy), (0, true));
    }

    #[test]
    fn a_copy_that_could_not_be_had_leaves_an_older_one_that_says_so() {
        let mut copy = StoreCopy::default();
        let first = copy.note_change().expect("a newer one");
        assert_eq!(copy.take(first, Some(one())), None);
        let second = copy.note_change().expect("a newer one");
        assert_eq!(copy.take(second, None), None);
        assert_eq!(state(&copy), (1, false));
        copy.was_put_back();
        assert_eq!(state(&copy), (1, true));
        assert!(copy.note_change().is_some());
    }

    #[test]
    fn values_that_somebody_else_has_asked_for_are_as_good_as_their_own_ask() {
        let mut copy = StoreCopy::default();
        let before = copy.now();
        let own = copy.note_change().expect("a newer one");
        copy.see(copy.now(), one());
        assert_eq!(state(&copy), (1, true), "whatever becomes of its own");
        copy.see(before, BTreeMap::new());
        assert_eq!(state(&copy), (1, true), "older ones are none");
        assert_eq!(copy.take(own, None), None);
        assert_eq!(state(&copy), (1, true));
    }

    #[test]
    fn what_was_asked_of_a_lost_host_holds_up_nothing() {
        let mut copy = StoreCopy::default();
        let lost = copy.note_change().expect("a newer one");
        copy.was_put_back();
        let own = copy.note_change().expect("that of the fresh host");
        assert_eq!(copy.take(lost, None), None);
        assert_eq!(copy.note_change(), None, "one at a time");
        assert!(copy.take(own, Some(one())).is_some());
    }

    #[test]
    fn added_values_are_in_the_copy_before_the_next_is_asked_for() {
        let mut copy = StoreCopy::default();
        copy.add(one());
        assert_eq!(state(&copy), (1, true));
        assert!(copy.note_change().is_some());
        assert_eq!(state(&copy), (1, false));
    }
}
