// SPDX-License-Identifier: Apache-2.0
//! The values that the cells of one session share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{LimitName, RawJson};

/// The bounds of a store; see the constants in [`crate::limits`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreBounds {
    pub(crate) value_bytes: usize,
    pub(crate) bytes: usize,
    pub(crate) keys: usize,
}

/// Which bound a write would pass, and its value.
pub(crate) type StoreFull = (LimitName, u64);

/// The values of a session at one moment, by key, as JSON text. Cheap to clone.
pub(crate) type Snapshot = Arc<BTreeMap<String, Arc<str>>>;

/// The committed values of a session and what its running cells have reserved.
pub(crate) struct Store {
    bounds: StoreBounds,
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    /// Copied by a commit only if a running cell has a snapshot of it.
    values: Snapshot,
    bytes: usize,
    reserved_bytes: usize,
    reserved_keys: usize,
}

impl Store {
    pub(crate) fn new(bounds: StoreBounds) -> Self {
        Self {
            bounds,
            state: Mutex::default(),
        }
    }

    /// All committed values as they are now. A cell sees those of the moment in which it began, and
    /// its own.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Arc::clone(&self.lock().values)
    }

    /// Bytes of all keys and committed values.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Commits all of `values`, or none when a bound would be passed.
    pub(crate) fn import(
        self: &Arc<Self>,
        values: BTreeMap<String, RawJson>,
    ) -> Result<(), StoreFull> {
        let mut writes = Writes::new(self);
        for (key, value) in values {
            writes.put(key, Arc::from(value.get()))?;
        }
        writes.commit();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one cell has stored and the others do not see yet.
///
/// Its size is reserved in the session's store at the time of the write, on top of what it will
/// replace, so that a commit can never fail. What is not committed is given back by the drop.
pub(crate) struct Writes {
    store: Arc<Store>,
    values: HashMap<String, Arc<str>>,
    bytes: usize,
}

impl Writes {
    /// No writes yet, to this store.
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self {
            store: Arc::clone(store),
            values: HashMap::new(),
            bytes: 0,
        }
    }

    /// The cell's own value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.values.get(key)
    }

    /// Stores a value, or says which bound that would pass.
    pub(crate) fn put(&mut self, key: String, value: Arc<str>) -> Result<(), StoreFull> {
        let bounds = self.store.bounds;
        if value.len() > bounds.value_bytes {
            return Err((LimitName::StoredValueBytes, bounds.value_bytes as u64));
        }
        let old = self.values.get(&key).map_or(0, |old| key.len() + old.len());
        let is_new = !self.values.contains_key(&key);
        let new = key.len() + value.len();
        {
            let mut state = self.store.lock();
            let bytes = state.reserved_bytes - old + new;
            let keys = state.reserved_keys + usize::from(is_new);
            if state.bytes + bytes > bounds.bytes {
                return Err((LimitName::StoreBytes, bounds.bytes as u64));
            }
            if is_new && !state.values.contains_key(&key) && state.values.len() + keys > bounds.keys
            {
                return Err((LimitName::StoreKeys, bounds.keys as u64));
            }
            state.reserved_bytes = bytes;
            state.reserved_keys = keys;
        }
        self.bytes = self.bytes - old + new;
        self.values.insert(key, value);
        Ok(())
    }

    /// Makes what was written visible to the others.
    pub(crate) fn commit(&mut self) {
        let written = std::mem::take(&mut self.values);
        let reserved = std::mem::take(&mut self.bytes);
        if written.is_empty() {
            return;
        }
        let mut state = self.store.lock();
        // In one step with what comes now, so that nobody else takes the room in between.
        state.reserved_bytes -= reserved;
        state.reserved_keys -= written.len();
        let StoreState { values, bytes, .. } = &mut *state;
        let values = Arc::make_mut(values);
        for (key, value) in written {
            let key_bytes = key.len();
            *bytes += key_bytes + value.len();
            if let Some(old) = values.insert(key, value) {
                *bytes -= key_bytes + old.len();
            }
        }
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        state.reserved_bytes -= self.bytes;
        state.reserved_keys -= self.values.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Arc<Store> {
        Arc::new(Store::new(StoreBounds {
            value_bytes: 10,
            bytes: 20,
            keys: 2,
        }))
    }

    fn put(writes: &mut Writes, key: &str, value: &str) -> Result<(), StoreFull> {
        writes.put(key.to_owned(), Arc::from(value))
    }

    #[test]
    fn what_is_not_committed_is_given_back() {
        let store = store();
        let mut writes = Writes::new(&store);
        put(&mut writes, "a", "123456789").expect("it fits");
        put(&mut writes, "b", "12345678").expect("it fits");
        let mut others = Writes::new(&store);
        let full = put(&mut others, "a", "1");
        assert_eq!(full, Err((LimitName::StoreBytes, 20)));
        drop(writes);
        put(&mut others, "c", "123456789").expect("there is room again");
        put(&mut others, "d", "12345678").expect("there is room again");
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let store = store();
        let before = store.snapshot();
        let mut writes = Writes::new(&store);
        put(&mut writes, "a", "1").expect("it fits");
        writes.commit();
        assert!(before.is_empty());
        assert_eq!(store.snapshot().get("a").map(|value| &**value), Some("1"));
        assert_eq!(store.bytes(), 2);
    }

    #[test]
    fn committed_writes_hold_their_room_at_every_moment() {
        let store = store();
        let mut writes = Writes::new(&store);
        put(&mut writes, "a", "123456789").expect("it fits");
        put(&mut writes, "b", "123456789").expect("it fits");
        writes.commit();
        let mut others = Writes::new(&store);
        assert_eq!(put(&mut others, "a", "1"), Err((LimitName::StoreBytes, 20)));
    }
}
