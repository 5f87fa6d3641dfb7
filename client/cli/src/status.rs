// SPDX-License-Identifier: Apache-2.0
//! How the program ends.

use std::process::ExitCode;

use code_mode_api::{SessionError, SideEffects};

use crate::reporter::{CellEnd, Termination};

/// How the program ends; `docs/cli.md`, section *Exit status*, is the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Everything asked for was done.
    Completed,
    /// A script failed or timed out, or a check of `doctor` did.
    ScriptFailed,
    /// The command line or something that it names is wrong; no script was harmed.
    SetUp,
    /// The host was lost while scripts ran.
    HostLost,
    /// Ctrl-C ended it: 128 and the number of SIGINT, as in a shell.
    Interrupted,
    /// SIGTERM ended it: 128 and its number.
    Terminated,
    /// SIGHUP ended it: 128 and its number.
    HungUp,
    /// Nobody reads standard output any more: 128 and the number of SIGPIPE.
    OutputClosed,
}

impl Status {
    /// The number that the caller of the program sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::ScriptFailed => 1,
            Self::SetUp => 2,
            Self::HostLost => 3,
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::OutputClosed => 141,
        }
    }

    /// The status after a session's error.
    pub fn of_error(error: &SessionError) -> Self {
        match error {
            SessionError::RuntimeLost { .. } | SessionError::CellLost { .. } => Self::HostLost,
            // Nothing ran: the script, its tools or the host were not what they must be.
            _ if error.side_effects() == SideEffects::None => Self::SetUp,
            _ => Self::ScriptFailed,
        }
    }

    /// The status after a cell's end.
    pub fn of_end(end: &CellEnd) -> Self {
        match end {
            CellEnd::Completed => Self::Completed,
            CellEnd::Failed { .. } => Self::ScriptFailed,
            CellEnd::Error(error) => Self::of_error(error),
            CellEnd::Terminated(why) => Self::of_termination(*why),
        }
    }

    /// The status after a termination.
    pub fn of_termination(why: Termination) -> Self {
        match why {
            Termination::Interrupt | Termination::Killed => Self::Interrupted,
            Termination::Sigterm => Self::Terminated,
            Termination::Sighup => Self::HungUp,
            Termination::Timeout(_) | Termination::Elsewhere => Self::ScriptFailed,
            Termination::OutputClosed => Self::OutputClosed,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}
