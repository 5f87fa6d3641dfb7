// SPDX-License-Identifier: Apache-2.0
//! What all sessions of a runtime share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{LimitName, SessionError, SessionId};

use crate::backend::Backend;
use crate::shared::Shared;

/// What sessions know of their runtime.
pub(crate) struct RuntimeCore {
    pub(crate) shared: Arc<Shared>,
    pub(crate) backend: Backend,
    sessions: Mutex<HashSet<SessionId>>,
    next_session: AtomicU64,
}

/// The place of a session among those of its runtime, and its id, which nobody else has until this is
/// dropped.
pub(crate) struct SessionPlace {
    id: SessionId,
    runtime: Arc<RuntimeCore>,
}

impl SessionPlace {
    /// The session's id.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// Whose place it is.
    pub(crate) fn runtime(&self) -> &Arc<RuntimeCore> {
        &self.runtime
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.runtime.sessions().remove(&self.id);
    }
}

impl RuntimeCore {
    pub(crate) fn new(shared: Arc<Shared>, backend: Backend) -> Arc<Self> {
        Arc::new(Self {
            shared,
            backend,
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
        })
    }

    /// Takes a place for a session: the id that is asked for, or one of the runtime's own.
    pub(crate) fn take_place(
        self: &Arc<Self>,
        id: Option<SessionId>,
    ) -> Result<SessionPlace, SessionError> {
        let mut sessions = self.sessions();
        if let Some(session_id) = id.as_ref().filter(|id| sessions.contains(*id)) {
            return Err(SessionError::DuplicateSession {
                session_id: session_id.clone(),
            });
        }
        let maximum = self.shared.config.max_sessions;
        if sessions.len() >= maximum {
            return Err(SessionError::Limit {
                limit: LimitName::Sessions,
                maximum: maximum as u64,
                detail: "shut a session down first".to_owned(),
            });
        }
        let id = match id {
            Some(id) => id,
            None => self.fresh_session_id(&sessions)?,
        };
        sessions.insert(id.clone());
        drop(sessions);
        Ok(SessionPlace {
            id,
            runtime: Arc::clone(self),
        })
    }

    fn fresh_session_id(&self, taken: &HashSet<SessionId>) -> Result<SessionId, SessionError> {
        loop {
            let number = self.next_session.fetch_add(1, Ordering::Relaxed);
            match SessionId::new(format!("session-{number}")) {
                Some(id) if !taken.contains(&id) => return Ok(id),
                Some(_) => {}
                None => {
                    return Err(SessionError::InvalidRequest {
                        message: "a session id must not be empty".to_owned(),
                    });
                }
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        // Nothing panics while the lock is held except a failed allocation, after which the set is whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
