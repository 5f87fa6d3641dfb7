// SPDX-License-Identifier: Apache-2.0
//! What a session asks of its embedder while scripts run.

use crate::{BoxFuture, CancellationSignal, CellId, RawJson, SessionId, ToolKind, ToolName};

/// One call of a tool by a script, with all that a policy needs to decide about it.
#[derive(Debug, Clone)]
pub struct ToolInvocation {
    /// The session of the script.
    pub session_id: SessionId,
    /// The cell that calls.
    pub cell_id: CellId,
    /// The call's id within the cell: `tool-1`, `tool-2`, …
    pub call_id: String,
    /// [`ExecuteRequest::exec_call_id`](crate::ExecuteRequest::exec_call_id) of the cell.
    pub exec_call_id: String,
    /// The tool's own name, never the normalised one.
    pub tool_name: ToolName,
    /// How the tool takes its input.
    pub tool_kind: ToolKind,
    /// The input; JSON `null` when the script gave none.
    pub input: RawJson,
}

/// A text that a script sends to the embedder at once.
#[derive(Debug, Clone)]
pub struct Notification {
    /// The session of the script.
    pub session_id: SessionId,
    /// The cell that notifies.
    pub cell_id: CellId,
    /// [`ExecuteRequest::exec_call_id`](crate::ExecuteRequest::exec_call_id) of the cell.
    pub exec_call_id: String,
    /// The text; never blank.
    pub text: String,
}

/// Why a delegate call failed; the script sees `message` as its Error's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    /// What went wrong, for the script and the model.
    pub message: String,
}

impl ToolError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// The embedder's side of a session: it runs tools and takes notifications.
///
/// Both methods are called in the order in which the script acted, on a thread that must not be
/// blocked: the part before the returned future should only take note of the call. The future is
/// then run by the session; it is dropped soon after `cancel` fires, because the script has aborted
/// the call, or the cell has ended or no longer waits.
pub trait SessionDelegate: Send + Sync + 'static {
    /// Called on the cell's own thread before it calls a tool or notifies, with the bytes of the input
    /// or text: the one place where a delegate may make the script wait. It returns when
    /// [`cell_stopping`](Self::cell_stopping) comes. Never called for a cell in a process of its own, for
    /// which there is [`room`](Self::room).
    fn make_room(&self, cell_id: &CellId, bytes: usize) {
        let _ = (cell_id, bytes);
    }

    /// What resolves when there is room for more of what this cell says, or the cell was told to stop;
    /// `None`, as by default, when there is. A cell in a process of its own is not heard until then, and
    /// waits once its stream is full.
    fn room(&self, cell_id: &CellId) -> Option<BoxFuture<'static, ()>> {
        let _ = cell_id;
        None
    }

    /// Says that the cell was told to stop; called on any thread, and maybe more than once.
    fn cell_stopping(&self, cell_id: &CellId) {
        let _ = cell_id;
    }

    /// Runs a tool and gives its result, or the error that rejects the script's promise.
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>>;

    /// Takes a notification; resolves when it has been delivered. A cell's result is not handed out
    /// before its notifications are.
    fn notify(
        &self,
        notification: Notification,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>>;

    /// Says that nothing more about this cell will follow: its result was handed out, or its session has
    /// ended. Called once.
    fn cell_closed(&self, session_id: &SessionId, cell_id: &CellId) {
        let _ = (session_id, cell_id);
    }
}
