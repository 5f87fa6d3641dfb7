// SPDX-License-Identifier: Apache-2.0
//! Why a connection to a host failed, and how one call on it ended.

use std::time::Duration;

use code_mode_api::{SessionError, SideEffects};
use code_mode_protocol::WireError;

use crate::process::{Exit, SpawnError};

/// The error code of a host that begins nothing new, because it is about to end; what it has begun goes on.
pub const HOST_DRAINING: &str = "host-draining";

/// Why a connection could not be made or did not last. The text is what callers get as the cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionFailure {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the host process ended: {0}")]
    Exited(Exit),
    #[error("the host process ended and its status could not be had")]
    Vanished,
    #[error("the host closed its output{}", exit_suffix(.0))]
    OutputEnded(Option<Exit>),
    #[error("the host's output broke off within a message{}: {text}", exit_suffix(.exit))]
    OutputTruncated { exit: Option<Exit>, text: String },
    #[error("the host sent what is no message of the protocol: {0}")]
    Undecodable(String),
    #[error("the host's output could not be read: {0}")]
    Read(String),
    #[error("{0}")]
    ConnectionLost(String),
    #[error("the host broke the protocol: {0}")]
    Violation(String),
    #[error("the host's input could not be written: {0}")]
    Write(String),
    #[error("the host has not read its input for {} ms", .0.as_millis())]
    WriteDeadline(Duration),
    #[error(
        "the host has not greeted within {} ms; is the program a code-mode host?", .0.as_millis()
    )]
    StartupDeadline(Duration),
    #[error("the host has not answered {call} within {} ms", .waited.as_millis())]
    CallDeadline {
        call: &'static str,
        waited: Duration,
    },
    #[error("the host refused the connection: {0}")]
    Rejected(String),
    #[error("the client closed the host because its owner was dropped or shut down")]
    Closed,
    #[error("the client's async runtime shut down")]
    RuntimeGone,
    #[error("the client could not make a message of its own: {0}")]
    Internal(String),
}

fn exit_suffix(exit: &Option<Exit>) -> String {
    exit.map_or_else(String::new, |exit| format!("; {exit}"))
}

/// How a call on a connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The connection was lost before the call was answered.
    #[error("{cause}")]
    Lost {
        cause: String,
        side_effects: SideEffects,
    },
    /// The host answered with an error.
    #[error("{0}")]
    Host(WireError),
    /// The host has refused an execute because it is about to end, and nothing of the session is left there
    /// but what it has stored.
    #[error("{0}")]
    Draining(WireError),
    /// The request could not be encoded; nothing was sent.
    #[error(transparent)]
    Refused(SessionError),
    /// The session never had this cell.
    #[error("no such cell")]
    MissingCell,
    /// The cell has ended and its result was handed out.
    #[error("the cell has finished")]
    CellFinished,
    /// Somebody else observes the cell.
    #[error("the cell is being observed")]
    BusyObserver,
}

impl CallError {
    /// Whether a host has refused a session because it is about to end.
    pub(crate) fn is_host_draining(&self) -> bool {
        match self {
            Self::Host(error) => says_draining(error),
            _ => false,
        }
    }

    /// An execute's refusal. `has_cells` says whether its session has anything else there.
    pub(crate) fn of_execute(error: WireError, has_cells: bool) -> Self {
        if says_draining(&error) && !has_cells {
            Self::Draining(error)
        } else {
            Self::Host(error)
        }
    }
}

fn says_draining(error: &WireError) -> bool {
    let details = error.details.as_ref();
    details.is_some_and(|details| details.code.as_str() == HOST_DRAINING)
}
