// SPDX-License-Identifier: Apache-2.0
//! The calls of a cell's embedder, in the order in which things happen.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::Cell;
use super::state::{Callback, CellRecord};
use crate::call::{CallOwner, DelegateFuture};
use crate::limits::CALLBACKS_AT_ONCE;

/// How far somebody has come with the callbacks of a cell.
#[derive(PartialEq, Eq)]
enum Carried {
    /// There are none left.
    All,
    /// There are some left, and nobody else runs them.
    Some,
    /// Somebody else goes on.
    Elsewhere,
}

/// Callbacks that are left for a task. When it is dropped before it has run them, because the embedder's
/// tokio runtime ends, they are run then.
struct RestOfCallbacks(Option<Arc<Cell>>);

impl RestOfCallbacks {
    async fn run(mut self) {
        while let Some(cell) = &self.0 {
            if cell.carry(cell.lock(), CALLBACKS_AT_ONCE) != Carried::Some {
                self.0 = None;
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for RestOfCallbacks {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.carry(cell.lock(), usize::MAX);
        }
    }
}

impl Cell {
    /// Runs the cell's callbacks, in order and without the lock, unless somebody
    /// does so already: then that one goes on with what was added. Of a flood this thread runs the
    /// first [`CALLBACKS_AT_ONCE`], a task the others.
    pub(super) fn deliver<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, CellRecord>) {
        state.conclude();
        if !state.delivering && self.carry(state, CALLBACKS_AT_ONCE) == Carried::Some {
            self.leave_to_task();
        }
    }

    /// As [`deliver`](Self::deliver), for a thread that runs no code of the embedder.
    pub(super) fn leave<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, CellRecord>) {
        if !state.delivering && !state.callbacks.is_empty() {
            state.delivering = true;
            drop(state);
            self.leave_to_task();
        }
    }

    fn leave_to_task(self: &Arc<Self>) {
        let rest = RestOfCallbacks(Some(Arc::clone(self)));
        self.tokio().spawn(rest.run());
    }

    /// Runs callbacks, no more than `at_most`. For the one who delivers: `delivering` is set from the first
    /// one on, and stays set while some are left.
    fn carry<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, CellRecord>,
        at_most: usize,
    ) -> Carried {
        for _ in 0..at_most {
            let Some(callback) = state.callbacks.pop_front() else {
                break;
            };
            state.delivering = true;
            drop(state);
            let done = self.shielded(|| self.run(callback)).unwrap_or(true);
            if !done {
                // `delivering` stays set: the one who polls the call resumes.
                return Carried::Elsewhere;
            }
            state = self.lock();
        }
        state.delivering = !state.callbacks.is_empty();
        if state.delivering {
            Carried::Some
        } else {
            Carried::All
        }
    }

    /// Runs one callback. False when it is finished by somebody else, who then resumes.
    pub(super) fn run(&self, callback: Callback) -> bool {
        match callback {
            Callback::Invoke(call, invocation) => {
                let _tokio = self.tokio().enter();
                let signal = call.own_signal().unwrap_or(&self.call_cancel).clone();
                let future = self.delegate.invoke_tool(invocation, signal);
                call.begin(DelegateFuture::Tool(future));
            }
            Callback::Notify(call, notification) => {
                let _tokio = self.tokio().enter();
                let future = self
                    .delegate
                    .notify(notification, self.notification_cancel.clone());
                call.begin(DelegateFuture::Notification(future));
            }
            Callback::FireCancel(signal) => signal.cancel(),
            Callback::Cancel(call) => {
                let _tokio = self.tokio().enter();
                return call.cancel();
            }
            Callback::Observed(observer, result) => observer(result),
            Callback::Told => self.told(),
            Callback::Late(observer) => self.observed_late(observer),
            Callback::Stopping => self.delegate.cell_stopping(&self.id),
            Callback::Closed => self.delegate.cell_closed(&self.session_id, &self.id),
            // The last of a cell: only now may its session count as closed.
            Callback::Gone(presence) => drop(presence),
            Callback::Failed(failure) => self.runtime.fail(failure),
        }
        true
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, CellRecord> {
        // Nothing panics while the lock is held except a failed allocation, after which the state
        // is still whole: every change is a single assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
