// SPDX-License-Identifier: Apache-2.0
//! Why a session could not do what it was asked.

use std::fmt;

use crate::{CellId, LimitName, SessionId};

/// Whether the script of a failed operation may already have acted on the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideEffects {
    /// Nothing of the script has run; asking again is safe.
    None,
    /// The script may have called tools; asking again may repeat them.
    Possible,
}

impl SideEffects {
    /// The name that stands for it in texts and in a status of gRPC: `none` or `possible`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Possible => "possible",
        }
    }

    /// What [`name`](Self::name) gives this name for, if anything.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Possible]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

impl fmt::Display for SideEffects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the process of a host has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostExit {
    /// It exited with this status.
    Status(i32),
    /// It was killed by this signal.
    Signal(i32),
}

impl fmt::Display for HostExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// Why a session could not do what it was asked, one variant per cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session never had this cell.
    #[error("exec cell {cell_id} not found")]
    MissingCell {
        /// The cell asked for.
        cell_id: CellId,
    },
    /// The cell has ended and its result was handed out.
    #[error("exec cell {cell_id} has finished and its result was already delivered")]
    CellFinished {
        /// The cell asked for.
        cell_id: CellId,
    },
    /// The cell lived in a host that was lost.
    #[error("exec cell {cell_id} was lost with its host: {cause}")]
    CellLost {
        /// The cell asked for.
        cell_id: CellId,
        /// Why the host was lost.
        cause: String,
    },
    /// Somebody else observes the cell already.
    #[error("exec cell {cell_id} is already being observed; one observer at a time")]
    BusyObserver {
        /// The cell asked for.
        cell_id: CellId,
    },
    /// The session is shutting down or has shut down.
    #[error("session {session_id} is shut down")]
    ShutDown {
        /// The session.
        session_id: SessionId,
    },
    /// A session of this id is open, or was.
    #[error("session id {session_id} was used before; choose another")]
    DuplicateSession {
        /// The session id.
        session_id: SessionId,
    },
    /// A bound is reached.
    #[error("the limit of {maximum} {limit} is reached{}", detail_suffix(.detail))]
    Limit {
        /// Which bound.
        limit: LimitName,
        /// Its value, in the unit that the name says.
        maximum: u64,
        /// What reached it or holds it, for people; may be empty.
        detail: String,
    },
    /// The request cannot be carried out as it stands.
    #[error("{message}")]
    InvalidRequest {
        /// What is wrong with it and what to do.
        message: String,
    },
    /// The operation was cancelled by its caller before it was answered.
    #[error("the operation was cancelled")]
    Cancelled {
        /// Whether the script may have acted.
        side_effects: SideEffects,
    },
    /// The runtime or its host was lost while the operation was pending or before.
    #[error("the code-mode runtime was lost: {cause} (side effects: {side_effects})")]
    RuntimeLost {
        /// What happened.
        cause: String,
        /// Whether the script may have acted.
        side_effects: SideEffects,
    },
    /// The runtime could not be started.
    #[error("the code-mode host could not be started: {cause}")]
    StartFailed {
        /// What happened and what to do.
        cause: String,
    },
    /// The host refused the operation for a reason of its own.
    #[error("{message}")]
    Refused {
        /// The host's words.
        message: String,
        /// Whether the script may have acted.
        side_effects: SideEffects,
    },
}

impl SessionError {
    /// Whether the script of the failed operation may already have acted on the world.
    pub fn side_effects(&self) -> SideEffects {
        match self {
            Self::RuntimeLost { side_effects, .. }
            | Self::Refused { side_effects, .. }
            | Self::Cancelled { side_effects } => *side_effects,
            Self::CellFinished { .. } | Self::CellLost { .. } | Self::BusyObserver { .. } => {
                SideEffects::Possible
            }
            Self::MissingCell { .. }
            | Self::ShutDown { .. }
            | Self::DuplicateSession { .. }
            | Self::Limit { .. }
            | Self::InvalidRequest { .. }
            | Self::StartFailed { .. } => SideEffects::None,
        }
    }
}

fn detail_suffix(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}
