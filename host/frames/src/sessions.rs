// SPDX-License-Identifier: Apache-2.0
//! The sessions of one connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::SessionId;

use crate::session::DoorSession;
use crate::tombstones::Tombstones;

/// The sessions of one connection: open, being shut down, and remembered.
pub(crate) struct Sessions(Mutex<SessionTable>);

struct SessionTable {
    known: HashMap<SessionId, Entry>,
    closed: Tombstones<SessionId>,
}

struct Entry {
    open: Arc<DoorSession>,
    /// A shutdown was asked for; to the client the session is gone.
    closing: bool,
}

impl Sessions {
    /// No session yet; remembers this many closed ones.
    pub(crate) fn new(remembered: usize) -> Self {
        Self(Mutex::new(SessionTable {
            known: HashMap::new(),
            closed: Tombstones::new(remembered),
        }))
    }

    /// Whether the client has used this id before, as far as that is remembered.
    pub(crate) fn was_used(&self, id: &SessionId) -> bool {
        let state = self.lock();
        state.known.contains_key(id) || state.closed.contains(id)
    }

    /// Takes a session in.
    pub(crate) fn insert(&self, id: SessionId, open: Arc<DoorSession>) {
        self.lock().known.insert(
            id,
            Entry {
                open,
                closing: false,
            },
        );
    }

    /// A session that is open.
    pub(crate) fn find(&self, id: &SessionId) -> Option<Arc<DoorSession>> {
        let state = self.lock();
        state
            .known
            .get(id)
            .filter(|entry| !entry.closing)
            .map(|entry| Arc::clone(&entry.open))
    }

    /// A session that is open, which is not found any more from now on.
    pub(crate) fn begin_closing(&self, id: &SessionId) -> Option<Arc<DoorSession>> {
        let mut state = self.lock();
        let entry = state.known.get_mut(id).filter(|entry| !entry.closing)?;
        entry.closing = true;
        Some(Arc::clone(&entry.open))
    }

    /// A session has ended; its id is remembered.
    pub(crate) fn closed(&self, id: &SessionId) {
        let mut state = self.lock();
        let entry = state.known.remove(id);
        state.closed.bury(id.clone());
        drop(state);
        // The last drop of a session ends its cells, which must not meet the lock.
        drop(entry);
    }

    /// Every session that has not ended.
    pub(crate) fn all(&self) -> Vec<(SessionId, Arc<DoorSession>)> {
        let state = self.lock();
        state
            .known
            .iter()
            .map(|(id, entry)| (id.clone(), Arc::clone(&entry.open)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, SessionTable> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
