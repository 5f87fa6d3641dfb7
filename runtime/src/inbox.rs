//! What other threads tell a cell's V8 thread.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use code_mode_api::{RawJson, ToolError};

/// The answer to one tool call.
pub(crate) struct ToolAnswer {
    /// The number of the call within its cell.
    pub(crate) call: u64,
    /// The result, or the error that rejects the script's promise.
    pub(crate) result: Result<RawJson, ToolError>,
}

/// Answers in the order of their arrival, and a bell. Bounded by the cell's open tool calls.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    bell: Condvar,
}

#[derive(Default)]
struct InboxState {
    answers: VecDeque<ToolAnswer>,
    rung: bool,
}

impl Inbox {
    /// Delivers an answer and wakes the V8 thread.
    pub(crate) fn answer(&self, answer: ToolAnswer) {
        self.lock().answers.push_back(answer);
        self.bell.notify_one();
    }

    /// Wakes the V8 thread so that it looks at the cell's state.
    pub(crate) fn ring(&self) {
        self.lock().rung = true;
        self.bell.notify_one();
    }

    /// All answers that have arrived. Waits until there is one, the bell rings or `until` has
    /// passed; without `until` the wait has no end of its own.
    pub(crate) fn take(&self, until: Option<Instant>) -> VecDeque<ToolAnswer> {
        let mut state = self.lock();
        loop {
            if state.rung || !state.answers.is_empty() {
                state.rung = false;
                return std::mem::take(&mut state.answers);
            }
            state = match until {
                None => self
                    .bell
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return VecDeque::new();
                    }
                    self.bell
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
