// SPDX-License-Identifier: Apache-2.0
//! The life of a cell: its steps, its end, and what follows from both.
//!
//! What a cell holds is given back here and nowhere else: its slot once it has ended, its presence in the
//! session once what ran it is gone and nothing of it is left to tell. Here alone it is decided, too, when a
//! cell is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::SessionError;
use code_mode_engine::StopCause;

use super::Cell;
use super::state::{Callback, CellRecord, Ending};
use crate::figures::CellEnd;
use crate::observation::Observer;
use crate::phase::{Phase, Step};
use crate::slots::Seat;
use crate::supervisor::RuntimeFailure;
use crate::watchdog;

/// A cell and the seat of its thread or process: whoever runs the cell holds this, from its admission until
/// that thread was joined or that process reaped.
///
/// Its drop gives the seat back and tells the cell that nothing runs it any more. So a cell whose runner
/// panics, or is dropped with the Tokio runtime that it is a task of, ends like any other.
pub(crate) struct SeatedCell {
    cell: Arc<Cell>,
    /// `None` once it is being dropped.
    seat: Option<Seat>,
    leaves: Leaving,
}

/// How what runs a cell leaves it.
enum Leaving {
    /// It was joined or reaped, and had given the cell its outcome.
    InOrder,
    /// It was joined and had panicked, with this message.
    Panicked(String),
    /// There was none to be had, and that is a defect.
    NoThread(String),
    /// There was none to be had for the moment.
    NeverBorn(String),
    /// It was lost on the way to all that.
    Lost,
}

impl SeatedCell {
    pub(crate) fn new(cell: Cell, seat: Seat) -> Self {
        Self {
            cell: Arc::new(cell),
            seat: Some(seat),
            leaves: Leaving::Lost,
        }
    }

    /// The cell.
    pub(crate) fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Its V8 thread has really ended: `panic` is the thread's panic, if it had one.
    pub(crate) fn joined(mut self, panic: Option<String>) {
        self.leaves = panic.map_or(Leaving::InOrder, Leaving::Panicked);
    }

    /// It gets no V8 thread.
    pub(crate) fn without_thread(mut self, message: String) {
        self.leaves = Leaving::NoThread(message);
    }

    /// Its process has ended and was reaped.
    pub(crate) fn reaped(mut self) {
        self.leaves = Leaving::InOrder;
    }

    /// It gets no process: it ends with this cause, and nothing of it has run.
    pub(crate) fn never_born(mut self, cause: String) {
        self.leaves = Leaving::NeverBorn(cause);
    }
}

impl Drop for SeatedCell {
    fn drop(&mut self) {
        drop(self.seat.take());
        let leaves = std::mem::replace(&mut self.leaves, Leaving::Lost);
        self.cell.body_gone(leaves);
    }
}

impl CellRecord {
    /// What follows from where the cell stands: its slot is given back, its embedder told that it is closed,
    /// its session that it is gone. Each happens once, whoever comes to this first.
    pub(super) fn conclude(&mut self) {
        let has_ended = matches!(self.phase, Phase::Ended | Phase::Delivered);
        if has_ended || self.body_gone {
            self.slot = None;
        }
        if self.phase == Phase::Delivered && !self.closed {
            self.closed = true;
            self.callbacks.push_back(Callback::Closed);
        }
        // A result that nobody has had holds a presence, so that a session which ends hands it out, and says
        // that its cell is closed, before it counts as closed itself.
        if self.body_gone
            && self.phase != Phase::Ended
            && let Some(presence) = self.presence.take()
        {
            self.callbacks.push_back(Callback::Gone(presence));
        }
    }
}

impl Cell {
    pub(super) fn step(&self, state: &mut CellRecord, step: Step) {
        match state.phase.after(step) {
            Some(phase) => state.phase = phase,
            None => {
                state
                    .callbacks
                    .push_back(Callback::Failed(RuntimeFailure::ImpossibleTransition {
                        session_id: self.session_id.clone(),
                        cell_id: self.id.clone(),
                        step: format!("{step:?} in {:?}", state.phase),
                    }))
            }
        }
    }

    /// Ends the cell: whoever waits gets the result.
    pub(super) fn end(&self, state: &mut CellRecord, step: Step, ending: Ending) {
        self.step(state, step);
        if state.phase != Phase::Ended {
            return;
        }
        state.ended_at = Some(Instant::now());
        self.runtime.counters.ended(kind(&ending, state));
        state.ending = Some(ending);
        let mut waiting: Vec<Observer> = std::mem::take(&mut state.terminators);
        waiting.extend(state.observing.take().map(|observing| observing.observer));
        if !waiting.is_empty() {
            self.step(state, Step::Deliver);
            let response = self.final_response(state, Duration::ZERO);
            for observer in waiting {
                state
                    .callbacks
                    .push_back(Callback::Observed(observer, response.clone()));
            }
            self.delivered(state);
        }
    }

    /// Gives the kept result of an ended cell to this observer.
    pub(super) fn hand_out(&self, state: &mut CellRecord, observer: Observer) {
        self.step(state, Step::Deliver);
        let buffered = state.ended_at.map_or(Duration::ZERO, |at| at.elapsed());
        let response = self.final_response(state, buffered);
        state
            .callbacks
            .push_back(Callback::Observed(observer, response));
        self.delivered(state);
    }

    /// The result is in the callbacks. Until these have run it may come back, so who asks for it has to wait.
    fn delivered(&self, state: &mut CellRecord) {
        if let Some(session) = self.session.upgrade() {
            session.result_delivered(&self.id);
        }
        state.telling = true;
        state.callbacks.push_back(Callback::Told);
    }

    /// Whoever waited for the result has been called; if it did not come back, somebody has it.
    pub(super) fn told(&self) {
        if let Some(session) = self.session.upgrade() {
            session.result_told(&self.id);
        }
        self.lock().telling = false;
    }

    /// Gives an observer that came while the result was being told what there is to give by now.
    pub(super) fn observed_late(&self, observer: Observer) {
        let mut state = self.lock();
        if state.phase == Phase::Ended {
            self.hand_out(&mut state, observer);
            state.conclude();
            return;
        }
        let finished = Err(self.has_finished());
        state
            .callbacks
            .push_back(Callback::Observed(observer, finished));
    }

    /// The error for whoever asks for a result that somebody else has had.
    pub(super) fn has_finished(&self) -> SessionError {
        SessionError::CellFinished {
            cell_id: self.id.clone(),
        }
    }

    /// What ran the cell is gone, or was never there. A cell that has no outcome by now gets one.
    fn body_gone(self: &Arc<Self>, leaves: Leaving) {
        // Its presence has kept the session until now.
        let session = self.session.upgrade();
        // Before anybody hears of its end, and may count on the room.
        self.mailbox.close();
        let mut state = self.lock();
        // Its body sets how it is reached as the first thing, and its script's end ends that.
        let has_begun = state.reach.take().is_some() || state.phase != Phase::Running;
        state.body_gone = true;
        state.cancel_calls(&self.call_cancel);
        state.cancel_notifications(&self.notification_cancel);
        let runs = matches!(state.phase, Phase::Running | Phase::Finishing);
        let failure = self.failure(&leaves, runs);
        let cause = match (&failure, leaves) {
            (Some(failure), _) => failure.to_string(),
            (None, Leaving::NeverBorn(cause)) => cause,
            (None, _) => "what ran the cell was dropped".to_owned(),
        };
        let failed = failure.is_some();
        state.callbacks.extend(failure.map(Callback::Failed));
        if state.phase == Phase::Stopping && !failed {
            self.end(&mut state, Step::ThreadStopped, Ending::Terminated);
        } else if runs || state.phase == Phase::Stopping {
            let ending = match has_begun {
                true => Ending::Lost { cause },
                false => Ending::NeverRan { cause },
            };
            self.end(&mut state, Step::Lose, ending);
        }
        // What is left asked for the termination of a cell that had ended by itself: the first one
        // gets the result.
        for observer in std::mem::take(&mut state.terminators) {
            if state.phase == Phase::Ended {
                self.hand_out(&mut state, observer);
            } else {
                let finished = Err(self.has_finished());
                state
                    .callbacks
                    .push_back(Callback::Observed(observer, finished));
            }
        }
        self.deliver(state);
        watchdog::forget(self.uid);
        if let Some(session) = session {
            session.body_gone();
        }
    }

    /// The failure of the runtime that there is in how a cell was left, while it `runs` or when it does not.
    fn failure(&self, leaves: &Leaving, runs: bool) -> Option<RuntimeFailure> {
        let (session_id, cell_id) = (self.session_id.clone(), self.id.clone());
        match leaves {
            Leaving::Panicked(message) => Some(RuntimeFailure::ThreadPanicked {
                session_id,
                cell_id,
                message: message.clone(),
            }),
            Leaving::NoThread(message) => Some(RuntimeFailure::NoThread {
                session_id,
                cell_id,
                message: message.clone(),
            }),
            Leaving::InOrder if runs => Some(RuntimeFailure::Vanished {
                session_id,
                cell_id,
            }),
            // A Tokio runtime that ends drops its tasks, which is no defect.
            Leaving::Lost if runs && std::thread::panicking() => Some(RuntimeFailure::Vanished {
                session_id,
                cell_id,
            }),
            Leaving::InOrder | Leaving::NeverBorn(_) | Leaving::Lost => None,
        }
    }
}

/// What a cell's end counts as. What a process says of its own limits comes as the text alone, and how it was
/// lost is only there in words; a script that throws errors of these names miscounts none but itself.
fn kind(ending: &Ending, state: &CellRecord) -> CellEnd {
    match (ending, &state.stop) {
        (Ending::Lost { .. }, _) => CellEnd::Lost,
        (Ending::NeverRan { .. }, _) => CellEnd::NeverRan,
        (Ending::Terminated, _) => CellEnd::Terminated,
        (Ending::Completed { error_text: None }, _) => CellEnd::Completed,
        (Ending::Completed { .. }, Some(StopCause::Limit(..))) => CellEnd::Limit,
        (
            Ending::Completed {
                error_text: Some(text),
            },
            _,
        ) => {
            if text.starts_with("LimitError: ") {
                CellEnd::Limit
            } else if text.starts_with("ProcessError: ") {
                CellEnd::Lost
            } else {
                CellEnd::Failed
            }
        }
    }
}
