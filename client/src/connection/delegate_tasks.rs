// SPDX-License-Identifier: Apache-2.0
//! Running the embedder's delegates for the driver.
//!
//! Delegates are code of the embedder: they may be slow, never answer, or panic. None of that
//! reaches the driver. A panic is an error for the script that called. A call that is cancelled has
//! [`CANCEL_GRACE`] to act on its signal before its future is dropped.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use code_mode_api::{BoxFuture, CancellationSignal, CellId, SessionDelegate, SessionId, ToolError};
use code_mode_protocol::DelegateRequestId;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::budget::ByteBudget;
use super::inputs::{Effect, Frame, Input, Inputs};
use crate::delegate::Delegate;
use crate::messages;

/// What a script hears when a delegate panics; the panic itself goes to the embedder's panic hook.
const TOOL_PANICKED: &str = "tool panicked";

/// How long a delegate's future may go on after its signal has fired (1 s): time to give back what it
/// has taken, to tell a server that its answer is not wanted, to end a process in order.
///
/// It bounds every delegate, whoever wrote it, because the client waits for these futures before it says that
/// a cell is closed. A tool of `code_mode_embed` that asks for more time runs in a task of its own.
pub const CANCEL_GRACE: Duration = Duration::from_secs(1);

/// Cancelled calls that may be in their grace at one time; beyond it the oldest is dropped at once.
pub(super) const MAX_CANCELLED_CALLS: usize = 256;

/// The tasks of the delegate calls at work. Those that are left when it is dropped end with the grace
/// of their signals, which have all fired by then.
pub(super) struct DelegateTasks {
    tasks: HashMap<u64, Task>,
    /// Tasks whose signal has fired, which may not have dropped their futures yet. Oldest first.
    cancelled: VecDeque<Task>,
    inputs: Inputs,
    /// The budget of outgoing bytes: results wait here before they enter the driver's outbox.
    budget: ByteBudget,
}

struct Task {
    session: SessionId,
    cell: CellId,
    handle: JoinHandle<()>,
}

impl DelegateTasks {
    pub(super) fn new(inputs: Inputs, budget: ByteBudget) -> Self {
        Self {
            tasks: HashMap::new(),
            cancelled: VecDeque::new(),
            inputs,
            budget,
        }
    }

    /// Carries out one effect. The delegate's own method is called here and now, so that it hears
    /// of calls in the order in which the scripts made them; its future runs in a task.
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Tool {
                key,
                id,
                delegate,
                invocation,
                cancel,
            } => {
                let (session, cell) = (invocation.session_id.clone(), invocation.cell_id.clone());
                let call = guarded(|| delegate.invoke_tool(invocation, cancel.clone()));
                let handle = self.spawn(key, id, call, cancel, messages::tool_result_frame);
                self.keep(key, session, cell, handle);
            }
            Effect::Notify {
                key,
                id,
                delegate,
                notification,
                cancel,
            } => {
                let session = notification.session_id.clone();
                let cell = notification.cell_id.clone();
                let call = guarded(|| delegate.notify(notification, cancel.clone()));
                let encode = |id, ()| messages::delivered_frame(id);
                let handle = self.spawn(key, id, call, cancel, encode);
                self.keep(key, session, cell, handle);
            }
            Effect::DropDelegate { key } => {
                if let Some(task) = self.tasks.remove(&key) {
                    self.cancelled.retain(|task| !task.handle.is_finished());
                    self.cancelled.push_back(task);
                    let beyond = self.cancelled.len().saturating_sub(MAX_CANCELLED_CALLS);
                    for oldest in self.cancelled.iter().take(beyond) {
                        oldest.handle.abort();
                    }
                }
            }
            Effect::CellClosed {
                delegate,
                session,
                cell,
            } => self.close_cell(delegate, session, cell),
        }
    }

    /// Tells a delegate that a cell is closed, after the futures of its calls were dropped: that a
    /// cell is closed is the last that is heard of it.
    fn close_cell(&mut self, delegate: Delegate, session: SessionId, cell: CellId) {
        let of_cell = |task: &Task| task.session == session && task.cell == cell;
        let cancelled = std::mem::take(&mut self.cancelled);
        let (dropping, others): (VecDeque<_>, _) = cancelled.into_iter().partition(of_cell);
        self.cancelled = others;
        if dropping.iter().all(|task| task.handle.is_finished()) {
            return tell_closed(&*delegate, &session, &cell);
        }
        tokio::spawn(async move {
            for task in dropping {
                // Its grace is over, or it is done; either way its future is gone.
                let _ = task.handle.await;
            }
            tell_closed(&*delegate, &session, &cell);
        });
    }

    /// Forgets a task that has finished.
    pub(super) fn finished(&mut self, key: u64) {
        self.tasks.remove(&key);
    }

    /// Whether no call is at work.
    pub(super) fn are_all_done(&self) -> bool {
        self.tasks.is_empty()
    }

    fn keep(&mut self, key: u64, session: SessionId, cell: CellId, handle: JoinHandle<()>) {
        let task = Task {
            session,
            cell,
            handle,
        };
        self.tasks.insert(key, task);
    }

    fn spawn<T: Send + 'static>(
        &self,
        key: u64,
        id: DelegateRequestId,
        call: Result<BoxFuture<'static, Result<T, ToolError>>, ToolError>,
        cancel: CancellationSignal,
        encode: impl FnOnce(DelegateRequestId, T) -> Result<code_mode_protocol::EncodedFrame, ToolError>
        + Send
        + 'static,
    ) -> JoinHandle<()> {
        let (inputs, budget) = (self.inputs.clone(), self.budget.clone());
        tokio::spawn(async move {
            let result = match call {
                Ok(future) => tokio::select! {
                    biased;
                    result = caught(future) => result,
                    () = grace_over(cancel) => return,
                },
                Err(error) => Err(error),
            };
            let encoded = result.and_then(|value| encode(id, value));
            let encoded = encoded
                .or_else(|error| messages::delegate_error_frame(id, &error.message))
                .or_else(|_| messages::delegate_error_frame(id, "the tool's error is too large"));
            match encoded {
                Ok(bytes) => {
                    let _share = Some(budget.acquire(bytes.wire_bytes()).await);
                    let frame = Frame {
                        bytes,
                        request: None,
                        _share,
                    };
                    // A driver that is gone needs no answer.
                    drop(inputs.send(Input::DelegateDone { key, frame }));
                }
                Err(failure) => drop(inputs.send(Input::WriteFailed(failure))),
            }
        })
    }
}

/// Tells a delegate that a cell is closed, whatever the delegate does about it.
pub(super) fn tell_closed(delegate: &dyn SessionDelegate, session: &SessionId, cell: &CellId) {
    if catch_unwind(AssertUnwindSafe(|| delegate.cell_closed(session, cell))).is_err() {
        tracing::error!(%session, %cell, "a delegate panicked when it was told of a closed cell");
    }
}

fn guarded<T>(call: impl FnOnce() -> T) -> Result<T, ToolError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| ToolError::new(TOOL_PANICKED))
}

async fn grace_over(cancel: CancellationSignal) {
    cancel.cancelled().await;
    sleep(CANCEL_GRACE).await;
}

async fn caught<T>(mut future: BoxFuture<'static, Result<T, ToolError>>) -> Result<T, ToolError> {
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(ToolError::new(TOOL_PANICKED))),
        },
    )
    .await
}
