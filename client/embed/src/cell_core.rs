// SPDX-License-Identifier: Apache-2.0
//! What is known of one cell: written by its follower and the delegate, read by its handles.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use code_mode_api::{CellId, ContentItem, StateLost};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::cell_event::{CellEvent, CellEvents, Hub, MAX_WAITING_EVENTS};
use crate::output::size_of_item;
use crate::{ExecError, Output, Progress};

/// Output of one cell that is kept (128 MiB); a cell that puts out more is terminated. Hosts have
/// lower bounds of their own, so this only guards against one that has none.
pub const MAX_OUTPUT_BYTES: usize = 128 << 20;

/// The longest time that a call or an observer waits for output that the host has (1 s). It takes an
/// exchange with the host, so this only guards against one that does not answer; events come a
/// little out of order then.
pub const ORDER_DEADLINE: Duration = Duration::from_secs(1);

/// Why a cell is to be terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Asked,
    TimedOut(Duration),
    TooMuchOutput,
}

/// How far a cell has come; those who wait for it look at this.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// How often the script has yielded by itself.
    yields: u64,
    /// The newest request for output that was carried out.
    flushed: u64,
    /// How many notes were published.
    published: u64,
    ended: bool,
}

#[derive(Default)]
struct FollowedCell {
    output: Vec<Arc<ContentItem>>,
    bytes: usize,
    /// How much of the output an observer has seen, and how many yields.
    looked: usize,
    looked_yields: u64,
    /// Events behind output that is still with the host, in order.
    notes: VecDeque<CellEvent>,
    noted: u64,
    flush: u64,
    stop: Option<Stop>,
    /// Whether a handle follows it; before, its notes are kept for the one that will.
    claimed: bool,
    /// Whether it is kept after its end for somebody to ask.
    detached: bool,
    ended: Option<Result<Output, ExecError>>,
    state_lost: Option<(StateLost, bool)>,
    host_duration: Option<Duration>,
}

/// One cell.
pub(crate) struct CellCore {
    pub(crate) id: CellId,
    pub(crate) exec_call_id: Arc<str>,
    pub(crate) started: Instant,
    pub(crate) hub: Arc<Hub>,
    state: Mutex<FollowedCell>,
    mark: watch::Sender<Mark>,
    /// Wakes the follower.
    nudge: Notify,
}

/// A place in a cell's notes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted(u64);

/// What a follower promises to have done once it has the output that is there now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    notes: usize,
    flush: u64,
}

impl Due {
    /// Those notes were published without waiting.
    pub(crate) fn forget_notes(&mut self) {
        self.notes = 0;
    }
}

impl CellCore {
    pub(crate) fn new(id: CellId, exec_call_id: Arc<str>) -> Self {
        Self {
            id,
            exec_call_id,
            started: Instant::now(),
            hub: Arc::default(),
            state: Mutex::default(),
            mark: watch::Sender::default(),
            nudge: Notify::new(),
        }
    }

    /// Takes the cell for a handle.
    pub(crate) fn claim(&self) {
        self.lock().claimed = true;
    }

    /// Nobody follows: the notes so far are of no use.
    pub(crate) fn forget_notes(&self) {
        let mut state = self.lock();
        let notes = state.notes.len() as u64;
        state.notes.clear();
        self.mark.send_modify(|mark| mark.published += notes);
    }

    pub(crate) fn is_claimed(&self) -> bool {
        self.lock().claimed
    }

    /// Another reader of the events.
    pub(crate) fn events(&self) -> CellEvents {
        let events = Hub::subscribe(&self.hub);
        // From now on somebody waits for the output.
        self.nudge.notify_one();
        events
    }

    /// Whether events are of any use: somebody follows, or may yet.
    pub(crate) fn is_followed(&self) -> bool {
        !self.lock().claimed || self.hub.has_readers()
    }

    /// Puts an event behind the output that the script made before it.
    pub(crate) fn note(&self, event: CellEvent) -> Noted {
        let mut state = self.lock();
        if state.notes.len() >= MAX_WAITING_EVENTS
            && let Some(oldest) = state.notes.pop_front()
        {
            self.hub.publish(oldest);
            self.mark.send_modify(|mark| mark.published += 1);
        }
        state.notes.push_back(event);
        state.noted += 1;
        self.nudge.notify_one();
        Noted(state.noted)
    }

    /// Publishes an event at once, unless others are before it.
    pub(crate) fn note_without_output(&self, event: CellEvent) {
        let mut state = self.lock();
        if state.notes.is_empty() && state.claimed {
            self.hub.publish(event);
        } else if state.notes.len() < MAX_WAITING_EVENTS || self.hub.is_lossless() {
            // For a reader that must miss nothing, calls wait for room, so that these are bounded by
            // the calls that a provider lets be open.
            state.notes.push_back(event);
            state.noted += 1;
        }
    }

    /// Resolves when the reader that must miss nothing has room, or the cell is to end.
    pub(crate) async fn room(&self) {
        let is_over = || {
            let state = self.lock();
            state.stop.is_some() || state.ended.is_some()
        };
        self.hub.room(is_over).await;
    }

    /// Resolves when a note was published, at the latest after [`ORDER_DEADLINE`].
    pub(crate) async fn published(&self, Noted(number): Noted) {
        let mut marks = self.mark.subscribe();
        let published = marks.wait_for(|mark| mark.published >= number || mark.ended);
        // Too late is no harm: the event comes a little out of order then.
        drop(timeout(ORDER_DEADLINE, published).await);
    }

    /// Resolves when the follower is to look: at [`stop`](Self::stop), [`due`](Self::due) or the readers.
    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// What waits for the output that is there now.
    pub(crate) fn due(&self) -> Due {
        let state = self.lock();
        Due {
            notes: state.notes.len(),
            flush: state.flush,
        }
    }

    /// Whether anything waits for output.
    pub(crate) fn is_due(&self) -> bool {
        let state = self.lock();
        !state.notes.is_empty() || state.flush > self.mark.borrow().flushed
    }

    /// The output that these waited for is there.
    pub(crate) fn done(&self, due: Due) {
        let mut state = self.lock();
        let notes = due.notes.min(state.notes.len());
        for note in state.notes.drain(..notes) {
            self.hub.publish(note);
        }
        self.mark.send_modify(|mark| {
            mark.published += notes as u64;
            mark.flushed = mark.flushed.max(due.flush);
        });
    }

    /// Takes output of the cell; false when it is too much.
    pub(crate) fn add_output(&self, items: Vec<ContentItem>) -> bool {
        let mut state = self.lock();
        for item in items {
            state.bytes = state.bytes.saturating_add(size_of_item(&item));
            if state.bytes > MAX_OUTPUT_BYTES {
                return false;
            }
            let item = Arc::new(item);
            state.output.push(Arc::clone(&item));
            self.hub.publish(CellEvent::Output(item));
        }
        true
    }

    /// The output that is kept, in bytes.
    pub(crate) fn output_bytes(&self) -> usize {
        self.lock().bytes
    }

    pub(crate) fn yielded(&self) {
        self.hub.publish(CellEvent::Yielded);
        self.mark.send_modify(|mark| mark.yields += 1);
    }

    /// Says that the session's host was lost before this cell, and whether its values are back.
    pub(crate) fn state_was_lost(&self, lost: StateLost, restored: bool) {
        self.hub.publish(CellEvent::StateLost {
            lost: lost.clone(),
            restored,
        });
        self.lock().state_lost = Some((lost, restored));
    }

    /// See [`CellHandle::state_lost`](crate::CellHandle::state_lost).
    pub(crate) fn state_lost(&self) -> Option<(StateLost, bool)> {
        self.lock().state_lost.clone()
    }

    pub(crate) fn output(&self) -> Output {
        Output::new(&self.lock().output)
    }

    /// Says how the cell has ended; only the first word counts.
    pub(crate) fn end(&self, result: Result<Output, ExecError>, host_duration: Option<Duration>) {
        let due = self.due();
        self.done(due);
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(result.clone());
        state.host_duration = host_duration;
        self.hub.publish(CellEvent::Ended(result));
        drop(state);
        self.mark.send_modify(|mark| mark.ended = true);
        self.hub.wake();
    }

    /// How the cell has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Result<Output, ExecError>> {
        self.lock().ended.clone()
    }

    /// Resolves when the cell has ended.
    pub(crate) async fn end_of(&self) -> Result<Output, ExecError> {
        let mut marks = self.mark.subscribe();
        // The sender is this cell's own.
        drop(marks.wait_for(|mark| mark.ended).await);
        self.ended().unwrap_or_else(|| Ok(self.output()))
    }

    /// Asks for the cell's termination; the first reason counts.
    pub(crate) fn ask_to_stop(&self, why: Stop) {
        self.lock().stop.get_or_insert(why);
        self.nudge.notify_one();
        self.hub.wake();
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        self.lock().stop
    }

    pub(crate) fn detach(&self) {
        self.lock().detached = true;
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.lock().detached
    }

    /// Resolves when the cell has ended or yielded, or the time is over; gives what has come since
    /// the last look.
    pub(crate) async fn observe(&self, time: Duration) -> Progress {
        let mut marks = self.mark.subscribe();
        let seen = self.lock().looked_yields;
        let came = marks.wait_for(|mark| mark.ended || mark.yields > seen);
        if timeout(time, came).await.is_err() {
            let asked = {
                let mut state = self.lock();
                state.flush += 1;
                state.flush
            };
            self.nudge.notify_one();
            let came = marks.wait_for(|mark| mark.ended || mark.flushed >= asked);
            // A cell that cannot be observed now has given what it could.
            drop(timeout(ORDER_DEADLINE, came).await);
        }
        let mut state = self.lock();
        state.looked_yields = self.mark.borrow().yields;
        let output = Output::new(state.output.get(state.looked..).unwrap_or_default());
        state.looked = state.output.len();
        match &state.ended {
            None => Progress::Running(output),
            Some(result) => Progress::Ended {
                output,
                result: result.clone().map(drop),
                host_duration: state.host_duration,
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, FollowedCell> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "cell_core_tests.rs"]
mod tests;
