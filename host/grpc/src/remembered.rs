// SPDX-License-Identifier: Apache-2.0
//! Ids that were used, as far back as a bound reaches.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// The last so many ids.
pub(crate) struct Remembered {
    bound: usize,
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Remembered {
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            bound,
            known: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    /// Whether the id was used.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.known.contains(id)
    }

    /// Takes note of an id. False when it was used before.
    pub(crate) fn insert(&mut self, id: &str) -> bool {
        if self.known.contains(id) {
            return false;
        }
        let id: Arc<str> = Arc::from(id);
        self.known.insert(Arc::clone(&id));
        self.order.push_back(id);
        if self.order.len() > self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Remembered;

    #[test]
    fn the_oldest_id_is_forgotten_when_the_bound_is_passed() {
        let mut ids = Remembered::new(2);
        assert!(ids.insert("a") && ids.insert("b"));
        assert!(!ids.insert("a"));
        assert!(ids.insert("c"));
        assert!(!ids.contains("a") && ids.contains("b") && ids.contains("c"));
    }
}
