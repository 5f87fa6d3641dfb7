// SPDX-License-Identifier: Apache-2.0
//! Failures of the runtime itself, as opposed to failures of scripts.

use code_mode_api::{CellId, SessionId};

/// Something that must never happen has happened to a cell: a defect of the runtime or of V8.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeFailure {
    /// The cell's V8 thread panicked, in a callback from V8 or in its event loop.
    #[error("the V8 thread of cell {cell_id} of session {session_id} panicked: {message}")]
    ThreadPanicked {
        /// The cell's session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
        /// The panic's message.
        message: String,
    },
    /// What ran the cell, a V8 thread or the task of a process, ended without giving the cell an outcome.
    #[error("what ran cell {cell_id} of session {session_id} vanished without an outcome")]
    Vanished {
        /// The cell's session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
    },
    /// No V8 thread could be had for the cell.
    #[error("cell {cell_id} of session {session_id} got no V8 thread: {message}")]
    NoThread {
        /// The cell's session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
        /// What the operating system or V8 said.
        message: String,
    },
    /// The script was told to stop and has not stopped within
    /// [`STOP_GRACE`](crate::limits::STOP_GRACE).
    #[error("cell {cell_id} of session {session_id} was told to stop and runs on")]
    Unstoppable {
        /// The cell's session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
    },
    /// A cell was asked to make a step that its state does not have.
    #[error("impossible step of cell {cell_id} of session {session_id}: {step}")]
    ImpossibleTransition {
        /// The cell's session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
        /// The state and the event.
        step: String,
    },
    /// A delegate or an observer of the embedder panicked when it was called.
    #[error("a callback for cell {cell_id} of session {session_id} panicked: {message}")]
    CallbackPanicked {
        /// The cell's session.
        session_id: SessionId,
        /// The cell.
        cell_id: CellId,
        /// The panic's message.
        message: String,
    },
}

/// Told of failures of the runtime; a host uses it to stop the whole process.
///
/// Without a supervisor the affected cell ends with an error and its session goes on.
pub trait Supervisor: Send + Sync {
    /// Takes note of a failure. Called on any of the runtime's threads; must not block.
    fn failed(&self, failure: RuntimeFailure);
}
