// SPDX-License-Identifier: Apache-2.0
//! One cell as its callers and its V8 thread share it: state, output, observers, callbacks.

mod delivery;
mod held;
mod life;
mod responses;
mod state;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use code_mode_api::waist::Budget;
use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, CellState, CellSummary, ContentItem, Globals, LimitName,
    Notification, SessionDelegate, SessionError, SessionId, SideEffects, ToolDefinition, ToolError,
    ToolInvocation,
};
use code_mode_engine::limits::EffectiveLimits;
use code_mode_engine::{Bound, ScriptOptions, StopCause, ToolAnswer, ToolCall};
use serde_json::value::RawValue;

use crate::call::{CallOwner, DelegateAnswer, DelegateCall};
use crate::observation::{ObservationId, Observer};
use crate::phase::{Phase, Step};
use crate::reach::{Mailbox, Reach};
use crate::shared::Shared;
use crate::shield;
use crate::slots::{Presence, Slot};
use crate::store::Store;
use crate::supervisor::RuntimeFailure;
use crate::watchdog;
use state::{Callback, CellRecord, Ending, later, size_of};

pub(crate) use life::SeatedCell;

/// The session that a cell belongs to, as the cell sees it.
pub(crate) trait CellOwner: Send + Sync {
    /// Takes note that the result of a cell has been handed out. It may come back until it is told.
    fn result_delivered(&self, id: &CellId);

    /// Takes note that whoever waited for the result of a cell has been called.
    fn result_told(&self, id: &CellId);

    /// Takes the result of a cell back unread, to be handed out again. False when the session is closed
    /// for it.
    fn result_returned(&self, cell: &Arc<Cell>) -> bool;

    /// Takes note that the thread or the process of a cell is gone: there is room for the next.
    fn body_gone(&self);
}

/// What a cell has from its session.
pub(crate) struct Origin {
    pub(crate) session_id: SessionId,
    pub(crate) store: Arc<Store>,
    pub(crate) runtime: Arc<Shared>,
    pub(crate) slot: Slot,
    pub(crate) presence: Presence,
    /// Of tools' answers that the script has not had.
    pub(crate) answers: Arc<Budget>,
    /// Of output that nobody has read.
    pub(crate) unread: Arc<Budget>,
    pub(crate) session: Weak<dyn CellOwner>,
    pub(crate) delegate: Arc<dyn SessionDelegate>,
}

/// One cell.
pub(crate) struct Cell {
    /// Unique in the process; names the cell to the watchdog.
    pub(crate) uid: u64,
    pub(crate) id: CellId,
    pub(crate) session_id: SessionId,
    pub(crate) exec_call_id: String,
    pub(crate) limits: EffectiveLimits,
    pub(crate) options: ScriptOptions,
    pub(crate) store: Arc<Store>,
    pub(crate) mailbox: Mailbox,
    pub(crate) runtime: Arc<Shared>,
    answers: Arc<Budget>,
    unread: Arc<Budget>,
    session: Weak<dyn CellOwner>,
    delegate: Arc<dyn SessionDelegate>,
    started_at: OnceLock<Instant>,
    call_cancel: CancellationSignal,
    notification_cancel: CancellationSignal,
    state: Mutex<CellRecord>,
}

impl Cell {
    pub(crate) fn new(
        id: CellId,
        exec_call_id: String,
        limits: EffectiveLimits,
        options: ScriptOptions,
        mailbox: Mailbox,
        origin: Origin,
    ) -> Self {
        Self {
            uid: watchdog::next_uid(),
            id,
            session_id: origin.session_id,
            exec_call_id,
            limits,
            options,
            store: origin.store,
            mailbox,
            runtime: origin.runtime,
            answers: origin.answers,
            unread: origin.unread,
            session: origin.session,
            delegate: origin.delegate,
            started_at: OnceLock::new(),
            call_cancel: CancellationSignal::new(),
            notification_cancel: CancellationSignal::new(),
            state: Mutex::new(CellRecord {
                phase: Phase::Admitted,
                slot: Some(origin.slot),
                presence: Some(origin.presence),
                unread: None,
                items: Vec::new(),
                output_bytes: 0,
                output_items: 0,
                observing: None,
                next_observation: 1,
                yield_pending: false,
                terminators: Vec::new(),
                ending: None,
                telling: false,
                heard: false,
                ended_at: None,
                stop: None,
                stopped_at: None,
                waits_since: None,
                reported_unstoppable: false,
                reach: None,
                is_nice: false,
                body_gone: false,
                closed: false,
                hurried: false,
                calls: BTreeMap::new(),
                notifications: BTreeMap::new(),
                callbacks: VecDeque::new(),
                delivering: false,
            }),
        }
    }

    // ---- Callers ----

    /// Starts the clocks and takes the first observer. The V8 thread comes next.
    pub(crate) fn start(self: &Arc<Self>, yield_time: Duration, first: Observer) -> ObservationId {
        let now = Instant::now();
        // A cell is started once, since that consumes its admission; a second value would be lost
        // without harm.
        let _ = self.started_at.set(now);
        let mut state = self.lock();
        self.step(&mut state, Step::Start);
        let id = state.observe(first, later(now, yield_time));
        drop(state);
        self.watch(now);
        id
    }

    /// Observes the cell; the error leaves the observer uncalled.
    pub(crate) fn observe(
        self: &Arc<Self>,
        yield_time: Duration,
        observer: Observer,
    ) -> Result<ObservationId, SessionError> {
        let now = Instant::now();
        let mut state = self.lock();
        match state.phase {
            Phase::Ended => {
                let id = state.next_observation();
                self.hand_out(&mut state, observer);
                self.deliver(state);
                Ok(id)
            }
            Phase::Delivered if state.telling => {
                let id = state.next_observation();
                state.callbacks.push_back(Callback::Late(observer));
                self.deliver(state);
                Ok(id)
            }
            Phase::Delivered => Err(self.has_finished()),
            Phase::Admitted | Phase::Running | Phase::Finishing | Phase::Stopping => {
                if state.observing.is_some() {
                    return Err(SessionError::BusyObserver {
                        cell_id: self.id.clone(),
                    });
                }
                let id = state.observe(observer, later(now, yield_time));
                if state.yield_pending {
                    self.yield_now(&mut state);
                    self.deliver(state);
                } else {
                    drop(state);
                    self.watch(now);
                }
                Ok(id)
            }
        }
    }

    /// Calls the observer of this observation with `Cancelled`, if it still waits.
    pub(crate) fn detach(self: &Arc<Self>, observation: ObservationId) {
        let mut state = self.lock();
        if let Some(observing) = state
            .observing
            .take_if(|observing| observing.id == observation)
        {
            let cancelled = SessionError::Cancelled {
                side_effects: SideEffects::Possible,
            };
            state
                .callbacks
                .push_back(Callback::Observed(observing.observer, Err(cancelled)));
        }
        self.deliver(state);
    }

    /// Gives the observer of this observation what has come so far, if it still waits.
    pub(crate) fn yield_observation(self: &Arc<Self>, observation: ObservationId) {
        let mut state = self.lock();
        let is_observed = state.observing.as_ref();
        if is_observed.is_some_and(|observing| observing.id == observation) {
            self.yield_now(&mut state);
        }
        self.deliver(state);
    }

    /// Ends the cell; the observer is called once the V8 thread has ended.
    pub(crate) fn terminate(self: &Arc<Self>, observer: Observer) -> Result<(), SessionError> {
        let mut state = self.lock();
        match state.phase {
            Phase::Delivered => {
                return Err(SessionError::CellFinished {
                    cell_id: self.id.clone(),
                });
            }
            Phase::Ended if state.body_gone => {
                self.hand_out(&mut state, observer);
                self.deliver(state);
                return Ok(());
            }
            Phase::Ended | Phase::Stopping => {}
            Phase::Admitted | Phase::Running | Phase::Finishing => {
                self.step(&mut state, Step::Terminate);
                self.stop_locked(&mut state, StopCause::Terminated);
            }
        }
        state.terminators.push(observer);
        self.deliver(state);
        self.mailbox.ring();
        self.watch(Instant::now());
        Ok(())
    }

    /// Stops the script for this cause, unless it is already being stopped.
    pub(crate) fn stop(self: &Arc<Self>, cause: StopCause) {
        let mut state = self.lock();
        self.stop_locked(&mut state, cause);
        self.deliver(state);
        self.mailbox.ring();
        self.watch(Instant::now());
    }

    fn stop_locked(&self, state: &mut CellRecord, cause: StopCause) {
        if state.stop.is_none() {
            state.stop = Some(cause);
            state.stopped_at = Some(Instant::now());
            state.callbacks.push_back(Callback::Stopping);
        }
        if let Some(reach) = &state.reach {
            reach.stop();
        }
    }

    // ---- Whoever runs the script ----

    /// Says that the cell's script begins, and how it is reached.
    pub(crate) fn begins(&self, reach: Reach) {
        if let Some(started) = self.started_at.get() {
            self.runtime.counters.births.add(started.elapsed());
        }
        let mut state = self.lock();
        if state.stop.is_some() {
            reach.stop();
        }
        state.reach = Some(reach);
    }

    /// Why the script is to stop, if it is.
    pub(crate) fn stop_cause(&self) -> Option<StopCause> {
        self.lock().stop.clone()
    }

    /// Whether the supervisor has heard that the script does not stop.
    pub(crate) fn is_given_up(&self) -> bool {
        self.lock().reported_unstoppable
    }

    /// Adds to the output, or says which bound that would pass.
    pub(crate) fn output(&self, item: ContentItem) -> Result<(), Bound> {
        let size = size_of(&item);
        let mut state = self.lock();
        if state.output_items + 1 > self.limits.output_items {
            return Err((LimitName::OutputItems, self.limits.output_items));
        }
        if state.output_bytes + size as u64 > self.limits.output_bytes {
            return Err((LimitName::OutputBytes, self.limits.output_bytes));
        }
        self.hold_unread(&mut state, size)?;
        state.output_items += 1;
        state.output_bytes += size as u64;
        state.items.push(item);
        Ok(())
    }

    /// Gives the observer what has come so far; without one, the next observer gets it at once.
    pub(crate) fn yield_control(self: &Arc<Self>) {
        let mut state = self.lock();
        self.yield_now(&mut state);
        self.deliver(state);
    }

    /// Calls a tool; its answer comes to the mailbox.
    pub(crate) fn invoke(self: &Arc<Self>, call: ToolCall, tool: &ToolDefinition) {
        let input = match RawValue::from_string(call.input) {
            Ok(input) => input,
            // V8 has written it, or it was checked; a defect of either must not end the runtime.
            Err(error) => {
                let error = ToolError::new(format!("the tool's input is not JSON: {error}"));
                self.answered(call.call, DelegateAnswer::Tool(Err(error)));
                return;
            }
        };
        let invocation = ToolInvocation {
            session_id: self.session_id.clone(),
            cell_id: self.id.clone(),
            call_id: format!("tool-{}", call.number),
            exec_call_id: self.exec_call_id.clone(),
            tool_name: tool.tool_name.clone(),
            tool_kind: tool.kind,
            input,
        };
        let call = call.call;
        // A script of the contract can abandon no call, so its calls need no signals of their own.
        let own_signal =
            (self.options.globals == Globals::Web).then(|| self.call_cancel.child_token());
        let delegate_call = DelegateCall::new(call, Arc::clone(self) as _, own_signal);
        let mut state = self.lock();
        state.calls.insert(call, Arc::clone(&delegate_call));
        state
            .callbacks
            .push_back(Callback::Invoke(delegate_call, invocation));
        self.deliver(state);
    }

    /// Cancels one tool call, if it is open: its signal fires and its future is dropped.
    pub(crate) fn abandon(self: &Arc<Self>, call: u64) {
        let mut state = self.lock();
        let Some(call) = state.calls.remove(&call) else {
            return;
        };
        if let Some(signal) = call.own_signal() {
            state
                .callbacks
                .push_back(Callback::FireCancel(signal.clone()));
        }
        state.callbacks.push_back(Callback::Cancel(call));
        self.deliver(state);
    }

    /// Sends a notification, or says that too many are undelivered.
    pub(crate) fn notify(self: &Arc<Self>, call: u64, text: String) -> Result<(), Bound> {
        let notification = Notification {
            session_id: self.session_id.clone(),
            cell_id: self.id.clone(),
            exec_call_id: self.exec_call_id.clone(),
            text,
        };
        let bound = self.runtime.config.max_open_notifications;
        let delegate_call = DelegateCall::new(call, Arc::clone(self) as _, None);
        let mut state = self.lock();
        if state.notifications.len() >= bound {
            return Err((LimitName::OpenNotifications, bound as u64));
        }
        state.notifications.insert(call, Arc::clone(&delegate_call));
        state
            .callbacks
            .push_back(Callback::Notify(delegate_call, notification));
        self.deliver(state);
        Ok(())
    }

    /// The cell as a list of cells shows it; `None` once its result has been handed out.
    pub(crate) fn summary(&self) -> Option<CellSummary> {
        let state = self.lock();
        let does = match (state.phase, &state.stop) {
            (Phase::Delivered, _) => return None,
            (Phase::Ended, _) => CellState::Ended,
            (Phase::Stopping, _) | (_, Some(_)) => CellState::Stopping,
            (Phase::Admitted | Phase::Running | Phase::Finishing, None) => CellState::Running,
        };
        Some(CellSummary {
            cell_id: self.id.clone(),
            exec_call_id: self.exec_call_id.clone(),
            state: does,
            age: self
                .started_at
                .get()
                .map_or(Duration::ZERO, Instant::elapsed),
            output_bytes: state.output_bytes,
            unread_bytes: state.items.iter().map(|item| size_of(item) as u64).sum(),
        })
    }

    /// Tool calls that are open.
    pub(crate) fn open_calls(&self) -> usize {
        self.lock().calls.len()
    }

    /// What resolves when the embedder has room for more of what this cell says; `None` when it has. For
    /// the task of a process.
    pub(crate) fn room(&self) -> Option<BoxFuture<'static, ()>> {
        self.shielded(|| self.delegate.room(&self.id)).flatten()
    }

    /// Waits until the embedder has room for so many bytes more. For the cell's own thread, which holds
    /// no lock then.
    pub(crate) fn make_room(&self, bytes: usize) {
        self.lock().waits_since = Some(Instant::now());
        self.shielded(|| self.delegate.make_room(&self.id, bytes));
        let mut state = self.lock();
        if let (Some(since), Some(stopped)) = (state.waits_since.take(), state.stopped_at) {
            let waited = Instant::now().saturating_duration_since(since.max(stopped));
            state.stopped_at = Some(stopped + waited);
        }
    }

    /// Runs code of the embedder; a panic of it becomes a failure and `None`.
    fn shielded<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        shield::shielded(run, |message| self.callback_panicked(message))
    }

    /// Says that the script runs no more: open tool calls are cancelled.
    pub(crate) fn script_ended(self: &Arc<Self>) {
        let mut state = self.lock();
        self.step(&mut state, Step::ScriptEnded);
        state.reach = None;
        state.cancel_calls(&self.call_cancel);
        self.deliver(state);
    }

    /// Whether the cell has nothing left to wait for before its result goes out.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.lock();
        state.notifications.is_empty() || state.hurried || state.phase == Phase::Stopping
    }

    /// Gives the cell its outcome. A cell that is being terminated keeps that as its outcome and
    /// gets it when the thread has ended.
    pub(crate) fn finished(self: &Arc<Self>, error_text: Option<String>) {
        let mut state = self.lock();
        state.cancel_notifications(&self.notification_cancel);
        if state.phase != Phase::Stopping {
            self.end(&mut state, Step::Complete, Ending::Completed { error_text });
        }
        self.deliver(state);
    }

    /// Reports a step that the cell's state does not have; for fault injection.
    pub(crate) fn impossible_step(self: &Arc<Self>) {
        let mut state = self.lock();
        self.step(&mut state, Step::Start);
        self.deliver(state);
    }
}

impl CallOwner for Cell {
    fn tokio(&self) -> &tokio::runtime::Handle {
        &self.runtime.tokio
    }

    fn answered(&self, call: u64, answer: DelegateAnswer) {
        match answer {
            DelegateAnswer::Tool(result) => {
                if let Some(call) = self.lock().calls.remove(&call) {
                    self.runtime.counters.tool_calls.add(call.age());
                }
                let (result, held) = self.hold_answer(result.map(Box::from));
                self.mailbox.answer(ToolAnswer { call, result }, held);
            }
            DelegateAnswer::Notification(result) => {
                if let Err(error) = result {
                    tracing::warn!(
                        session = %self.session_id, cell = %self.id,
                        exec_call = self.exec_call_id, %error,
                        "a notification was not delivered"
                    );
                }
                self.lock().notifications.remove(&call);
                self.mailbox.ring();
            }
        }
    }

    fn callback_panicked(&self, message: String) {
        self.runtime.fail(RuntimeFailure::CallbackPanicked {
            session_id: self.session_id.clone(),
            cell_id: self.id.clone(),
            message,
        });
    }

    fn resume_callbacks(self: Arc<Self>) {
        let mut state = self.lock();
        state.delivering = false;
        self.deliver(state);
    }
}
