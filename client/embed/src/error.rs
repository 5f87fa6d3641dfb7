// SPDX-License-Identifier: Apache-2.0
//! Why a script gave no result, or a session could not be had.

use std::time::Duration;

use code_mode_api::{CodeModeSession, HostExit, SessionError, SideEffects};

use crate::{Output, ScriptError, ToolSetError};

/// A session could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The tools cannot be offered together.
    #[error(transparent)]
    Tools(#[from] ToolSetError),
    /// The provider refused.
    #[error("Failed to open the session: {0}")]
    Session(#[from] SessionError),
}

/// A script gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The script failed by itself or reached a limit.
    #[error("Failed to run the script to its end: {0}")]
    Script(#[source] Box<ScriptError>),
    /// Somebody has terminated the script.
    #[error("Failed to run the script to its end: it was terminated")]
    Terminated {
        /// What it had put out.
        output: Output,
    },
    /// The script was terminated because its time was over.
    #[error(
        "Failed to run the script to its end: it was terminated after {} ms", .after.as_millis()
    )]
    TimedOut {
        /// The time that it was given.
        after: Duration,
        /// What it had put out.
        output: Output,
    },
    /// The host was lost while the script ran, or before it could be asked about.
    #[error(transparent)]
    HostLost(Box<HostLost>),
    /// The script was not run, or could not be followed.
    #[error("Failed to run the script: {0}")]
    Session(#[from] SessionError),
}

/// The process or runtime in which a script ran is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Failed to finish the script: its host was lost: {cause} (side effects: {side_effects})")]
#[non_exhaustive]
pub struct HostLost {
    /// What happened, for people.
    pub cause: String,
    /// How the host's process has ended, if it had one and that is known.
    pub exit: Option<HostExit>,
    /// Whether the script may have acted. Only [`SideEffects::None`] makes it safe to run it again.
    pub side_effects: SideEffects,
    /// What the script had put out before.
    pub output: Output,
    /// The session's own error.
    pub source: SessionError,
}

impl ExecError {
    /// What an error of `session` means for a script that had put out this.
    pub(crate) fn of_session(
        session: &dyn CodeModeSession,
        error: SessionError,
        output: Output,
    ) -> Self {
        let (cause, side_effects) = match &error {
            SessionError::RuntimeLost {
                cause,
                side_effects,
            } => (cause.clone(), *side_effects),
            SessionError::CellLost { cause, .. } => (cause.clone(), SideEffects::Possible),
            _ => return Self::Session(error),
        };
        Self::HostLost(Box::new(HostLost {
            cause,
            exit: session.host_exit(),
            side_effects,
            output,
            source: error,
        }))
    }

    /// What the script had put out before; `None` when it did not run.
    pub fn output(&self) -> Option<&Output> {
        match self {
            Self::Script(error) => Some(&error.output),
            Self::Terminated { output } | Self::TimedOut { output, .. } => Some(output),
            Self::HostLost(lost) => Some(&lost.output),
            Self::Session(_) => None,
        }
    }

    /// Whether the script may already have acted on the world.
    pub fn side_effects(&self) -> SideEffects {
        match self {
            Self::Script(_) | Self::Terminated { .. } | Self::TimedOut { .. } => {
                SideEffects::Possible
            }
            Self::HostLost(lost) => lost.side_effects,
            Self::Session(error) => error.side_effects(),
        }
    }
}
