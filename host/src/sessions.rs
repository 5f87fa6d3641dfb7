//! The sessions of one connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{CellId, SessionId};
use code_mode_runtime::Session;

use crate::output::SessionBounds;
use crate::session::SessionLink;
use crate::tombstones::Tombstones;

/// Bytes of a text that names the cells that hold all slots; the rest is left out.
const MAX_HOLDERS_BYTES: usize = 2_048;

/// A session that can be asked for something.
#[derive(Clone)]
pub(crate) struct OpenSession {
    pub(crate) session: Session,
    pub(crate) link: Arc<SessionLink>,
    pub(crate) bounds: SessionBounds,
}

/// The sessions of one connection: open, being shut down, and remembered.
pub(crate) struct Sessions(Mutex<State>);

struct State {
    known: HashMap<SessionId, Entry>,
    closed: Tombstones<SessionId>,
}

struct Entry {
    open: OpenSession,
    /// A shutdown was asked for; to the client the session is gone.
    closing: bool,
}

impl Sessions {
    /// No session yet; remembers this many closed ones.
    pub(crate) fn new(remembered: usize) -> Self {
        Self(Mutex::new(State {
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
    pub(crate) fn insert(&self, id: SessionId, open: OpenSession) {
        self.lock().known.insert(
            id,
            Entry {
                open,
                closing: false,
            },
        );
    }

    /// A session that is open.
    pub(crate) fn find(&self, id: &SessionId) -> Option<OpenSession> {
        let state = self.lock();
        state
            .known
            .get(id)
            .filter(|entry| !entry.closing)
            .map(|entry| entry.open.clone())
    }

    /// A session that is open, which is not found any more from now on.
    pub(crate) fn begin_closing(&self, id: &SessionId) -> Option<OpenSession> {
        let mut state = self.lock();
        let entry = state.known.get_mut(id).filter(|entry| !entry.closing)?;
        entry.closing = true;
        Some(entry.open.clone())
    }

    /// A session has ended; its id is remembered.
    pub(crate) fn closed(&self, id: &SessionId) {
        let mut state = self.lock();
        let entry = state.known.remove(id);
        state.closed.bury(id.clone());
        drop(state);
        // Dropping the last clone of a session calls the runtime, which must not meet the lock.
        drop(entry);
    }

    /// Every session that has not ended.
    pub(crate) fn all(&self) -> Vec<(SessionId, OpenSession)> {
        let state = self.lock();
        state
            .known
            .iter()
            .map(|(id, entry)| (id.clone(), entry.open.clone()))
            .collect()
    }

    /// Names the cells that run, for the error that says that no more may.
    pub(crate) fn holders(&self) -> String {
        let state = self.lock();
        let mut text = String::from("held by");
        for (id, entry) in &state.known {
            let cells = entry.open.link.closing.running();
            if cells.is_empty() {
                continue;
            }
            if text.len() > MAX_HOLDERS_BYTES {
                return text + " and more";
            }
            let numbers: Vec<&str> = cells.iter().map(CellId::as_str).collect();
            text.push_str(&format!(" session {id}: {};", numbers.join(", ")));
        }
        text.truncate(text.trim_end_matches(';').len());
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
