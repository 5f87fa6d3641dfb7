// SPDX-License-Identifier: Apache-2.0
//! The client's copy of a session's stored values, from which a fresh host gets them back.
//!
//! `code_mode_embed` keeps a copy of its own and switches this one off where it makes the provider. It cannot
//! stand in for this one: who embeds the client alone has no other, and only the client knows a fresh host
//! before the first execute goes there, so that no script waits for a question whether the values are there.
//! Nor can this one stand in for that: it follows the host, whose newer values displace what it holds, and
//! hands nothing out.

use std::collections::BTreeMap;

use code_mode_api::{RawJson, RestoredStore};

/// A copy of a session's stored values, of the size of one frame at most, and how good it is.
#[derive(Debug, Default)]
pub(crate) struct StoreCopy {
    values: Option<BTreeMap<String, RawJson>>,
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
                self.values = Some(values);
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
        self.values = Some(values);
    }

    /// The values to put back, and what to say of them; `None` when there is no copy.
    pub(crate) fn to_restore(&self) -> Option<(BTreeMap<String, RawJson>, RestoredStore)> {
        let values = self.values.clone()?;
        let restored = RestoredStore {
            values: values.len(),
            is_current: !self.outdated && !self.asked,
        };
        Some((values, restored))
    }

    /// Takes note that a fresh host has the values of this copy, and nothing else.
    pub(crate) fn restored(&mut self) {
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

    fn state(copy: &StoreCopy) -> Option<(usize, bool)> {
        copy.to_restore()
            .map(|(_, restored)| (restored.values, restored.is_current))
    }

    #[test]
    fn changes_while_a_copy_is_under_way_are_one_more_copy() {
        let mut copy = StoreCopy::default();
        assert_eq!(state(&copy), None);
        assert!(copy.note_change());
        assert!(!copy.note_change() && !copy.note_change());
        assert!(copy.take(Some(one())), "the next one");
        assert_eq!(state(&copy), Some((1, false)));
        assert!(!copy.take(Some(BTreeMap::new())));
        assert_eq!(state(&copy), Some((0, true)));
    }

    #[test]
    fn a_copy_that_could_not_be_had_leaves_an_older_one_that_says_so() {
        let mut copy = StoreCopy::default();
        assert!(copy.note_change());
        assert!(!copy.take(Some(one())));
        assert!(copy.note_change());
        assert!(!copy.take(None));
        assert_eq!(state(&copy), Some((1, false)));
        copy.restored();
        assert_eq!(state(&copy), Some((1, true)));
        assert!(copy.note_change());
    }
}
