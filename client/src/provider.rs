// SPDX-License-Identifier: Apache-2.0
//! The provider of sessions that run in host processes.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::{
    BoxFuture, CodeModeSession, LimitName, SessionDelegate, SessionError, SessionId,
    SessionOptions, SessionProvider,
};

use crate::config::ProviderConfig;
use crate::connection::HostInfo;
use crate::connector::Connector;
use crate::delegate::Delegate;
use crate::hosts::{ConnectorLauncher, Hosts, Launcher, ProcessLauncher};
use crate::session::ProcessSession;

/// How many ids of closed sessions are remembered, so that opening one again is refused.
pub const MAX_REMEMBERED_SESSION_IDS: usize = 4096;

/// Opens sessions that run in supervised host processes.
///
/// Making one starts nothing: the first use of a session starts a host. Dropping it ends every host
/// and thereby every cell, without waiting; [`shutdown`](Self::shutdown) waits.
pub struct ProcessSessionProvider {
    hosts: Arc<Hosts>,
    registry: Arc<Registry>,
}

impl ProcessSessionProvider {
    /// A provider whose hosts run as `config` says.
    pub fn new(config: ProviderConfig) -> Self {
        let config = Arc::new(config);
        let launcher = Box::new(ProcessLauncher(Arc::clone(&config)));
        Self::with_launcher(config, launcher)
    }

    /// A provider whose hosts are reached by what `connector` makes. Of `config` everything holds but
    /// what is about a process: program, arguments, environment, working folder, resource limits.
    pub fn with_connector(config: ProviderConfig, connector: Arc<dyn Connector>) -> Self {
        Self::with_launcher(Arc::new(config), Box::new(ConnectorLauncher(connector)))
    }

    pub(crate) fn with_launcher(config: Arc<ProviderConfig>, launcher: Box<dyn Launcher>) -> Self {
        let registry = Arc::new(Registry {
            max_sessions: config.max_sessions,
            next: AtomicU64::new(1),
            ids: Mutex::default(),
        });
        Self {
            hosts: Hosts::new(config, launcher),
            registry,
        }
    }

    /// Starts a host if none runs that the next session would use, and says what it is.
    ///
    /// With [`Isolation::PerSession`](crate::Isolation::PerSession) the host is started for this
    /// question alone.
    ///
    /// # Errors
    /// [`SessionError::StartFailed`] when no host can be started.
    pub async fn probe(&self) -> Result<HostInfo, SessionError> {
        match self.hosts.acquire().await {
            Ok(connection) => Ok(connection.info().clone()),
            Err(cause) => Err(SessionError::StartFailed {
                cause: cause.to_string(),
            }),
        }
    }

    /// Ends every host and waits until each has ended and was reaped.
    ///
    /// A host that does not end by itself within
    /// [`Deadlines::shutdown`](crate::Deadlines::shutdown) is killed.
    pub async fn shutdown(&self) {
        self.hosts.shutdown().await;
    }
}

impl Drop for ProcessSessionProvider {
    fn drop(&mut self) {
        self.hosts.close();
    }
}

impl SessionProvider for ProcessSessionProvider {
    fn open_session(
        &self,
        options: SessionOptions,
        delegate: Arc<dyn SessionDelegate>,
    ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>> {
        Box::pin(async move {
            let place = Registry::enter(&self.registry, options.session_id)?;
            let delegate = Delegate::new(delegate);
            let session = ProcessSession::new(Arc::new(place), Arc::clone(&self.hosts), delegate);
            Ok(Arc::new(session) as Arc<dyn CodeModeSession>)
        })
    }
}

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
    fn enter(registry: &Arc<Self>, wanted: Option<SessionId>) -> Result<Place, SessionError> {
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
        let registry = Arc::new(Registry {
            max_sessions: 1,
            next: AtomicU64::new(1),
            ids: Mutex::default(),
        });
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

    fn registry(max_sessions: usize) -> Arc<Registry> {
        Arc::new(Registry {
            max_sessions,
            next: AtomicU64::new(1),
            ids: Mutex::default(),
        })
    }

    fn id(text: &str) -> SessionId {
        SessionId::new(text).expect("not empty")
    }

    #[test]
    fn ids_of_closed_sessions_are_remembered_within_their_bound() {
        let registry = registry(1);
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
        let registry = registry(3);
        let _given = Registry::enter(&registry, Some(id("session-1"))).expect("free");
        let chosen = Registry::enter(&registry, None).expect("free");
        assert_eq!(chosen.id, id("session-2"));
    }

    #[test]
    fn more_sessions_than_the_bound_are_refused_with_its_name() {
        let registry = registry(1);
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
