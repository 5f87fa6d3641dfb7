// SPDX-License-Identifier: Apache-2.0
//! What an operator decides about a runtime.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellLimits, Globals};
use code_mode_engine::platform::Jit;
use code_mode_fork::{Confinement, Starter};

use crate::faults::Fault;
use crate::limits;

/// The operator's bounds and choices. Every default is a constant in [`crate::limits`].
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Bounds of one cell; `None` fields mean the defaults of [`crate::limits`]. A request may
    /// lower them.
    pub cell_limits: CellLimits,
    /// Sessions open at one time.
    pub max_sessions: usize,
    /// Cells running at one time, all sessions together.
    pub max_active_cells: usize,
    /// Results that wait for an observer, per session.
    pub max_stored_results: usize,
    /// Cells over the life of one session.
    pub max_cells_per_session: u64,
    /// Source of one cell, in bytes of UTF-8.
    pub max_source_bytes: usize,
    /// Tools offered to one cell.
    pub max_tools: usize,
    /// Names, descriptions and schemas of all tools of one cell, in bytes.
    pub max_tool_bytes: usize,
    /// One tool input, tool result or notification, in bytes.
    pub max_value_bytes: usize,
    /// One stored value as JSON, in bytes.
    pub max_stored_value_bytes: usize,
    /// All stored values and keys of one session, in bytes.
    pub max_store_bytes: usize,
    /// Keys in one session's store.
    pub max_store_keys: usize,
    /// Notifications of one cell that are not yet delivered.
    pub max_open_notifications: usize,
    /// Events of one session that its client has not taken, and of all sessions together, in bytes.
    pub max_session_event_bytes: usize,
    /// See [`max_session_event_bytes`](Self::max_session_event_bytes).
    pub max_event_bytes: usize,
    /// Tools' answers that the cells of one session have not had, and of all sessions together, in bytes.
    pub max_session_answer_bytes: usize,
    /// See [`max_session_answer_bytes`](Self::max_session_answer_bytes).
    pub max_answer_bytes: usize,
    /// Output of one session that nobody has read, and of all sessions together, in bytes.
    pub max_session_unread_bytes: usize,
    /// See [`max_session_unread_bytes`](Self::max_session_unread_bytes).
    pub max_unread_bytes: usize,
    /// How long a cell whose script has ended waits for its notifications to be delivered.
    pub notification_grace: Duration,
    /// How long an observer waits when its request does not say.
    pub default_yield_time: Duration,
    /// How many isolates are kept ready ahead of need; each takes about 750 KiB. 0 makes each isolate
    /// when its cell starts; and as V8's read-only heap lives only as long as there is an isolate,
    /// that is then made as well for a cell that is alone.
    pub ready_isolates: usize,
    /// How long a cell's thread waits awake for a tool's answer before it sleeps; zero for not at all.
    pub answer_spin: Duration,
    /// Whether a source that is no JavaScript is tried as TypeScript, its types taken out in place, and a
    /// Markdown fence around a source taken off. Without it, sources are run as they are.
    pub typescript: bool,
    /// Which globals scripts have whose request does not say.
    pub globals: Globals,
    /// Whether scripts whose request does not say read an integer that a number cannot hold for certain as a
    /// bigint; see `docs/scripts.md`.
    pub exact_integers: bool,
    /// Where cells run.
    pub cells: Cells,
    /// A fault to inject, for tests of supervision.
    #[cfg(test)]
    pub(crate) fault: Option<Fault>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            cell_limits: CellLimits::default(),
            max_sessions: limits::DEFAULT_MAX_SESSIONS,
            max_active_cells: limits::DEFAULT_MAX_ACTIVE_CELLS,
            max_stored_results: limits::DEFAULT_MAX_STORED_RESULTS,
            max_cells_per_session: limits::DEFAULT_MAX_CELLS_PER_SESSION,
            max_source_bytes: limits::DEFAULT_MAX_SOURCE_BYTES,
            max_tools: limits::DEFAULT_MAX_TOOLS,
            max_tool_bytes: limits::DEFAULT_MAX_TOOL_BYTES,
            max_value_bytes: limits::DEFAULT_MAX_VALUE_BYTES,
            max_stored_value_bytes: limits::DEFAULT_MAX_STORED_VALUE_BYTES,
            max_store_bytes: limits::DEFAULT_MAX_STORE_BYTES,
            max_store_keys: limits::DEFAULT_MAX_STORE_KEYS,
            max_open_notifications: limits::DEFAULT_MAX_OPEN_NOTIFICATIONS,
            max_session_event_bytes: limits::DEFAULT_SESSION_EVENT_BYTES,
            max_event_bytes: limits::DEFAULT_EVENT_BYTES,
            max_session_answer_bytes: limits::DEFAULT_SESSION_ANSWER_BYTES,
            max_answer_bytes: limits::DEFAULT_ANSWER_BYTES,
            max_session_unread_bytes: limits::DEFAULT_SESSION_UNREAD_BYTES,
            max_unread_bytes: limits::DEFAULT_UNREAD_BYTES,
            notification_grace: limits::DEFAULT_NOTIFICATION_GRACE,
            default_yield_time: code_mode_api::DEFAULT_YIELD_TIME,
            ready_isolates: limits::DEFAULT_READY_ISOLATES,
            answer_spin: limits::DEFAULT_ANSWER_SPIN,
            typescript: true,
            globals: Globals::Contract,
            exact_integers: false,
            cells: Cells::Threads,
            #[cfg(test)]
            fault: None,
        }
    }
}

impl RuntimeConfig {
    /// Whether a test wants this fault.
    #[cfg(test)]
    pub(crate) fn has_fault(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// There are no faults outside of tests.
    #[cfg(not(test))]
    pub(crate) fn has_fault(&self, _fault: Fault) -> bool {
        false
    }
}

/// Where the cells of a runtime run. The script cannot tell.
#[derive(Debug, Clone, Default)]
pub enum Cells {
    /// Each on a thread of this process. A script that finds a hole in V8, or makes it give up, takes
    /// the process with it.
    #[default]
    Threads,
    /// Each in a process of its own, forked from a zygote.
    Forks(Forked),
}

/// How cells are forked.
#[derive(Debug, Clone)]
pub struct Forked {
    /// Who starts the zygotes. The cells live no longer than the thread that made it.
    pub starter: Arc<Starter>,
    /// How each cell is confined.
    pub confinement: Confinement,
    /// Whether V8 makes machine code of scripts.
    pub jit: Jit,
}
