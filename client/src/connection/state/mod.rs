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
//! | `ListCells` | `cells/listed` or error | nothing |
//! | `ReadOutput` | `output/read` or error | nothing |
//! | `ExportStore`, `ImportStore` | `store/exported`, `store/imported` or error | nothing |

mod again;
mod answers;
mod cells;
mod delegate_calls;
mod delegates;
mod parked;
mod refusals;
mod tables;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::SideEffects;
use code_mode_protocol::AgreedCapabilities;
use tokio::time::Instant;

use super::cell_ids::CellIds;
use super::events::{Effect, Event, Operation, OutputEnd, Request, answer};
use crate::error::{CallError, ConnectionFailure};
use crate::host_message::{HostMessage, RequestId};
use crate::process::Exit;
#[cfg(test)]
pub(crate) use tables::MAX_OWN_BYTES;
pub(super) use tables::State;
use tables::{
    Call, Execute, Observation, Outcome, Phase, QueuedWait, Session, SessionPhase, closed,
    violation,
};

/// How long the end of a host's output and the exit of its process may be apart (50 ms). Messages
/// that were under way are still heard, then everybody gets the news.
pub(super) const END_GRACE: Duration = Duration::from_millis(50);

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

impl State {
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
        let sent = self.sent.take();
        if let Some(sent) = &sent {
            sent.close();
        }
        let is_kept = |id| sent.as_ref().is_some_and(|sent| !sent.may_have_run(id));
        for (id, entry) in std::mem::take(&mut self.calls) {
            let unsent = unsent.contains(&id) || is_kept(id);
            entry.call.fail(cause, unsent);
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
            Operation::ListCells { reply } => Call::ListCells { reply },
            Operation::ReadOutput { reply } => Call::ReadOutput { reply },
            Operation::ExportStore { reply } => Call::ExportStore { reply },
            Operation::ImportStore { reply } => Call::ImportStore { reply },
        };
        self.outbox.push(frame);
        self.enter(id, call, self.deadlines.call, Some(slot), now);
        Ok(())
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
    /// Answers that the connection was lost. `unsent` says of an execute that it never reached the host, or
    /// that the host has done nothing with it.
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
            Self::ListCells { reply } => drop(reply.send(Err(lost(SideEffects::None)))),
            Self::ReadOutput { reply } => drop(reply.send(Err(lost(SideEffects::None)))),
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

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
