// SPDX-License-Identifier: Apache-2.0
//! Why a connection failed.

use std::io;
use std::time::Duration;

use code_mode_protocol::{EncodeError, ReadError};

/// An error of what runs cells.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// Why a connection failed. Each of them ends the connection and the process; none is repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The client did what the contract forbids.
    #[error("protocol violation by the client: {0}")]
    Violation(String),
    /// The client's frames could not be read.
    #[error("Failed to read from the client: {0}")]
    Read(#[from] ReadError),
    /// A frame could not be written.
    #[error("Failed to write to the client: {0}")]
    Write(#[source] io::Error),
    /// The client reads nothing while the outgoing queue is full.
    #[error("the client has read nothing for {} ms while the outgoing queue was full", .deadline.as_millis())]
    Stalled {
        /// How long this went on.
        deadline: Duration,
    },
    /// The outgoing queue reached its hard bound.
    #[error("the client reads too slowly: {frames} frames of {bytes} bytes were waiting for it")]
    OutgoingOverflow {
        /// What was to be held, in frames.
        frames: usize,
        /// What was to be held, in bytes.
        bytes: usize,
    },
    /// A message of ours could not be encoded: a defect.
    #[error("Failed to encode a message: {0}")]
    Encode(#[source] EncodeError),
    /// The runtime could not be started.
    #[error("Failed to start the runtime: {0}")]
    RuntimeStart(#[source] BoxedError),
    /// The runtime failed.
    #[error("the runtime failed: {0}")]
    Runtime(#[source] BoxedError),
    /// A task ended that should not have.
    #[error("the {task} ended: {reason}")]
    Task {
        /// Which task.
        task: &'static str,
        /// Its panic, or that it was cancelled.
        reason: String,
    },
    /// Cells were still running when the time to close was over.
    #[error("cells were still running {} ms after they were told to stop", .deadline.as_millis())]
    CellsRunOn {
        /// The time that they had.
        deadline: Duration,
    },
}

impl ServeError {
    /// Whether the client has sent what the contract forbids.
    pub fn is_violation(&self) -> bool {
        matches!(
            self,
            Self::Violation(_) | Self::Read(ReadError::Malformed(_) | ReadError::TooLong { .. })
        )
    }

    /// Whether the client broke the protocol, after which it gets no more answers.
    pub(crate) fn is_by_client(&self) -> bool {
        matches!(self, Self::Violation(_) | Self::Read(_))
    }
}
