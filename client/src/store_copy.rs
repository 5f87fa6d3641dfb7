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
    /// Values may have been stored since the copy was asked for.
    outdated: bool,
    /// A newer copy was asked for and has not come yet.
    asked: bool,
}

impl StoreCopy {
    /// Takes note that values may have been stored. `true` when a newer copy is to be asked for now.
    pub(crate) fn note_change(&mut self) -> bool {
        self.outdated = true;
        self.ask()
    }

    fn ask(&mut self) -> bool {
        if self.asked || !self.outdated {
            return false;
        }
        self.asked = true;
        self.outdated = false;
        true
    }

    /// Takes what was asked for; `None` when it could not be had. `true` when values may have been
    /// stored meanwhile and the next copy is to be asked for.
    pub(crate) fn take(&mut self, values: Option<BTreeMap<String, RawJson>>) -> bool {
        self.asked = false;
        match values {
            Some(values) => {
                self.values = values;
                self.ask()
            }
            None => {
                self.outdated = true;
                false
            }
        }
    }

    /// Takes values that somebody else has asked for; they are at least as new as those that are kept.
    pub(crate) fn see(&mut self, values: BTreeMap<String, RawJson>) {
        self.values = values;
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
            is_current: !self.outdated && !self.asked,
        }
    }

    /// Takes note that a fresh host has the values of this copy, and nothing else.
    pub(crate) fn was_put_back(&mut self) {
        self.outdated = false;
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
        assert!(copy.note_change());
        assert!(!copy.note_change() && !copy.note_change());
        assert!(copy.take(Some(one())), "the next one");
        assert_eq!(state(&copy), (1, false));
        assert!(!copy.take(Some(BTreeMap::new())));
        assert_eq!(state(&copy), (0, true));
    }

    #[test]
    fn a_copy_that_could_not_be_had_leaves_an_older_one_that_says_so() {
        let mut copy = StoreCopy::default();
        assert!(copy.note_change());
        assert!(!copy.take(Some(one())));
        assert!(copy.note_change());
        assert!(!copy.take(None));
        assert_eq!(state(&copy), (1, false));
        copy.was_put_back();
        assert_eq!(state(&copy), (1, true));
        assert!(copy.note_change());
    }

    #[test]
    fn added_values_are_in_the_copy_before_the_next_is_asked_for() {
        let mut copy = StoreCopy::default();
        copy.add(one());
        assert_eq!(state(&copy), (1, true));
        assert!(copy.note_change());
        assert_eq!(state(&copy), (1, false));
    }
}
