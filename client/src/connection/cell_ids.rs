// SPDX-License-Identifier: Apache-2.0
//! Which cell ids a session's host has given, in memory that does not grow with the cells.

use std::collections::BTreeMap;

/// How many runs of consecutive ids are told apart. Ids are given nearly in order, so a healthy
/// host needs few; past this the gap between the two lowest runs counts as given.
pub(super) const MAX_RUNS: usize = 1024;

/// A set of numbers that is cheap while they are nearly consecutive.
#[derive(Debug, Default)]
pub(super) struct CellIds {
    /// First and last number of each run; runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
}

impl CellIds {
    /// Whether this id was given.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.runs
            .range(..=id)
            .next_back()
            .is_some_and(|(_, last)| *last >= id)
    }

    /// Takes note of an id; `false` when it was given before.
    pub(super) fn insert(&mut self, id: u64) -> bool {
        if self.contains(id) {
            return false;
        }
        let before = self
            .runs
            .range(..id)
            .next_back()
            .filter(|(_, last)| **last + 1 == id);
        let first = before.map_or(id, |(first, _)| *first);
        let last = id
            .checked_add(1)
            .and_then(|next| self.runs.remove(&next))
            .unwrap_or(id);
        self.runs.insert(first, last);
        if self.runs.len() > MAX_RUNS {
            self.merge_lowest();
        }
        true
    }

    fn merge_lowest(&mut self) {
        if let (Some((first, _)), Some((_, last))) = (self.runs.pop_first(), self.runs.pop_first())
        {
            self.runs.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_any_order_are_each_given_once() {
        let mut ids = CellIds::default();
        for id in [2, 1, 5, 4, 3, 9, u64::MAX, u64::MAX - 1] {
            assert!(!ids.contains(id));
            assert!(ids.insert(id));
            assert!(ids.contains(id) && !ids.insert(id));
        }
        assert!(!ids.contains(6) && !ids.contains(0));
        assert_eq!(ids.runs.len(), 3);
    }

    #[test]
    fn a_million_consecutive_ids_are_one_run() {
        let mut ids = CellIds::default();
        assert!((1..=1_000_000).all(|id| ids.insert(id)));
        assert_eq!(ids.runs.len(), 1);
    }

    #[test]
    fn gaps_are_bounded_and_the_oldest_counts_as_given() {
        let mut ids = CellIds::default();
        assert!((0..=MAX_RUNS as u64).all(|n| ids.insert(2 * n + 1)));
        assert_eq!(ids.runs.len(), MAX_RUNS);
        assert!(ids.contains(2) && !ids.contains(4));
    }
}
