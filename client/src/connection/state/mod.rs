// SPDX-License-Identifier: Apache-2.0
//! The state of one connection: what every event does to it, without tasks, pipes or clocks.
//!
//! The driver owns the only [`State`], feeds it events and carries out what it leaves in
//! [`State::outbox`] and [`State::effects`]. Answers to callers are sent from here, since that
//! neither waits nor runs code of theirs.
//!
//! # Phases
//!
//! | phase | event | next phase |
//! |---|---|---|
//! | `Starting` | `connection/ready` | `Running` |
//! | `Starting` | rejection, any other message, start-up deadline | failed |
//! | `Running` | message of the host as the table of calls allows | `Running` |
//! | `Running` | any other message, call deadline, write failure | failed |
//! | `Starting`, `Running` | the output ends or the process exits | `Ending` |
//! | `Ending` | messages that were under way | `Ending` |
//! | `Ending` | both have happened, or [`END_GRACE`] has passed | failed |
//! | any | `Close` | closed: everything pending is answered, the driver ends the host |
//!
//! # Calls
//! A call is entered when its request is accepted and removed by the answer named here. Any answer
//! that is not in its row, and any answer to an id without a row, is a violation.
//!
//! | call | answer | what follows |
//! |---|---|---|
//! | `Open` | `session/ready` or error | the session is open, or forgotten |
//! | `Execute` | `execution/started` | `Observation` under the same id |
//! | `Execute` | error | nothing |
//! | `Observation`, initial | `execute/initialResponse` | the cell is unobserved |
//! | `Observation`, wait | `wait/completed` or error | the cell is unobserved |
//! | `Queued` | none: it waits for an abandoned observation | `Observation` under its own id |
//! | `Terminate` | `wait/completed` or error | nothing |
//! | `CloseSession` | `session/closed` or error | the session is forgotten |
//! | `ExportStore`, `ImportStore` | `store/exported`, `store/imported` or error | nothing |

mod again;
mod answers;
mod cells;
mod delegates;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use code_mode_api::{CellResponse, RawJson, SessionId, SideEffects};
use code_mode_protocol::{AgreedCapabilities, EncodedFrame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::budget::ByteCount;
use super::cell_ids::CellIds;
use super::events::{
    Effect, Event, Events, Frame, HostMessage, Observed, Operation, OutputEnd, Reply, Request,
    RequestId, answer,
};
use crate::config::{ConnectionLimits, Deadlines};
use crate::delegate::Delegate;
use crate::error::{CallError, ConnectionFailure};
use crate::generation::outer_cell_id;
use crate::messages;
use crate::process::Exit;
use crate::provider::Place;
use again::Again;
use cells::Parked;
use delegates::Delegates;

/// How long the end of a host's output and the exit of its process may be apart (50 ms). Messages
/// that were under way are still heard, then everybody gets the news.
pub(super) const END_GRACE: Duration = Duration::from_millis(50);

/// Bytes of the driver's own frames that may wait to be written (8 MiB). Most of these refuse a tool
/// call or a notification; a host that asks for more and reads none of the answers is not heard until it
/// does, and the write deadline ends one that never does. More than the answers to all the calls that
/// cells of one host can have open.
pub(crate) const MAX_OWN_BYTES: usize = 8 * 1024 * 1024;

/// What a call that fails is told.
type Outcome<T> = Result<T, ConnectionFailure>;

/// The state of one connection. See the module's text.
pub(super) struct State {
    phase: Phase,
    limits: ConnectionLimits,
    deadlines: Deadlines,
    /// Where new tickets send what becomes of them.
    events: Events,
    /// Request ids, shared with the callers, who encode their requests themselves.
    ids: Arc<AtomicI64>,
    /// Ordered, like the other maps here, so that what a failure does comes in one order.
    sessions: BTreeMap<Arc<str>, Session>,
    calls: BTreeMap<RequestId, Entry>,
    /// When each call that has a deadline must be answered.
    due: BTreeSet<(Instant, RequestId)>,
    delegates: Delegates,
    parked: Parked,
    again: Again,
    /// What the driver's own frames hold until they are written.
    own: ByteCount,
    /// Frames that the writer has not been given yet.
    pub(super) outbox: Vec<Frame>,
    /// What the driver has to do.
    pub(super) effects: VecDeque<Effect>,
}

enum Phase {
    Starting {
        until: Instant,
    },
    Running,
    Ending {
        until: Instant,
        output: Option<OutputEnd>,
        exit: Option<Option<Exit>>,
        greeted: bool,
    },
    Closed,
}

/// What the driver has to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Go on.
    Continue,
    /// The host has greeted, and these capabilities are agreed.
    Greeted(AgreedCapabilities),
    /// The owner wants the host to end.
    Close,
}

struct Session {
    id: SessionId,
    generation: u64,
    delegate: Delegate,
    phase: SessionPhase,
    /// Whether the embedder has dropped it.
    gone: bool,
    /// How often the host has refused to close it since.
    tries: u32,
    _place: Arc<Place>,
    given: CellIds,
    cells: BTreeMap<Arc<str>, Cell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionPhase {
    Opening(RequestId),
    Open,
    Closing,
}

struct Cell {
    exec_call_id: Arc<str>,
    /// `cell/closed` has come. The cell is kept only for what is not yet handed out.
    closed: bool,
    /// Nobody wants the cell: it is being terminated and its output is dropped.
    abandoned: bool,
    /// How often the host has refused to end it since.
    tries: u32,
    /// The call that observes it.
    observation: Option<RequestId>,
    /// A response whose observer had gone, for the next one.
    parked: Option<CellResponse>,
}

struct Entry {
    call: Call,
    due: Option<Instant>,
    /// Given back when the call is answered.
    _slot: Option<OwnedSemaphorePermit>,
}

enum Call {
    Open {
        session: Arc<str>,
        reply: Reply<()>,
    },
    Execute(Execute),
    Observation(Observation),
    Queued {
        on: RequestId,
    },
    Terminate {
        session: Arc<str>,
        cell: Arc<str>,
        reply: Option<Reply<Observed>>,
    },
    CloseSession {
        session: Arc<str>,
        reply: Option<Reply<()>>,
    },
    ExportStore {
        reply: Reply<BTreeMap<String, RawJson>>,
    },
    ImportStore {
        reply: Reply<()>,
    },
}

struct Execute {
    session: Arc<str>,
    exec_call_id: Arc<str>,
    yield_time: Duration,
    /// `None` once the caller has gone and the host was asked to cancel.
    reply: Option<Reply<super::events::Handover>>,
}

struct Observation {
    session: Arc<str>,
    cell: Arc<str>,
    kind: ObservationKind,
    /// `None` once the observer has gone. A wait is then being cancelled; the wire has no way to
    /// cancel the first observation, so that one stays until the host ends it.
    taker: Option<Reply<Observed>>,
    /// Who takes over from an observer that has gone.
    queued: Option<QueuedWait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObservationKind {
    Initial,
    Wait,
}

struct QueuedWait {
    id: RequestId,
    frame: Frame,
    yield_time: Duration,
    reply: Reply<Observed>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Call {
    fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "session/open",
            Self::Execute(_) => "session/execute",
            Self::Observation(Observation {
                kind: ObservationKind::Initial,
                ..
            }) => "session/execute (initial response)",
            Self::Observation(_) | Self::Queued { .. } => "session/wait",
            Self::Terminate { .. } => "session/terminate",
            Self::CloseSession { .. } => "session/shutdown",
            Self::ExportStore { .. } => "session/exportStore",
            Self::ImportStore { .. } => "session/importStore",
        }
    }
}

fn violation<T>(text: impl Into<String>) -> Outcome<T> {
    Err(ConnectionFailure::Violation(text.into()))
}

impl State {
    pub(super) fn new(
        limits: ConnectionLimits,
        deadlines: Deadlines,
        events: Events,
        ids: Arc<AtomicI64>,
        now: Instant,
    ) -> Self {
        Self {
            phase: Phase::Starting {
                until: now + deadlines.startup,
            },
            limits,
            deadlines,
            events,
            ids,
            sessions: BTreeMap::new(),
            calls: BTreeMap::new(),
            due: BTreeSet::new(),
            delegates: Delegates::default(),
            parked: Parked::default(),
            again: Again::default(),
            own: ByteCount::default(),
            outbox: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// Takes one event in. An error is the end of the connection: the driver calls
    /// [`fail`](Self::fail) with its text.
    pub(super) fn handle(&mut self, event: Event, now: Instant) -> Outcome<Step> {
        match event {
            Event::Host(message) => return self.host_message(message, now),
            Event::Request(request) => self.request(request, now)?,
            Event::Gone(id) => self.caller_gone(id)?,
            Event::Untaken { session, cell } => self.abandon(&session, &cell, now)?,
            Event::Returned(observed) => self.returned(observed),
            Event::SessionGone(session) => self.session_gone(&session, now)?,
            Event::DelegateDone { key, frame } => {
                if self.delegates.finish(key) {
                    self.outbox.push(frame);
                }
            }
            // A host that dies closes its input; its exit is the better explanation.
            Event::WriteFailed(failure) => self.end(Some(OutputEnd::Failed(failure)), None, now)?,
            Event::OutputEnded(OutputEnd::Failed(failure)) => return Err(failure),
            Event::OutputEnded(end) => self.end(Some(end), None, now)?,
            Event::Exited(exit) => self.end(None, Some(exit), now)?,
            Event::Close => {
                self.phase = Phase::Closed;
                return Ok(Step::Close);
            }
        }
        Ok(Step::Continue)
    }

    /// When [`expire`](Self::expire) wants to be called, if at all.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Starting { until } | Phase::Ending { until, .. } => Some(*until),
            Phase::Running | Phase::Closed => None,
        };
        let call = self.due.first().map(|(due, _)| *due);
        phase.into_iter().chain(call).chain(self.again.next()).min()
    }

    /// Acts on every deadline that has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Outcome<()> {
        match &mut self.phase {
            Phase::Starting { until } if *until <= now => {
                return Err(ConnectionFailure::StartupDeadline(self.deadlines.startup));
            }
            Phase::Ending {
                until,
                output,
                exit,
                ..
            } if *until <= now => {
                return Err(end_failure(output.take(), exit.take()));
            }
            _ => {}
        }
        while let Some(&(due, id)) = self.due.first() {
            if due > now {
                break;
            }
            self.due.pop_first();
            self.call_due(id)?;
        }
        self.ask_due_again(now)
    }

    /// Fails every pending call with `cause`, cancels every delegate call and closes every cell.
    pub(super) fn fail(&mut self, cause: &str) {
        self.phase = Phase::Closed;
        let unsent: HashSet<_> = self
            .outbox
            .drain(..)
            .filter_map(|frame| frame.request)
            .collect();
        self.due.clear();
        self.parked.clear();
        self.again.clear();
        // What was not begun yet is not begun any more.
        self.effects
            .retain(|effect| matches!(effect, Effect::CellClosed { .. }));
        for (key, _) in self.delegates.cancel_all() {
            self.effects.push_back(Effect::DropDelegate { key });
        }
        for (id, entry) in std::mem::take(&mut self.calls) {
            entry.call.fail(cause, unsent.contains(&id));
        }
        for (_, session) in std::mem::take(&mut self.sessions) {
            for (cell, _) in session.cells.iter().filter(|(_, cell)| !cell.closed) {
                self.effects.push_back(closed(&session, cell));
            }
        }
    }

    fn end(
        &mut self,
        new_output: Option<OutputEnd>,
        new_exit: Option<Option<Exit>>,
        now: Instant,
    ) -> Outcome<()> {
        let greeted = match &mut self.phase {
            Phase::Closed => return Ok(()),
            Phase::Ending { output, exit, .. } => {
                *output = output.take().or(new_output);
                *exit = exit.or(new_exit);
                if output.is_some() && exit.is_some() {
                    return Err(end_failure(output.take(), exit.take()));
                }
                return Ok(());
            }
            Phase::Starting { .. } => false,
            Phase::Running => true,
        };
        let until = now + END_GRACE;
        self.phase = Phase::Ending {
            until,
            output: new_output,
            exit: new_exit,
            greeted,
        };
        Ok(())
    }

    fn host_message(&mut self, message: HostMessage, now: Instant) -> Outcome<Step> {
        match &self.phase {
            Phase::Closed => return Ok(Step::Continue),
            Phase::Starting { .. } => {
                return match message {
                    HostMessage::Ready(agreed) => {
                        self.phase = Phase::Running;
                        Ok(Step::Greeted(agreed))
                    }
                    HostMessage::Rejected { reason } => Err(ConnectionFailure::Rejected(reason)),
                    _ => violation("a message before its greeting"),
                };
            }
            Phase::Ending { greeted: false, .. } => {
                return match message {
                    HostMessage::Rejected { reason } => Err(ConnectionFailure::Rejected(reason)),
                    _ => Ok(Step::Continue),
                };
            }
            Phase::Running | Phase::Ending { .. } => {}
        }
        match message {
            HostMessage::Ready(_) | HostMessage::Rejected { .. } => {
                return violation("a second greeting");
            }
            HostMessage::Response { id, result } => self.response(id, result, now)?,
            HostMessage::Initial { id, result } => self.initial_response(id, result, now)?,
            HostMessage::Tool(request) => self.tool_request(request)?,
            HostMessage::Notify(request) => self.notify_request(request)?,
            HostMessage::CancelDelegate { id } => {
                if let Some(key) = self.delegates.cancel(id) {
                    self.effects.push_back(Effect::DropDelegate { key });
                }
            }
            HostMessage::CellClosed { session, cell } => self.cell_closed(&session, &cell)?,
        }
        Ok(Step::Continue)
    }

    fn request(&mut self, request: Request, now: Instant) -> Outcome<()> {
        let Request {
            id,
            operation,
            frame,
            slot,
        } = request;
        let call = match operation {
            Operation::Wait {
                session,
                cell,
                yield_time,
                reply,
            } => {
                let wait = QueuedWait {
                    id,
                    frame,
                    yield_time,
                    reply,
                    slot: Some(slot),
                };
                self.wait(session, cell, wait, now);
                return Ok(());
            }
            Operation::Terminate {
                session,
                cell,
                reply,
            } => {
                let Some(reply) = self.take_final(&session, &cell, reply) else {
                    return Ok(());
                };
                Call::Terminate {
                    session,
                    cell,
                    reply: Some(reply),
                }
            }
            Operation::Open { session, reply } => {
                let wire_id = Arc::clone(&session.wire_id);
                let entry = Session {
                    id: session.id,
                    generation: session.generation,
                    delegate: session.delegate,
                    phase: SessionPhase::Opening(id),
                    gone: false,
                    tries: 0,
                    _place: session.place,
                    given: CellIds::default(),
                    cells: BTreeMap::new(),
                };
                self.sessions.insert(Arc::clone(&wire_id), entry);
                Call::Open {
                    session: wire_id,
                    reply,
                }
            }
            Operation::Execute {
                session,
                exec_call_id,
                yield_time,
                reply,
            } => {
                let reply = Some(reply);
                Call::Execute(Execute {
                    session,
                    exec_call_id,
                    yield_time,
                    reply,
                })
            }
            Operation::CloseSession { session, reply } => {
                if let Some(entry) = self.sessions.get_mut(&session) {
                    entry.phase = SessionPhase::Closing;
                }
                Call::CloseSession {
                    session,
                    reply: Some(reply),
                }
            }
            Operation::ExportStore { reply } => Call::ExportStore { reply },
            Operation::ImportStore { reply } => Call::ImportStore { reply },
        };
        self.outbox.push(frame);
        self.enter(id, call, self.deadlines.call, Some(slot), now);
        Ok(())
    }

    fn enter(
        &mut self,
        id: RequestId,
        call: Call,
        within: Duration,
        slot: Option<OwnedSemaphorePermit>,
        now: Instant,
    ) {
        let due = now.checked_add(within);
        if let Some(due) = due {
            self.due.insert((due, id));
        }
        self.calls.insert(
            id,
            Entry {
                call,
                due,
                _slot: slot,
            },
        );
    }

    fn leave(&mut self, id: RequestId) -> Option<Entry> {
        let entry = self.calls.remove(&id)?;
        if let Some(due) = entry.due {
            self.due.remove(&(due, id));
        }
        Some(entry)
    }

    /// Sends a request of the driver's own, which no caller waits for.
    fn send_own(
        &mut self,
        call: Call,
        encode: impl FnOnce(RequestId) -> Outcome<EncodedFrame>,
        now: Instant,
    ) -> Outcome<()> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let bytes = encode(id)?;
        self.push_own(bytes, Some(id));
        self.enter(id, call, self.deadlines.call, None, now);
        Ok(())
    }

    fn send_cancel(&mut self, id: RequestId) -> Outcome<()> {
        let bytes = messages::cancel_frame(id)?;
        self.push_own(bytes, None);
        Ok(())
    }

    /// Queues a frame that no caller has asked for, and for which nobody waits until there is room.
    fn push_own(&mut self, bytes: EncodedFrame, request: Option<RequestId>) {
        let _share = Some(self.own.count(bytes.wire_bytes()));
        self.outbox.push(Frame {
            bytes,
            request,
            _share,
        });
    }

    /// Whether the host is to be heard: not while it has left so many of the driver's own frames
    /// unread that its next words could only add to them.
    pub(super) fn may_hear(&self) -> bool {
        self.own.bytes() < MAX_OWN_BYTES
    }

    fn call_due(&mut self, id: RequestId) -> Outcome<()> {
        let Some(entry) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        entry.due = None;
        let Call::Queued { on } = entry.call else {
            let (call, waited) = (entry.call.name(), self.deadlines.call);
            return Err(ConnectionFailure::CallDeadline { call, waited });
        };
        self.queued_due(id, on);
        Ok(())
    }
}

impl Call {
    /// Answers that the connection was lost. `unsent` says that the request never left the client.
    fn fail(self, cause: &str, unsent: bool) {
        let side_effects = |possible: bool| {
            if possible && !unsent {
                SideEffects::Possible
            } else {
                SideEffects::None
            }
        };
        let lost = |side_effects| CallError::Lost {
            cause: cause.to_owned(),
            side_effects,
        };
        // A reply that cannot be delivered has no one left to hear it.
        match self {
            Self::Open { reply, .. } | Self::ImportStore { reply } => {
                drop(reply.send(Err(lost(SideEffects::None))));
            }
            Self::ExportStore { reply } => drop(reply.send(Err(lost(SideEffects::None)))),
            Self::Execute(Execute { reply, .. }) => {
                answer(reply, Err(lost(side_effects(true))));
            }
            Self::Observation(Observation { taker, queued, .. }) => {
                for reply in taker.into_iter().chain(queued.map(|queued| queued.reply)) {
                    drop(reply.send(Err(lost(SideEffects::Possible))));
                }
            }
            Self::Queued { .. } => {}
            Self::Terminate { reply, .. } => {
                answer(reply, Err(lost(SideEffects::Possible)));
            }
            Self::CloseSession { reply, .. } => {
                answer(reply, Err(lost(SideEffects::Possible)));
            }
        }
    }
}

fn end_failure(output: Option<OutputEnd>, exit: Option<Option<Exit>>) -> ConnectionFailure {
    match (output, exit) {
        (Some(OutputEnd::Truncated(text)), exit) => ConnectionFailure::OutputTruncated {
            exit: exit.flatten(),
            text,
        },
        (_, Some(Some(exit))) => ConnectionFailure::Exited(exit),
        (Some(OutputEnd::Failed(failure)), _) => failure,
        (Some(OutputEnd::Clean), None) => ConnectionFailure::OutputEnded(None),
        (_, Some(None)) | (None, None) => ConnectionFailure::Vanished,
    }
}

fn closed(session: &Session, cell: &str) -> Effect {
    Effect::CellClosed {
        delegate: session.delegate.clone(),
        session: session.id.clone(),
        cell: outer_cell_id(session.generation, cell),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
