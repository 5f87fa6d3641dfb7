//! Running the embedder's delegates for the driver.
//!
//! Delegates are code of the embedder: they may be slow, never answer, or panic. None of that
//! reaches the driver. A panic is an error for the script that called.

use std::collections::HashMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use code_mode_api::{BoxFuture, CellId, SessionDelegate, SessionId, ToolError};
use tokio::task::JoinHandle;

use super::budget::ByteBudget;
use super::events::{Effect, Event, Events, Frame};
use crate::messages;

/// What a script hears when a delegate panics; the panic itself goes to the embedder's panic hook.
const TOOL_PANICKED: &str = "tool panicked";

/// The tasks of the delegate calls at work. Dropping it drops their futures.
pub(super) struct DelegateTasks {
    tasks: HashMap<u64, Task>,
    /// Tasks that were aborted and may not have dropped their futures yet.
    dropping: Vec<Task>,
    events: Events,
    /// The budget of outgoing bytes: results wait here before they enter the driver's outbox.
    budget: ByteBudget,
}

struct Task {
    session: SessionId,
    cell: CellId,
    handle: JoinHandle<()>,
}

impl DelegateTasks {
    pub(super) fn new(events: Events, budget: ByteBudget) -> Self {
        Self {
            tasks: HashMap::new(),
            dropping: Vec::new(),
            events,
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
                let call = guarded(|| delegate.invoke_tool(invocation, cancel));
                let handle = self.spawn(key, id, call, messages::tool_result_frame);
                self.tasks.insert(
                    key,
                    Task {
                        session,
                        cell,
                        handle,
                    },
                );
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
                let call = guarded(|| delegate.notify(notification, cancel));
                let handle = self.spawn(key, id, call, |id, ()| messages::delivered_frame(id));
                self.tasks.insert(
                    key,
                    Task {
                        session,
                        cell,
                        handle,
                    },
                );
            }
            Effect::DropDelegate { key } => {
                if let Some(task) = self.tasks.remove(&key) {
                    task.handle.abort();
                    self.dropping.retain(|task| !task.handle.is_finished());
                    self.dropping.push(task);
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
    fn close_cell(&mut self, delegate: Arc<dyn SessionDelegate>, session: SessionId, cell: CellId) {
        let of_cell = |task: &mut Task| task.session == session && task.cell == cell;
        let dropping: Vec<_> = self.dropping.extract_if(.., of_cell).collect();
        if dropping.iter().all(|task| task.handle.is_finished()) {
            return tell_closed(&*delegate, &session, &cell);
        }
        tokio::spawn(async move {
            for task in dropping {
                // Aborted or done; either way its future is gone.
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

    fn spawn<T: Send + 'static>(
        &self,
        key: u64,
        id: i64,
        call: Result<BoxFuture<'static, Result<T, ToolError>>, ToolError>,
        encode: impl FnOnce(i64, T) -> Result<code_mode_protocol::EncodedFrame, ToolError>
        + Send
        + 'static,
    ) -> JoinHandle<()> {
        let (events, budget) = (self.events.clone(), self.budget.clone());
        tokio::spawn(async move {
            let result = match call {
                Ok(future) => caught(future).await,
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
                    drop(events.send(Event::DelegateDone { key, frame }));
                }
                Err(failure) => drop(events.send(Event::WriteFailed(failure))),
            }
        })
    }
}

impl Drop for DelegateTasks {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.handle.abort();
        }
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

async fn caught<T>(mut future: BoxFuture<'static, Result<T, ToolError>>) -> Result<T, ToolError> {
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(Err(ToolError::new(TOOL_PANICKED))),
        },
    )
    .await
}
