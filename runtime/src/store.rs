//! The values that the cells of one session share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

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

/// The committed values of a session and what its running cells have reserved.
pub(crate) struct Store {
    bounds: StoreBounds,
    state: Mutex<StoreState>,
}

#[derive(Default)]
struct StoreState {
    values: BTreeMap<String, Arc<str>>,
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

    /// The committed value of `key`, as JSON text.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<str>> {
        self.lock().values.get(key).cloned()
    }

    /// All committed values.
    pub(crate) fn export(&self) -> BTreeMap<String, Arc<str>> {
        self.lock().values.clone()
    }

    /// Commits all of `values`, or none when a bound would be passed.
    pub(crate) fn import(&self, values: BTreeMap<String, RawJson>) -> Result<(), StoreFull> {
        let mut writes = PendingWrites::default();
        let result = values
            .into_iter()
            .try_for_each(|(key, value)| writes.put(self, key, Arc::from(value.get())));
        match result {
            Ok(()) => self.commit(writes),
            Err(_) => self.give_back(&writes),
        }
        result
    }

    /// Makes the writes of an ended cell visible to the others.
    pub(crate) fn commit(&self, writes: PendingWrites) {
        self.give_back(&writes);
        let mut state = self.lock();
        for (key, value) in writes.values {
            let added = key.len() + value.len();
            let key_len = key.len();
            if let Some(old) = state.values.insert(key, value) {
                state.bytes -= key_len + old.len();
            }
            state.bytes += added;
        }
    }

    fn give_back(&self, writes: &PendingWrites) {
        let mut state = self.lock();
        state.reserved_bytes -= writes.bytes;
        state.reserved_keys -= writes.values.len();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one cell has stored and the others do not see yet.
///
/// Its size is reserved in the session's store at the time of the write, on top of what it will
/// replace, so that a commit can never fail.
#[derive(Default)]
pub(crate) struct PendingWrites {
    values: HashMap<String, Arc<str>>,
    bytes: usize,
}

impl PendingWrites {
    /// The cell's own value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.values.get(key)
    }

    /// Stores a value, or says which bound that would pass.
    pub(crate) fn put(
        &mut self,
        store: &Store,
        key: String,
        value: Arc<str>,
    ) -> Result<(), StoreFull> {
        let bounds = store.bounds;
        if value.len() > bounds.value_bytes {
            return Err((LimitName::StoredValueBytes, bounds.value_bytes as u64));
        }
        let old = self.values.get(&key).map_or(0, |old| key.len() + old.len());
        let new = key.len() + value.len();
        let mut state = store.lock();
        let bytes = state.reserved_bytes - old + new;
        let keys = state.reserved_keys + usize::from(old == 0);
        if state.bytes + bytes > bounds.bytes {
            return Err((LimitName::StoreBytes, bounds.bytes as u64));
        }
        if old == 0 && !state.values.contains_key(&key) && state.values.len() + keys > bounds.keys {
            return Err((LimitName::StoreKeys, bounds.keys as u64));
        }
        state.reserved_bytes = bytes;
        state.reserved_keys = keys;
        self.bytes = self.bytes - old + new;
        self.values.insert(key, value);
        Ok(())
    }
}
