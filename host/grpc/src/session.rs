// SPDX-License-Identifier: Apache-2.0
//! One open session: what its client has asked, and what becomes of its events.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use code_mode_api::waist::{Answer, Ask, AskId, Credit, Event, Outbox, Session, Taken};
use code_mode_api::{
    CellId, CellResponse, CellStatus, ExecuteRequest, Notification, SessionError, ToolInvocation,
};
use code_mode_grpc::tonic::Status;
use code_mode_grpc::v1;
use code_mode_grpc::v1::session_event::Event as LeaseEvent;
use code_mode_service::SessionOutput;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tracing::Span;
use uuid::Uuid;

use crate::asks::{Asker, Asks, Execute, Seen};
use crate::calls::{Calls, Cancelled, ToolAnswer};
use crate::convert::{self, Outcome};
use crate::gate::{Gate, Pass};
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::peer::Owner;
use crate::status;
use crate::word::Word;

/// What a session was opened with.
pub(crate) struct Options {
    /// The longest yield time.
    pub(crate) max_yield_time: Option<Duration>,
    /// The heap of its cells, in bytes.
    pub(crate) max_heap_bytes: Option<u64>,
    /// Tool calls that may be unanswered at one time.
    pub(crate) max_pending_calls: usize,
    /// What is done to the output of its cells on its way.
    pub(crate) output: SessionOutput,
}

/// Where open sessions are kept.
pub(crate) trait Home: Send + Sync {
    /// Drops a session that has ended.
    fn forget(&self, id: &str);
}

/// One open session.
pub(crate) struct DoorSession {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    pub(crate) options: Options,
    pub(crate) lease: Arc<Mailbox<v1::SessionEvent>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Set before anything is asked.
    pub(crate) engine: OnceLock<Arc<dyn Session>>,
    home: Weak<dyn Home>,
    pub(crate) word: Arc<Word>,
    state: Mutex<DoorState>,
}

pub(crate) struct DoorState {
    pub(crate) asks: Asks,
    pub(crate) calls: Calls,
    cells: HashMap<CellId, DoorCell>,
    gate: Gate,
    closing: bool,
    /// What changes have brought about and nobody has done yet; empty but for moments.
    effects: VecDeque<Effect>,
    /// Somebody carries effects out.
    acting: bool,
    /// Told when the session has ended.
    when_closed: Vec<oneshot::Sender<()>>,
}

struct DoorCell {
    execution_id: String,
    traceparent: Option<String>,
    /// Ends with the cell.
    span: Span,
    /// Of the last tool call.
    sequence: u64,
    /// Held for as long as the cell is not closed. `None` once its client has let go of its session.
    _pass: Option<Pass>,
}

/// What is to be done once the lock is released, since it may ring the bell.
pub(crate) enum Effect {
    Ask(AskId, Box<Ask>),
    /// An execute, and what is logged meanwhile belongs to its span.
    Execute(AskId, Box<ExecuteRequest>, Span),
    Withdraw(AskId),
    Answer(ToolAnswer),
    Forget,
}

impl Effect {
    pub(crate) fn ask(id: AskId, ask: Ask) -> Self {
        Self::Ask(id, Box::new(ask))
    }
}

impl DoorState {
    /// Takes an execute in, unless its session is on its way out, or the host is and nothing of the session
    /// would be lost elsewhere.
    pub(crate) fn execute(&mut self, id: &str, mut execute: Execute) -> Result<AskId, Status> {
        let has_cell = !self.cells.is_empty() || self.asks.are_executing();
        let pass = self.gate.admit(has_cell).ok_or_else(status::draining)?;
        if self.closing {
            let drains = self.gate.is_draining();
            return Err(if drains {
                status::draining()
            } else {
                status::unknown_session(id)
            });
        }
        execute.pass = Some(pass);
        self.asks.begin(Asker::Execute(execute))
    }
}

impl DoorSession {
    pub(crate) fn new(
        id: String,
        owner: Owner,
        options: Options,
        metrics: Arc<Metrics>,
        home: Weak<dyn Home>,
        word: Arc<Word>,
        gate: Gate,
    ) -> Self {
        let state = DoorState {
            asks: Asks::new(),
            calls: Calls::new(options.max_pending_calls),
            cells: HashMap::new(),
            gate,
            closing: false,
            effects: VecDeque::new(),
            acting: false,
            when_closed: Vec::new(),
        };
        Self {
            id,
            owner,
            options,
            lease: Mailbox::new(),
            metrics,
            engine: OnceLock::new(),
            home,
            word,
            state: Mutex::new(state),
        }
    }

    /// Changes the state under its lock, then does what that has brought about.
    ///
    /// Effects are carried out one after the other, in the order of the changes: a thread that finds
    /// another one at it leaves its own to that one.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut DoorState, &mut Vec<Effect>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let mut state = self.lock();
        let value = change(&mut state, &mut effects);
        state.effects.extend(effects);
        if state.acting {
            return value;
        }
        while let Some(effect) = state.effects.pop_front() {
            state.acting = true;
            drop(state);
            self.act(effect);
            state = self.lock();
        }
        state.acting = false;
        value
    }

    fn act(&self, effect: Effect) {
        let Some(engine) = self.engine.get() else {
            return;
        };
        match effect {
            Effect::Ask(id, ask) => engine.ask(id, *ask),
            Effect::Execute(id, request, span) => {
                span.in_scope(|| engine.ask(id, Ask::Execute(*request)));
            }
            Effect::Withdraw(id) => engine.withdraw(id),
            Effect::Answer((call, result)) => engine.answer(call, result),
            Effect::Forget => {
                if let Some(home) = self.home.upgrade() {
                    home.forget(&self.id);
                }
            }
        }
    }

    /// Ends the session: its streams and waits end now, its lease when its cells have ended.
    pub(crate) fn close(&self, tell: Option<oneshot::Sender<()>>) {
        let (askers, subscriptions) = self.change(|state, effects| {
            state.when_closed.extend(tell);
            if state.closing {
                return (Vec::new(), Vec::new());
            }
            state.closing = true;
            let askers = state.asks.end_all();
            let ask = state.asks.begin_own(Asker::Shutdown);
            effects.push(Effect::ask(ask, Ask::Shutdown));
            (askers, state.calls.close())
        });
        for mailbox in subscriptions {
            mailbox.end(Ok(()));
        }
        for asker in askers {
            dismiss(asker);
        }
    }

    /// Whether the session is on its way out.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Passes on what an outbox holds, unless somebody does so already.
    pub(crate) fn carry(self: &Arc<Self>, outbox: &Arc<Outbox>) {
        if let Some(taking) = outbox.take() {
            for Taken { event, credit } in taking {
                self.pass_on(event, credit);
            }
        }
    }

    fn pass_on(self: &Arc<Self>, event: Event, credit: Credit) {
        match event {
            Event::Started { ask, cell_id } => self.started(ask, cell_id, credit),
            Event::Call { call, invocation } => self.call(call, invocation, credit),
            Event::Notify { call, notification } => self.notify(call, notification, credit),
            Event::CallCancelled { call } => {
                let event = match self.change(|state, _| state.calls.cancel(call)) {
                    Some(Cancelled::Call(invocation_id)) => {
                        LeaseEvent::ToolCallCancelled(v1::ToolCallCancelled { invocation_id })
                    }
                    Some(Cancelled::Notification(notification_id)) => {
                        LeaseEvent::NotificationCancelled(v1::NotificationCancelled {
                            notification_id,
                        })
                    }
                    None => return,
                };
                self.tell(event, Some(credit));
            }
            Event::Observed { ask, response } => self.observed(ask, response, credit),
            Event::CellClosed { cell_id } => {
                let closed = self.change(|state, _| state.cells.remove(&cell_id));
                if let Some(cell) = closed {
                    drop(cell.span);
                    self.cell_gone();
                    let event = LeaseEvent::CellClosed(v1::CellClosed {
                        execution_id: cell.execution_id,
                        cell_id: cell_id.to_string(),
                        final_tool_call_sequence: cell.sequence,
                    });
                    self.tell(event, Some(credit));
                }
            }
            Event::Answered { ask, result } => self.answered(ask, result),
            other => tracing::error!(?other, "the door does not know this event"),
        }
    }

    /// Adds an event to the lease.
    pub(crate) fn tell(&self, event: LeaseEvent, credit: Option<Credit>) {
        self.lease
            .push(v1::SessionEvent { event: Some(event) }, credit);
    }

    fn started(&self, ask: AskId, cell_id: CellId, credit: Credit) {
        self.metrics.executions.add_one();
        self.metrics.cells.up();
        self.change(|state, effects| {
            let mut cell = DoorCell {
                execution_id: String::new(),
                traceparent: None,
                span: Span::none(),
                sequence: 0,
                _pass: None,
            };
            let mut abandoned = true;
            if let Some(execute) = state.asks.execute(ask) {
                cell.execution_id.clone_from(&execute.execution_id);
                cell.traceparent.clone_from(&execute.traceparent);
                cell.span = std::mem::replace(&mut execute.span, Span::none());
                cell.span.record("cell", cell_id.as_str());
                execute.cell_id = Some(cell_id.clone());
                cell._pass = execute.pass.take();
                abandoned = execute.abandoned;
                let started = v1::ExecutionStarted {
                    execution_id: execute.execution_id.clone(),
                    cell_id: cell_id.to_string(),
                };
                let event = v1::execute_event::Event::Started(started);
                let event = v1::ExecuteEvent { event: Some(event) };
                execute.mailbox.push(event, Some(credit));
                if let Some(admitted) = execute.admitted.take() {
                    // The client may have gone; then the stream is dropped, and that is seen to.
                    let _ = admitted.send(Ok(()));
                }
            }
            state.cells.insert(cell_id.clone(), cell);
            if abandoned && !state.closing {
                let ask = state.asks.begin_own(Asker::Nobody);
                effects.push(Effect::ask(ask, Ask::Terminate { cell_id }));
            }
        });
    }

    fn call(&self, call: code_mode_api::waist::CallId, invocation: ToolInvocation, credit: Credit) {
        let id = Uuid::new_v4().to_string();
        self.change(|state, effects| {
            let tool = &invocation.tool_name;
            let mailbox = match state.calls.open(call, tool, &id) {
                Ok(mailbox) => mailbox,
                Err(error) => {
                    self.metrics.tool_calls_refused.add_one();
                    effects.push(Effect::Answer((call, Err(error))));
                    return;
                }
            };
            self.metrics.tool_calls.add_one();
            let cell = state.cells.get_mut(&invocation.cell_id);
            let mut message = convert::tool_call(invocation);
            message.session_id.clone_from(&self.id);
            message.invocation_id = id;
            if let Some(cell) = cell {
                cell.sequence += 1;
                message.sequence = cell.sequence;
                message.execution_id.clone_from(&cell.execution_id);
                message.traceparent.clone_from(&cell.traceparent);
            }
            mailbox.push(message, Some(credit));
        });
    }

    fn notify(
        self: &Arc<Self>,
        call: code_mode_api::waist::CallId,
        notification: Notification,
        credit: Credit,
    ) {
        self.metrics.notifications.add_one();
        let notification_id = Uuid::new_v4().to_string();
        let execution_id = self.change(|state, _| {
            state.calls.notify(call, notification_id.clone());
            let cell = state.cells.get(&notification.cell_id);
            cell.map(|cell| cell.execution_id.clone())
        });
        let event = LeaseEvent::Notification(v1::Notification {
            notification_id,
            execution_id: execution_id.unwrap_or_default(),
            cell_id: notification.cell_id.to_string(),
            call_id: notification.exec_call_id,
            text: notification.text,
        });
        let session = Arc::downgrade(self);
        let delivered = Box::new(move || {
            if let Some(session) = session.upgrade() {
                session.notified(call);
            }
        });
        let event = v1::SessionEvent { event: Some(event) };
        self.lease.push_and_tell(event, credit, delivered);
    }

    /// A notification is delivered when the connection has taken it: a script whose client does not
    /// acknowledge goes on.
    fn notified(&self, call: code_mode_api::waist::CallId) {
        self.change(|state, effects| {
            if state.calls.notified(call) {
                let delivered = Ok(RawValue::NULL.to_owned());
                effects.push(Effect::Answer((call, delivered)));
            }
        });
    }

    fn observed(&self, ask: AskId, response: CellResponse, credit: Credit) {
        let Some(asker) = self.change(|state, _| state.asks.end(ask)) else {
            return;
        };
        let outcome = |received: Instant, max_output_tokens: Option<u64>| {
            let mut response = response;
            self.options.output.cut(&mut response, max_output_tokens);
            let ended = !matches!(response.status, CellStatus::Yielded);
            Outcome {
                buffered_for: response
                    .timings
                    .result_buffered_for
                    .filter(|time| ended && !time.is_zero()),
                message: convert::outcome(response, received.elapsed()),
                credit: Some(credit),
            }
        };
        match asker {
            Asker::Execute(execute) => {
                let outcome = outcome(execute.received, execute.max_output_tokens);
                let event = v1::execute_event::Event::Outcome(outcome.message);
                let event = v1::ExecuteEvent { event: Some(event) };
                execute.mailbox.push(event, outcome.credit);
                execute.mailbox.end(Ok(()));
            }
            Asker::Wait(wait) => {
                let seen = Seen::Live(outcome(wait.received, wait.max_output_tokens));
                // A client that is gone gets no answer.
                let _ = wait.answer.send(Ok(seen));
            }
            Asker::Terminate {
                received,
                max_output_tokens,
                answer,
                ..
            } => {
                let _ = answer.send(Ok(Seen::Live(outcome(received, max_output_tokens))));
            }
            Asker::Question { .. } | Asker::Nobody | Asker::Shutdown => {}
        }
    }

    fn answered(&self, ask: AskId, result: Result<Answer, SessionError>) {
        let asker = match self.change(|state, _| state.asks.end(ask)) {
            None => return,
            Some(Asker::Shutdown) => return self.closed(result.err()),
            Some(Asker::Question { answer }) => {
                let result = result.map_err(|error| status::of_session_error(&error));
                // A client that is gone gets no answer.
                let _ = answer.send(result);
                return;
            }
            Some(asker) => asker,
        };
        let error = match result {
            Ok(_) => SessionError::InvalidRequest {
                message: "the session gave an answer that was not asked for".to_owned(),
            },
            Err(error) => error,
        };
        let seen = |cell_id: &CellId, received: Instant, most: Option<u64>| match &error {
            SessionError::MissingCell { .. } | SessionError::CellFinished { .. } => {
                let reason = error.to_string();
                let items = self.options.output.of_missing(&reason, most);
                let outcome = convert::missing(cell_id, reason, items, received.elapsed());
                Ok(Seen::Missing(outcome))
            }
            SessionError::Cancelled { .. } => Err(status::wait_cancelled()),
            error => Err(status::of_session_error(error)),
        };
        match asker {
            Asker::Execute(mut execute) => {
                let status = status::of_session_error(&error);
                match execute.admitted.take() {
                    Some(admitted) => {
                        self.metrics.executions_refused.add_one();
                        let _ = admitted.send(Err(status));
                    }
                    None => execute.mailbox.end(Err(status)),
                }
            }
            Asker::Wait(wait) => {
                let seen = seen(&wait.cell_id, wait.received, wait.max_output_tokens);
                let _ = wait.answer.send(seen);
            }
            Asker::Terminate {
                cell_id,
                received,
                max_output_tokens,
                answer,
            } => {
                let _ = answer.send(seen(&cell_id, received, max_output_tokens));
            }
            Asker::Question { .. } | Asker::Nobody | Asker::Shutdown => {}
        }
    }

    fn closed(&self, error: Option<SessionError>) {
        if let Some(error) = error {
            tracing::warn!(session = self.id, %error, "a session did not end as it should");
        }
        self.lease.end(Ok(()));
        let (cells, when_closed) = self.change(|state, effects| {
            effects.push(Effect::Forget);
            let cells = std::mem::take(&mut state.cells);
            cells.keys().for_each(|_| self.cell_gone());
            (cells, std::mem::take(&mut state.when_closed))
        });
        // The end of a span writes a line, which needs no lock.
        drop(cells);
        for tell in when_closed {
            let _ = tell.send(());
        }
    }

    fn cell_gone(&self) {
        self.metrics.cells.down();
    }

    fn lock(&self) -> MutexGuard<'_, DoorState> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DoorSession {
    fn drop(&mut self) {
        self.word.close();
    }
}

/// Ends what a client waits for when its session is closed.
fn dismiss(asker: Asker) {
    match asker {
        Asker::Execute(mut execute) => match execute.admitted.take() {
            Some(admitted) => {
                let closed = Status::aborted("code-mode session closed before cell admission");
                let _ = admitted.send(Err(closed));
            }
            None => execute.mailbox.end(Ok(())),
        },
        Asker::Wait(wait) => {
            let _ = wait.answer.send(Err(status::wait_cancelled()));
        }
        Asker::Terminate { answer, .. } => {
            let closed = Status::cancelled("code-mode session is closed");
            let _ = answer.send(Err(closed));
        }
        Asker::Question { answer } => {
            let closed = Status::aborted("code-mode session is closed");
            let _ = answer.send(Err(closed));
        }
        Asker::Nobody | Asker::Shutdown => {}
    }
}
