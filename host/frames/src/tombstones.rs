// SPDX-License-Identifier: Apache-2.0
//! Ids that are over and done with, remembered within a bound.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// The last so many ids that were buried. The oldest is forgotten first.
#[derive(Debug)]
pub(crate) struct Tombstones<T> {
    known: HashSet<T>,
    order: VecDeque<T>,
    capacity: usize,
}

impl<T: Hash + Eq + Clone> Tombstones<T> {
    /// A set that remembers at most `capacity` ids.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            known: HashSet::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    /// Remembers an id and gives the one that had to be forgotten for it, if any.
    pub(crate) fn bury(&mut self, id: T) -> Option<T> {
        if self.capacity == 0 {
            return Some(id);
        }
        if !self.known.insert(id.clone()) {
            return None;
        }
        self.order.push_back(id);
        if self.order.len() <= self.capacity {
            return None;
        }
        let forgotten = self.order.pop_front()?;
        self.known.remove(&forgotten);
        Some(forgotten)
    }

    /// Whether the id is remembered.
    pub(crate) fn contains(&self, id: &T) -> bool {
        self.known.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_id_is_forgotten_first_and_named() {
        let mut tombstones = Tombstones::new(2);
        assert_eq!(tombstones.bury(1), None);
        assert_eq!(tombstones.bury(2), None);
        assert_eq!(tombstones.bury(3), Some(1));
        assert!(!tombstones.contains(&1));
        assert!(tombstones.contains(&2) && tombstones.contains(&3));
    }

    #[test]
    fn burying_an_id_twice_takes_no_second_place() {
        let mut tombstones = Tombstones::new(2);
        tombstones.bury(1);
        tombstones.bury(1);
        assert_eq!(tombstones.bury(2), None);
        assert!(tombstones.contains(&1));
    }

    #[test]
    fn a_set_of_no_capacity_remembers_nothing() {
        let mut tombstones = Tombstones::new(0);
        assert_eq!(tombstones.bury(1), Some(1));
        assert!(!tombstones.contains(&1));
    }
}
