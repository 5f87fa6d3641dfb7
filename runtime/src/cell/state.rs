// SPDX-License-Identifier: Apache-2.0
//! What a cell's lock guards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::waist::Held;
use code_mode_api::{
    CancellationSignal, CellResponse, ContentItem, Notification, SessionError, ToolInvocation,
};

use code_mode_engine::StopCause;

use crate::call::DelegateCall;
use crate::observation::{ObservationId, Observer};
use crate::phase::Phase;
use crate::reach::Reach;
use crate::slots::{Presence, Slot};
use crate::supervisor::RuntimeFailure;

/// How a cell ended, as its observer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    Completed { error_text: Option<String> },
    Terminated,
    Lost { cause: String },
    NeverRan { cause: String },
}

pub(super) struct Observing {
    pub(super) id: ObservationId,
    pub(super) observer: Observer,
    pub(super) yield_at: Instant,
}

/// A call of the embedder, or of what stands for it: something has happened to the cell that it is to be told.
pub(super) enum Callback {
    Invoke(Arc<DelegateCall>, ToolInvocation),
    Notify(Arc<DelegateCall>, Notification),
    FireCancel(CancellationSignal),
    Cancel(Arc<DelegateCall>),
    Observed(Observer, Result<CellResponse, SessionError>),
    /// Whoever waited for the result has been called.
    Told,
    /// An observer that came while the result was being told.
    Late(Observer),
    /// The cell was told to stop: its thread is not to wait for the embedder any more.
    Stopping,
    Closed,
    /// What ran the cell is gone and nothing more is told of it; the session lets go of the cell.
    Gone(Presence),
    Failed(RuntimeFailure),
}

pub(super) struct CellRecord {
    pub(super) phase: Phase,
    /// Held until the cell has ended.
    pub(super) slot: Option<Slot>,
    /// Held until the cell is gone.
    pub(super) presence: Option<Presence>,
    /// What `items` count for.
    pub(super) unread: Option<Held>,
    pub(super) items: Vec<ContentItem>,
    pub(super) output_bytes: u64,
    pub(super) output_items: u64,
    pub(super) observing: Option<Observing>,
    pub(super) next_observation: u64,
    /// A `yield_control` that nobody has observed yet.
    pub(super) yield_pending: bool,
    /// Those who wait for the V8 thread to have ended.
    pub(super) terminators: Vec<Observer>,
    pub(super) ending: Option<Ending>,
    /// The result was handed out, and whoever waited for it has not been called yet.
    pub(super) telling: bool,
    /// Somebody has had the result.
    pub(super) heard: bool,
    pub(super) ended_at: Option<Instant>,
    pub(super) stop: Option<StopCause>,
    /// When the cell was told to stop; later, by as long as it has waited for its embedder since.
    pub(super) stopped_at: Option<Instant>,
    /// Since when the cell's own thread waits for the embedder to have room.
    pub(super) waits_since: Option<Instant>,
    pub(super) reported_unstoppable: bool,
    /// `None` before the script begins and once it has ended.
    pub(super) reach: Option<Reach>,
    /// The script has computed for so long that it lets others go first.
    pub(super) is_nice: bool,
    /// Its thread was joined or its process reaped, or it will never have one.
    pub(super) body_gone: bool,
    /// The embedder has been told, or is just being told, that nothing more follows.
    pub(super) closed: bool,
    /// Undelivered notifications hold the result back no longer.
    pub(super) hurried: bool,
    pub(super) calls: BTreeMap<u64, Arc<DelegateCall>>,
    pub(super) notifications: BTreeMap<u64, Arc<DelegateCall>>,
    pub(super) callbacks: VecDeque<Callback>,
    /// Somebody runs the callbacks; everybody else only adds to them.
    pub(super) delivering: bool,
}

impl CellRecord {
    pub(super) fn next_observation(&mut self) -> ObservationId {
        let id = ObservationId(self.next_observation);
        self.next_observation += 1;
        id
    }

    pub(super) fn observe(&mut self, observer: Observer, yield_at: Instant) -> ObservationId {
        let id = self.next_observation();
        self.observing = Some(Observing {
            id,
            observer,
            yield_at,
        });
        id
    }

    pub(super) fn cpu_time_left(&self, limit: Duration) -> Duration {
        self.reach
            .as_ref()
            .map_or(limit, |reach| limit.saturating_sub(reach.cpu_time()))
    }

    /// Whether the script is to let others go first once it has computed for long. One that has not begun may
    /// be.
    pub(super) fn may_become_nice(&self) -> bool {
        !self.is_nice && self.reach.as_ref().is_none_or(Reach::has_priority)
    }

    pub(super) fn cancel_calls(&mut self, signal: &CancellationSignal) {
        cancel(&mut self.callbacks, std::mem::take(&mut self.calls), signal);
    }

    pub(super) fn cancel_notifications(&mut self, signal: &CancellationSignal) {
        cancel(
            &mut self.callbacks,
            std::mem::take(&mut self.notifications),
            signal,
        );
    }
}

fn cancel(
    callbacks: &mut VecDeque<Callback>,
    calls: BTreeMap<u64, Arc<DelegateCall>>,
    signal: &CancellationSignal,
) {
    if calls.is_empty() {
        return;
    }
    callbacks.push_back(Callback::FireCancel(signal.clone()));
    callbacks.extend(calls.into_values().map(Callback::Cancel));
}

/// What an item counts for.
pub(super) fn size_of(item: &ContentItem) -> usize {
    match item {
        ContentItem::Text(text) => text.len(),
        ContentItem::Image { image_url, .. } => image_url.len(),
        ContentItem::Audio { audio_url } => audio_url.len(),
    }
}

/// `time` after `start`, or a time that never comes when the clock cannot hold it.
pub(super) fn later(start: Instant, time: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    start.checked_add(time.min(NEVER)).unwrap_or(start)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
