// SPDX-License-Identifier: Apache-2.0
//! The runtime: what all sessions share.

use std::sync::Arc;

use code_mode_api::waist::Budget;
use code_mode_api::{SessionDelegate, SessionError, SessionId};
use code_mode_engine::platform;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::config::RuntimeConfig;
use crate::figures::Figures;
use crate::runtime_core::RuntimeCore;
use crate::session::{Session, SessionCore};
use crate::shared::Shared;
use crate::start_error::RuntimeStartError;
use crate::supervisor::Supervisor;
use crate::threads::keeper;
use crate::watchdog;

/// The runtime: V8, and the bounds that sessions share. Cheap to clone.
///
/// V8 itself belongs to the process and is set up once, in the background, by the first runtime.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) core: Arc<RuntimeCore>,
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
        let shared = Shared::new(config, handle, supervisor);
        let backend = Backend::start(&shared.config, &shared.operator_limits, &shared.tokio)?;
        let core = RuntimeCore::new(shared, backend);
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
        let place = self.core.take_place(id);
        let place = self.core.shared.count_refusal(place)?;
        Ok(Session::new(SessionCore::new(place, delegate)))
    }

    /// What the runtime has counted since it was made.
    pub fn figures(&self) -> Figures {
        self.core.shared.figures()
    }

    /// What a session may hold of events that its client has not taken.
    pub(crate) fn event_budget(&self) -> Arc<Budget> {
        let shared = &self.core.shared;
        Budget::within(&shared.pools.events, shared.config.max_session_event_bytes)
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
