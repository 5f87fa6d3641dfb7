// SPDX-License-Identifier: Apache-2.0
//! The places of a provider's sessions: how many there are, and under which ids.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{LimitName, SessionError, SessionId};

/// How many ids of closed sessions are remembered, so that opening one again is refused.
pub const MAX_REMEMBERED_SESSION_IDS: usize = 4096;

/// The session ids of a provider.
pub(crate) struct Registry {
    max_sessions: usize,
    next: AtomicU64,
    ids: Mutex<Ids>,
}

#[derive(Default)]
struct Ids {
    open: HashSet<SessionId>,
    closed: HashSet<SessionId>,
    closed_order: VecDeque<SessionId>,
}

/// The place of an open session in its provider; given up when nobody holds the session any more and
/// its host has closed it, or has ended.
pub(crate) struct Place {
    pub(crate) id: SessionId,
    registry: Arc<Registry>,
}

impl Registry {
    /// A registry of a provider that may have so many sessions open.
    pub(crate) fn new(max_sessions: usize) -> Arc<Self> {
        Arc::new(Self {
            max_sessions,
            next: AtomicU64::new(1),
            ids: Mutex::default(),
        })
    }

    /// A place for the session with this id, or with one that is chosen here.
    ///
    /// # Errors
    /// When there are too many, or the id is or was in use.
    pub(crate) fn enter(
        registry: &Arc<Self>,
        wanted: Option<SessionId>,
    ) -> Result<Place, SessionError> {
        let mut ids = registry.lock();
        if ids.open.len() >= registry.max_sessions {
            return Err(SessionError::Limit {
                limit: LimitName::Sessions,
                maximum: registry.max_sessions as u64,
                detail: "shut one down, or raise ProviderConfig::max_sessions".to_owned(),
            });
        }
        let id = match wanted {
            Some(id) if ids.is_used(&id) => {
                return Err(SessionError::DuplicateSession { session_id: id });
            }
            Some(id) => id,
            None => registry.choose(&ids),
        };
        ids.open.insert(id.clone());
        drop(ids);
        Ok(Place {
            id,
            registry: Arc::clone(registry),
        })
    }

    fn choose(&self, ids: &Ids) -> SessionId {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            // The text is never empty, and the numbers outlast the ids that were chosen by hand.
            if let Some(id) =
                SessionId::new(format!("session-{number}")).filter(|id| !ids.is_used(id))
            {
                return id;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn is_used(&self, id: &SessionId) -> bool {
        self.open.contains(id) || self.closed.contains(id)
    }
}

impl Place {
    /// A place in a provider of its own.
    #[cfg(test)]
    pub(crate) fn for_test() -> Arc<Self> {
        let registry = Registry::new(1);
        Arc::new(Registry::enter(&registry, None).unwrap_or_else(|_| unreachable!("it is empty")))
    }

    /// A number that no other session or generation of this provider has.
    pub(crate) fn next_number(&self) -> u64 {
        self.registry.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut ids = self.registry.lock();
        ids.open.remove(&self.id);
        if ids.closed_order.len() >= MAX_REMEMBERED_SESSION_IDS
            && let Some(oldest) = ids.closed_order.pop_front()
        {
            ids.closed.remove(&oldest);
        }
        ids.closed.insert(self.id.clone());
        ids.closed_order.push_back(self.id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SessionId {
        SessionId::new(text).expect("not empty")
    }

    #[test]
    fn ids_of_closed_sessions_are_remembered_within_their_bound() {
        let registry = Registry::new(1);
        for number in 0..=MAX_REMEMBERED_SESSION_IDS {
            let place = Registry::enter(&registry, Some(id(&number.to_string())));
            drop(place.expect("a new id"));
        }
        let again = |text: &str| Registry::enter(&registry, Some(id(text)));
        assert!(again("0").is_ok(), "forgotten");
        assert!(
            matches!(again("7"), Err(SessionError::DuplicateSession { .. })),
            "remembered"
        );
        let ids = registry.lock();
        assert_eq!(ids.closed.len(), MAX_REMEMBERED_SESSION_IDS);
        assert_eq!(ids.closed_order.len(), MAX_REMEMBERED_SESSION_IDS);
    }

    #[test]
    fn chosen_ids_keep_clear_of_those_that_were_given() {
        let registry = Registry::new(3);
        let _given = Registry::enter(&registry, Some(id("session-1"))).expect("free");
        let chosen = Registry::enter(&registry, None).expect("free");
        assert_eq!(chosen.id, id("session-2"));
    }

    #[test]
    fn more_sessions_than_the_bound_are_refused_with_its_name() {
        let registry = Registry::new(1);
        let held = Registry::enter(&registry, None).expect("free");
        let error = Registry::enter(&registry, None).err().expect("full");
        assert!(matches!(
            error,
            SessionError::Limit {
                limit: LimitName::Sessions,
                ..
            }
        ));
        drop(held);
        assert!(Registry::enter(&registry, None).is_ok());
    }
}
