// SPDX-License-Identifier: Apache-2.0
//! The runtime: what all sessions share.

use std::collections::HashSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use code_mode_api::waist::{Budget, Pool};
use code_mode_api::{LimitName, SessionDelegate, SessionError, SessionId};
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::config::RuntimeConfig;
use crate::limits;
use crate::session::{Session, SessionCore};
use crate::shares::Pools;
use crate::supervisor::{RuntimeFailure, Supervisor};
use crate::threads::keeper;
use crate::watchdog;
use code_mode_engine::limits::EffectiveLimits;
use code_mode_engine::platform;

/// Why the runtime could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeStartError {
    /// A thread of the runtime could not be made.
    #[error("Failed to start the runtime's thread {name}: {source}")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The runtime: V8, and the bounds that sessions share. Cheap to clone.
///
/// V8 itself belongs to the process and is set up once, in the background, by the first runtime.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) core: Arc<RuntimeCore>,
}

/// What sessions, cells and threads know of their runtime.
pub(crate) struct RuntimeCore {
    pub(crate) config: RuntimeConfig,
    pub(crate) operator_limits: EffectiveLimits,
    pub(crate) tokio: Handle,
    pub(crate) backend: Backend,
    supervisor: Option<Arc<dyn Supervisor>>,
    /// What the sessions share.
    pub(crate) pools: Pools,
    /// Cells admitted whose V8 thread has not ended.
    threads: AtomicUsize,
    /// Processors of the machine that this process may use.
    processors: usize,
    sessions: Mutex<HashSet<SessionId>>,
    next_session: AtomicU64,
}

impl Runtime {
    /// Makes a runtime. `handle` runs the futures of delegates; `supervisor` is told of failures of
    /// the runtime itself.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn new(
        config: RuntimeConfig,
        handle: Handle,
        supervisor: Option<Arc<dyn Supervisor>>,
    ) -> Result<Self, RuntimeStartError> {
        watchdog::start().map_err(|source| RuntimeStartError::Thread {
            name: watchdog::THREAD_NAME,
            source,
        })?;
        let operator_limits = EffectiveLimits::of_operator(
            &config.cell_limits,
            config.max_value_bytes,
            config.max_stored_value_bytes,
        );
        let core = Arc::new(RuntimeCore {
            backend: Backend::start(&config, &operator_limits, &handle)?,
            pools: Pools {
                cells: Pool::new(config.max_active_cells),
                events: Pool::new(config.max_event_bytes),
                answers: Pool::new(config.max_answer_bytes),
                unread: Pool::new(config.max_unread_bytes),
            },
            operator_limits,
            config,
            tokio: handle,
            supervisor,
            threads: AtomicUsize::new(0),
            processors: std::thread::available_parallelism().map_or(1, NonZero::get),
            sessions: Mutex::default(),
            next_session: AtomicU64::new(1),
        });
        core.backend.refill();
        Ok(Self { core })
    }

    /// Opens a session whose scripts call `delegate`. Without an id it gets one of its own.
    ///
    /// # Errors
    /// [`SessionError::DuplicateSession`] when a session of this id is open, or
    /// [`SessionError::Limit`].
    pub fn open(
        &self,
        id: Option<SessionId>,
        delegate: Arc<dyn SessionDelegate>,
    ) -> Result<Session, SessionError> {
        let mut sessions = self
            .core
            .sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(session_id) = id.as_ref().filter(|id| sessions.contains(*id)) {
            return Err(SessionError::DuplicateSession {
                session_id: session_id.clone(),
            });
        }
        let maximum = self.core.config.max_sessions;
        if sessions.len() >= maximum {
            return Err(SessionError::Limit {
                limit: LimitName::Sessions,
                maximum: maximum as u64,
                detail: "shut a session down first".to_owned(),
            });
        }
        let id = match id {
            Some(id) => id,
            None => self.core.fresh_session_id(&sessions)?,
        };
        sessions.insert(id.clone());
        drop(sessions);
        Ok(Session::new(SessionCore::new(
            id,
            delegate,
            Arc::clone(&self.core),
        )))
    }

    /// What a session may hold of events that its client has not taken.
    pub(crate) fn event_budget(&self) -> Arc<Budget> {
        let pool = &self.core.pools.events;
        Budget::within(pool, self.core.config.max_session_event_bytes)
    }

    /// The version of V8.
    pub fn v8_version() -> &'static str {
        platform::version()
    }

    /// V8 threads of this process that have been made and not joined: those of active cells, those
    /// kept ready, and those that are just being disposed of.
    pub fn v8_threads() -> usize {
        keeper::v8_threads()
    }

    /// Whether V8 was built with its sandbox and has it on. Waits until V8 is set up; false when
    /// there is no V8 because no runtime was made.
    pub fn sandbox_enabled() -> bool {
        keeper::sandbox_enabled()
    }
}

impl RuntimeCore {
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

    pub(crate) fn session_closed(&self, id: &SessionId) {
        self.sessions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// Takes the place of a cell's thread or process.
    ///
    /// Those of ended cells that are still disposed of count too, apart from the slots of cells, so that a
    /// result is not held back by the disposal, and so that their number is bounded.
    pub(crate) fn take_thread(&self) -> Result<(), SessionError> {
        let maximum = self.config.max_active_cells;
        let most = limits::max_cell_threads(maximum);
        let taken = self
            .threads
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < most).then_some(now + 1)
            });
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum: maximum as u64,
                detail: "ended cells are still being disposed of; try again".to_owned(),
            }),
        }
    }

    /// Whether fewer cells run than there are processors, so that one may be kept busy with waiting.
    pub(crate) fn has_idle_processors(&self) -> bool {
        self.pools.cells.held() < self.processors
    }

    pub(crate) fn thread_ended(&self) {
        self.threads.fetch_sub(1, Ordering::AcqRel);
        self.backend.refill();
    }

    /// Tells the supervisor, or the log when there is none.
    pub(crate) fn fail(&self, failure: RuntimeFailure) {
        tracing::error!(%failure, "the runtime failed");
        if let Some(supervisor) = &self.supervisor {
            supervisor.failed(failure);
        }
    }
}
