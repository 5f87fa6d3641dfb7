// SPDX-License-Identifier: Apache-2.0
//! The state of one connection: what every input does to it, without tasks, pipes or clocks.
//!
//! The driver owns the only [`ConnectionState`], feeds it inputs and carries out what it leaves in
//! [`ConnectionState::outbox`] and [`ConnectionState::effects`]. Answers to callers are sent from here, since that
//! neither waits nor runs code of theirs.
//!
//! # Phases
//!
//! | phase | input | next phase |
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
//! | `OfSession` | `cells/listed`, `output/read`, `store/exported`, `store/imported` as it was asked, or error | nothing |

mod again;
mod answers;
mod cells;
mod delegate_calls;
mod delegate_requests;
mod parked;
mod refusals;
mod tables;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::SideEffects;
use code_mode_protocol::{AgreedCapabilities, HostMessage, RequestId};
use tokio::time::Instant;

use super::cell_ids::CellIds;
use super::inputs::{Effect, Input, Operation, OutputEnd, Request, answer};
use crate::error::{CallError, ConnectionFailure};
use crate::process::Exit;
pub(super) use tables::ConnectionState;
#[cfg(test)]
pub(crate) use tables::MAX_OWN_BYTES;
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

impl ConnectionState {
    /// Takes one input in. An error is the end of the connection: the driver calls
    /// [`fail`](Self::fail) with its text.
    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Outcome<Step> {
        match input {
            Input::Greeted(agreed) => return self.greeted(agreed),
            Input::Host(message) => self.host_message(message, now)?,
            Input::Request(request) => self.request(request, now)?,
            Input::Gone(id) => self.caller_gone(id)?,
            Input::Untaken { session, cell } => self.abandon(&session, &cell, now)?,
            Input::Returned(observed) => self.returned(observed),
            Input::SessionGone(session) => self.session_gone(&session, now)?,
            Input::DelegateDone { key, frame } => {
                if self.delegates.finish(key) {
                    self.outbox.push(frame);
                }
            }
            // A host that dies closes its input; its exit is the better explanation.
            Input::WriteFailed(failure) => self.end(Some(OutputEnd::Failed(failure)), None, now)?,
            Input::OutputEnded(OutputEnd::Failed(failure)) => return Err(failure),
            Input::OutputEnded(end) => self.end(Some(end), None, now)?,
            Input::Exited(exit) => self.end(None, Some(exit), now)?,
            Input::Close => {
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
        let is_kept = |id: RequestId| {
            sent.as_ref()
                .is_some_and(|sent| !sent.may_have_run(id.get()))
        };
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

    fn greeted(&mut self, agreed: AgreedCapabilities) -> Outcome<Step> {
        if let Phase::Starting { .. } = self.phase {
            self.phase = Phase::Running;
            return Ok(Step::Greeted(agreed));
        }
        // The host is ending, and what it greets for is over.
        Ok(Step::Continue)
    }

    fn host_message(&mut self, message: HostMessage, now: Instant) -> Outcome<()> {
        match (&self.phase, &message) {
            (Phase::Closed, _) => return Ok(()),
            (
                Phase::Starting { .. } | Phase::Ending { greeted: false, .. },
                HostMessage::Rejected { reason },
            ) => return Err(ConnectionFailure::Rejected(reason.to_string())),
            (Phase::Starting { .. }, _) => return violation("a message before its greeting"),
            (Phase::Ending { greeted: false, .. }, _) => return Ok(()),
            (Phase::Running | Phase::Ending { .. }, _) => {}
        }
        match message {
            HostMessage::Ready { .. } | HostMessage::Rejected { .. } => {
                return violation("a second greeting");
            }
            HostMessage::OperationResponse { id, result } => self.response(id, result, now)?,
            HostMessage::ExecuteInitialResponse { id, result } => {
                self.initial_response(id, result, now)?;
            }
            HostMessage::DelegateRequest { id, request } => self.delegate_request(id, request)?,
            HostMessage::DelegateCancel { id } => {
                if let Some(key) = self.delegates.cancel(id) {
                    self.effects.push_back(Effect::DropDelegate { key });
                }
            }
            HostMessage::CellClosed {
                session_id,
                cell_id,
            } => self.cell_closed(session_id.as_str(), cell_id.as_str())?,
        }
        Ok(())
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
            Operation::OfSession(ask) => Call::OfSession(ask),
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
            Self::Open { reply, .. } => drop(reply.send(Err(lost(SideEffects::None)))),
            Self::OfSession(ask) => {
                ask.answer(Err(lost(SideEffects::None)));
            }
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
