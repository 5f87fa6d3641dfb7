// SPDX-License-Identifier: Apache-2.0
//! What time brings to a cell; called by the watchdog.

use std::sync::Arc;
use std::time::Instant;

use code_mode_api::LimitName;
use code_mode_engine::StopCause;

use super::Cell;
use super::state::{Callback, CellRecord, later, millis};
use crate::limits::{NICE_AFTER, STOP_GRACE, WATCHDOG_TICK};
use crate::phase::Phase;
use crate::supervisor::RuntimeFailure;
use crate::watchdog::{self, Watched};

impl Watched for Cell {
    fn uid(&self) -> u64 {
        self.uid
    }

    fn check(self: Arc<Self>, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        if state
            .observing
            .as_ref()
            .is_some_and(|observing| observing.yield_at <= now)
        {
            self.yield_now(&mut state);
        }
        if state.phase == Phase::Finishing {
            state.hurried = self.wall_deadline() <= now;
            if state.hurried {
                self.mailbox.ring();
            }
        } else if state.stop.is_none() && state.phase == Phase::Running {
            if self.wall_deadline() <= now {
                let limit = millis(self.limits.wall_time);
                self.stop_locked(&mut state, StopCause::Limit(LimitName::WallTimeMs, limit));
                self.mailbox.ring();
            } else if state.cpu_time_left(self.limits.cpu_time).is_zero() {
                let limit = millis(self.limits.cpu_time);
                self.stop_locked(&mut state, StopCause::Limit(LimitName::CpuTimeMs, limit));
                self.mailbox.ring();
            } else if !state.is_nice
                && let Some(reach) = &state.reach
                && reach.cpu_time() >= NICE_AFTER
            {
                reach.make_nice();
                state.is_nice = true;
            }
        } else if let Some(reach) = &state.reach
            && state.stop.is_some()
        {
            reach.stop_again();
        }
        // A thread that waits for its embedder does not run on.
        let overdue = state.waits_since.is_none()
            && state.stopped_at.is_some_and(|at| at + STOP_GRACE <= now);
        let may_run_on = state
            .reach
            .as_ref()
            .is_some_and(|reach| !reach.stops_for_certain());
        if overdue && may_run_on && !state.reported_unstoppable {
            state.reported_unstoppable = true;
            state
                .callbacks
                .push_back(Callback::Failed(RuntimeFailure::Unstoppable {
                    session_id: self.session_id.clone(),
                    cell_id: self.id.clone(),
                }));
        }
        let next = self.next_check(&state, now);
        self.leave(state);
        next
    }
}

impl Cell {
    pub(super) fn next_check(&self, state: &CellRecord, now: Instant) -> Option<Instant> {
        let yield_at = state.observing.as_ref().map(|observing| observing.yield_at);
        let bound = match (&state.stop, state.phase) {
            (_, Phase::Finishing) if !state.hurried => Some(self.wall_deadline()),
            (None, Phase::Running) => {
                // Nobody computes for so long any sooner.
                let cpu_time = match state.may_become_nice() {
                    true => self.limits.cpu_time.min(NICE_AFTER),
                    false => self.limits.cpu_time,
                };
                let cpu = now + state.cpu_time_left(cpu_time).max(WATCHDOG_TICK);
                Some(cpu.min(self.wall_deadline()))
            }
            (Some(_), Phase::Running | Phase::Stopping) if !state.body_gone => {
                Some(now + WATCHDOG_TICK)
            }
            _ => None,
        };
        yield_at.into_iter().chain(bound).min()
    }

    pub(super) fn wall_deadline(&self) -> Instant {
        later(
            *self.started_at.get_or_init(Instant::now),
            self.limits.wall_time,
        )
    }

    /// Makes the watchdog look at the cell in time for its next deadline.
    pub(super) fn watch(self: &Arc<Self>, now: Instant) {
        let next = self.next_check(&self.lock(), now);
        if let Some(next) = next {
            watchdog::watch(self, next);
        }
    }
}
