// SPDX-License-Identifier: Apache-2.0
//! What the observers of a cell are given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{CellResponse, CellStatus, CellTimings, SessionError, SideEffects};

use super::Cell;
use super::state::{Callback, CellRecord, Ending, size_of};
use crate::phase::{Phase, Step};

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
        state: &mut CellRecord,
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

    pub(super) fn response(&self, state: &mut CellRecord, status: CellStatus) -> CellResponse {
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

    pub(super) fn yield_now(&self, state: &mut CellRecord) {
        match state.observing.take() {
            Some(observing) => {
                state.yield_pending = false;
                let response = self.response(state, CellStatus::Yielded);
                state
                    .callbacks
                    .push_back(Callback::Observed(observing.observer, Ok(response)));
            }
            None => state.yield_pending = !state.items.is_empty(),
        }
    }
}
