// SPDX-License-Identifier: Apache-2.0
//! A cell's responses, and the calls of the embedder in the order of events.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{CellResponse, CellStatus, CellTimings, SessionError, SideEffects};

use super::Cell;
use super::state::{Ending, Event, State, size_of};
use crate::call::{CallOwner, DelegateFuture};
use crate::limits::EVENTS_AT_ONCE;
use crate::phase::{Phase, Step};

/// How far somebody has come with the events of a cell.
#[derive(PartialEq, Eq)]
enum Carried {
    /// There are none left.
    All,
    /// There are some left, and nobody else runs them.
    Some,
    /// Somebody else goes on.
    Elsewhere,
}

/// Events that are left for a task. When it is dropped before it has run them, because the embedder's
/// tokio runtime ends, they are run then.
struct RestOfEvents(Option<Arc<Cell>>);

impl RestOfEvents {
    async fn run(mut self) {
        while let Some(cell) = &self.0 {
            if cell.carry(cell.lock(), EVENTS_AT_ONCE) != Carried::Some {
                self.0 = None;
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for RestOfEvents {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.carry(cell.lock(), usize::MAX);
        }
    }
}

impl Cell {
    /// Takes back a response that was made and that nobody has had, so that the next observer gets it.
    /// Of a session that has closed, or when what came later was handed out already, it is lost.
    pub(crate) fn take_back(self: &Arc<Self>, response: Result<CellResponse, SessionError>) {
        let mut state = self.lock();
        let (items, ending) = match response {
            Ok(response) => {
                let ending = match response.status {
                    CellStatus::Yielded => None,
                    CellStatus::Completed { error_text } => Some(Ending::Completed { error_text }),
                    CellStatus::Terminated => Some(Ending::Terminated),
                };
                (response.content_items, ending)
            }
            Err(SessionError::RuntimeLost {
                cause,
                side_effects,
            }) => {
                let ending = match side_effects {
                    SideEffects::None => Ending::NeverRan { cause },
                    SideEffects::Possible => Ending::Lost { cause },
                };
                (Vec::new(), Some(ending))
            }
            // Any other error told of the observation, and there is nothing to keep.
            Err(_) => return,
        };
        let is_end = ending.is_some();
        match state.phase {
            Phase::Delivered if is_end && !state.heard => {
                let kept = self.session.upgrade();
                if !kept.is_some_and(|session| session.result_returned(self)) {
                    return;
                }
                self.step(&mut state, Step::Return);
                state.ending = ending;
            }
            // Another of those who waited for the same end has given it back already.
            Phase::Ended if is_end => return,
            Phase::Delivered => return,
            _ => {}
        }
        // It was within its bound a moment ago, and is so few that nobody is refused for it.
        let bytes = items.iter().map(size_of).sum();
        match &mut state.unread {
            Some(held) => held.add(bytes),
            none => *none = Some(self.unread.hold(bytes)),
        }
        state.items.splice(0..0, items);
        if !is_end && state.phase != Phase::Ended {
            self.yield_now(&mut state);
        }
        self.deliver(state);
    }

    /// Says that somebody has had the cell's result.
    pub(crate) fn heard(&self) {
        self.lock().heard = true;
    }

    pub(super) fn final_response(
        &self,
        state: &mut State,
        buffered: Duration,
    ) -> Result<CellResponse, SessionError> {
        let status = match state.ending.take() {
            Some(Ending::Completed { error_text }) => CellStatus::Completed { error_text },
            Some(Ending::Terminated) => CellStatus::Terminated,
            Some(Ending::Lost { cause }) => {
                return Err(SessionError::RuntimeLost {
                    cause,
                    side_effects: SideEffects::Possible,
                });
            }
            Some(Ending::NeverRan { cause }) => {
                return Err(SessionError::RuntimeLost {
                    cause,
                    side_effects: SideEffects::None,
                });
            }
            None => {
                return Err(SessionError::CellFinished {
                    cell_id: self.id.clone(),
                });
            }
        };
        let mut response = self.response(state, status);
        response.timings.result_buffered_for = Some(buffered);
        Ok(response)
    }

    pub(super) fn response(&self, state: &mut State, status: CellStatus) -> CellResponse {
        let worked_until = state.ended_at.unwrap_or_else(Instant::now);
        let started = *self.started_at.get_or_init(Instant::now);
        // From here on it counts among the events that the client has not taken.
        state.unread = None;
        CellResponse {
            cell_id: self.id.clone(),
            status,
            content_items: std::mem::take(&mut state.items),
            timings: CellTimings {
                host_duration: Some(worked_until.saturating_duration_since(started)),
                result_buffered_for: None,
            },
            state_lost: None,
        }
    }

    pub(super) fn yield_now(&self, state: &mut State) {
        match state.observing.take() {
            Some(observing) => {
                state.yield_pending = false;
                let response = self.response(state, CellStatus::Yielded);
                state
                    .events
                    .push_back(Event::Observed(observing.observer, Ok(response)));
            }
            None => state.yield_pending = !state.items.is_empty(),
        }
    }

    /// Calls the embedder with the cell's events, in order and without the lock, unless somebody
    /// does so already: then that one goes on with what was added. Of a flood this thread runs the
    /// first [`EVENTS_AT_ONCE`], a task the others.
    pub(super) fn deliver<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        state.conclude();
        if !state.delivering && self.carry(state, EVENTS_AT_ONCE) == Carried::Some {
            self.leave_to_task();
        }
    }

    /// As [`deliver`](Self::deliver), for a thread that runs no code of the embedder.
    pub(super) fn leave<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) {
        if !state.delivering && !state.events.is_empty() {
            state.delivering = true;
            drop(state);
            self.leave_to_task();
        }
    }

    fn leave_to_task(self: &Arc<Self>) {
        let rest = RestOfEvents(Some(Arc::clone(self)));
        self.tokio().spawn(rest.run());
    }

    /// Runs events, no more than `at_most`. For the one who delivers: `delivering` is set from the first
    /// event on, and stays set while some are left.
    fn carry<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>, at_most: usize) -> Carried {
        for _ in 0..at_most {
            let Some(event) = state.events.pop_front() else {
                break;
            };
            state.delivering = true;
            drop(state);
            let done = self.shielded(|| self.run(event)).unwrap_or(true);
            if !done {
                // `delivering` stays set: the one who polls the call resumes.
                return Carried::Elsewhere;
            }
            state = self.lock();
        }
        state.delivering = !state.events.is_empty();
        if state.delivering {
            Carried::Some
        } else {
            Carried::All
        }
    }

    /// Runs one event. False when it is finished by somebody else, who then resumes.
    pub(super) fn run(&self, event: Event) -> bool {
        match event {
            Event::Invoke(call, invocation) => {
                let _tokio = self.tokio().enter();
                let signal = call.own_signal().unwrap_or(&self.call_cancel).clone();
                let future = self.delegate.invoke_tool(invocation, signal);
                call.begin(DelegateFuture::Tool(future));
            }
            Event::Notify(call, notification) => {
                let _tokio = self.tokio().enter();
                let future = self
                    .delegate
                    .notify(notification, self.notification_cancel.clone());
                call.begin(DelegateFuture::Notification(future));
            }
            Event::FireCancel(signal) => signal.cancel(),
            Event::Cancel(call) => {
                let _tokio = self.tokio().enter();
                return call.cancel();
            }
            Event::Observed(observer, result) => observer(result),
            Event::Stopping => self.delegate.cell_stopping(&self.id),
            Event::Closed => self.delegate.cell_closed(&self.session_id, &self.id),
            // The last event of a cell: only now may its session count as closed.
            Event::Gone(presence) => drop(presence),
            Event::Failed(failure) => self.runtime.fail(failure),
        }
        true
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held except a failed allocation, after which the state
        // is still whole: every change is a single assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
