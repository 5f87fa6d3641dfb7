// SPDX-License-Identifier: Apache-2.0
//! Answers of the host to requests.

use std::sync::Arc;

use code_mode_api::{CellId, CellResponse};
use code_mode_protocol::{OperationValue, RequestId, WaitOutcome, WireError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::tables::{
    Call, Cell, ConnectionState, Execute, Observation, ObservationKind, Outcome, SessionPhase,
    violation,
};
use crate::connection::inputs::{Handover, Observed, Reply, answer};
use crate::connection::ticket::Ticket;
use crate::error::CallError;
use crate::generation::is_number;
use crate::messages;

impl ConnectionState {
    pub(super) fn response(
        &mut self,
        id: RequestId,
        result: Result<OperationValue, WireError>,
        now: Instant,
    ) -> Outcome<()> {
        let Some(entry) = self.leave(id) else {
            return violation(format!(
                "a response to request {id}, which is not in flight"
            ));
        };
        let name = entry.call.name();
        if let (Call::Execute(_), Some(sent)) = (&entry.call, &self.sent) {
            sent.forget(id.get());
        }
        match (entry.call, result) {
            (Call::Open { session, reply }, result) => {
                let outcome = match result {
                    Ok(OperationValue::SessionReady { session_id })
                        if *session_id.as_str() == *session =>
                    {
                        Ok(())
                    }
                    Ok(_) => return wrong_kind(name),
                    Err(error) => Err(CallError::Host(error)),
                };
                let opened = outcome.is_ok();
                // The provider waits on a task of its own; nobody waits any more only when the
                // session was dropped, and then `gone` is set.
                drop(reply.send(outcome));
                self.session_answered(&session, opened, now)?;
            }
            (Call::Execute(execute), Ok(OperationValue::ExecutionStarted { cell_id })) => {
                self.started(id, execute, &cell_id, entry._slot, now)?;
            }
            (Call::Execute(execute), Err(error)) => {
                let session = self.sessions.get(&execute.session);
                let has_cells = session.is_some_and(|entry| !entry.cells.is_empty());
                answer(execute.reply, Err(CallError::of_execute(error, has_cells)));
            }
            (Call::Observation(observation), result)
                if observation.kind == ObservationKind::Wait =>
            {
                match result {
                    Ok(OperationValue::WaitCompleted {
                        outcome: WaitOutcome::LiveCell(response),
                    }) => self.deliver(observation, response)?,
                    Ok(OperationValue::WaitCompleted {
                        outcome: WaitOutcome::MissingCell(_),
                    }) => self.unobserved(observation, None, now),
                    Ok(_) => return wrong_kind(name),
                    Err(error) => self.unobserved(observation, Some(error), now),
                }
            }
            (
                Call::Terminate {
                    session,
                    cell,
                    reply,
                },
                result,
            ) => match result {
                Ok(OperationValue::WaitCompleted {
                    outcome: WaitOutcome::LiveCell(response),
                }) => self.terminated(session, cell, reply, response)?,
                Ok(OperationValue::WaitCompleted {
                    outcome: WaitOutcome::MissingCell(_),
                }) => {
                    let error = self.missing(&session, &cell);
                    answer(reply, Err(error));
                }
                Ok(_) => return wrong_kind(name),
                Err(error) => {
                    if reply.is_none() {
                        self.end_refused(&session, &cell, &error, now);
                    }
                    answer(reply, Err(CallError::Host(error)));
                }
            },
            (Call::CloseSession { session, reply }, result) => {
                let outcome = match result {
                    Ok(OperationValue::SessionClosed { session_id })
                        if *session_id.as_str() == *session =>
                    {
                        self.forget_session(&session)?;
                        Ok(())
                    }
                    Ok(_) => return wrong_kind(name),
                    Err(error) => {
                        self.close_refused(&session, &error, now)?;
                        Err(CallError::Host(error))
                    }
                };
                answer(reply, outcome);
            }
            (Call::OfSession(ask), result) => {
                if !ask.answer(result.map_err(CallError::Host)) {
                    return wrong_kind(name);
                }
            }
            (Call::Observation(_), _) => {
                return violation(format!("a second response to request {id}"));
            }
            (Call::Queued { .. }, _) => {
                return violation(format!("a response to request {id}, which was never sent"));
            }
            (_, Ok(_)) => return wrong_kind(name),
        }
        Ok(())
    }

    pub(super) fn initial_response(
        &mut self,
        id: RequestId,
        result: Result<CellResponse, WireError>,
        now: Instant,
    ) -> Outcome<()> {
        match self.leave(id).map(|entry| entry.call) {
            Some(Call::Observation(observation))
                if observation.kind == ObservationKind::Initial =>
            {
                match result {
                    Ok(response) => self.deliver(observation, response),
                    Err(error) => {
                        self.unobserved(observation, Some(error), now);
                        Ok(())
                    }
                }
            }
            Some(Call::Execute(_)) => violation(format!(
                "the initial response of request {id} before execution/started"
            )),
            Some(call) => violation(format!(
                "an initial response to request {id}, a {}",
                call.name()
            )),
            None => violation(format!(
                "an initial response to request {id}, which is not in flight"
            )),
        }
    }

    fn started(
        &mut self,
        id: RequestId,
        execute: Execute,
        cell: &CellId,
        slot: Option<tokio::sync::OwnedSemaphorePermit>,
        now: Instant,
    ) -> Outcome<()> {
        let Execute {
            session,
            exec_call_id,
            yield_time,
            reply,
        } = execute;
        let Some(entry) = self.sessions.get_mut(&session) else {
            return violation(format!("a cell in session {session}, which is closed"));
        };
        let cell = cell.as_str();
        let number = is_number(cell).then(|| cell.parse::<u64>().ok()).flatten();
        let Some(number) = number else {
            return violation(format!("the cell id {cell:?}, which is no number"));
        };
        if !entry.given.insert(number) {
            return violation(format!("the cell id {cell} of session {session} twice"));
        }
        let cell: Arc<str> = Arc::from(cell);
        let state = Cell {
            exec_call_id,
            closed: false,
            abandoned: false,
            tries: 0,
            observation: Some(id),
            parked: None,
        };
        entry.cells.insert(Arc::clone(&cell), state);
        let (taker, answer) = oneshot::channel();
        let observation = Observation {
            session: Arc::clone(&session),
            cell: Arc::clone(&cell),
            kind: ObservationKind::Initial,
            taker: Some(taker),
            queued: None,
        };
        let within = yield_time.saturating_add(self.deadlines.call);
        self.enter(id, Call::Observation(observation), within, slot, now);
        let first = Ticket::new(id, answer, self.inputs.clone());
        let handover = Handover {
            session: Arc::clone(&session),
            cell: Arc::clone(&cell),
            first,
        };
        let taken = reply.is_some_and(|reply| reply.send(Ok(handover)).is_ok());
        if !taken {
            self.abandon(&session, &cell, now)?;
        }
        Ok(())
    }

    /// An observation has ended without a response.
    fn unobserved(&mut self, observation: Observation, error: Option<WireError>, now: Instant) {
        let Observation {
            session,
            cell,
            kind,
            taker,
            queued,
        } = observation;
        if let Some(entry) = self.cell_mut(&session, &cell) {
            entry.observation = None;
        }
        if let Some(parked) = self.unpark(&session, &cell) {
            let observation = Observation {
                session,
                cell,
                kind,
                taker,
                queued,
            };
            self.hand_out(observation, parked);
            return;
        }
        if let Some(queued) = &queued {
            self.leave_queued(queued.id);
        }
        let taker = taker.filter(|taker| !taker.is_closed());
        if let (None, Some(queued), ObservationKind::Wait) = (&taker, queued, kind) {
            // What has ended is the abandoned wait; the next observer's own request goes out now.
            let slot = queued.slot;
            let wait = super::QueuedWait {
                slot: None,
                ..queued
            };
            self.send_wait(session, cell, wait, slot, now);
            return;
        }
        let error = error.map_or_else(|| self.missing(&session, &cell), CallError::Host);
        answer(taker, Err(error));
        self.forget_cell_if_done(&session, &cell);
    }

    fn terminated(
        &mut self,
        session: Arc<str>,
        cell: Arc<str>,
        reply: Option<Reply<Observed>>,
        response: CellResponse,
    ) -> Outcome<()> {
        check_cell(&cell, &response)?;
        let response = self.with_parked(&session, &cell, response);
        let observed = Observed {
            session,
            cell,
            response,
        };
        match reply {
            None => self.park(observed),
            Some(reply) => match reply.send(Ok(observed)) {
                Err(Ok(observed)) => self.park(observed),
                Err(Err(_)) => {}
                Ok(()) => {}
            },
        }
        Ok(())
    }

    /// Gives an observation its response.
    pub(super) fn deliver(
        &mut self,
        observation: Observation,
        response: CellResponse,
    ) -> Outcome<()> {
        check_cell(&observation.cell, &response)?;
        if let Some(entry) = self.cell_mut(&observation.session, &observation.cell) {
            entry.observation = None;
        }
        let response = self.with_parked(&observation.session, &observation.cell, response);
        self.hand_out(observation, response);
        Ok(())
    }

    fn hand_out(&mut self, observation: Observation, response: CellResponse) {
        let Observation {
            session,
            cell,
            taker,
            queued,
            ..
        } = observation;
        let queued = queued.map(|queued| {
            self.leave_queued(queued.id);
            queued.reply
        });
        let mut observed = Observed {
            session: Arc::clone(&session),
            cell: Arc::clone(&cell),
            response,
        };
        for reply in taker.into_iter().chain(queued) {
            match reply.send(Ok(observed)) {
                Err(Ok(back)) => observed = back,
                Ok(()) | Err(Err(_)) => {
                    self.forget_cell_if_done(&session, &cell);
                    return;
                }
            }
        }
        self.park(observed);
        self.forget_cell_if_done(&session, &cell);
    }

    fn session_answered(&mut self, session: &Arc<str>, opened: bool, now: Instant) -> Outcome<()> {
        let Some(entry) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        if !opened {
            self.sessions.remove(session);
            return Ok(());
        }
        entry.phase = SessionPhase::Open;
        if entry.gone {
            self.close_session(session, now)
        } else {
            Ok(())
        }
    }

    /// Asks the host to close a session that nobody holds any more.
    pub(super) fn close_session(&mut self, session: &Arc<str>, now: Instant) -> Outcome<()> {
        if let Some(entry) = self.sessions.get_mut(session) {
            entry.phase = SessionPhase::Closing;
        }
        let call = Call::CloseSession {
            session: Arc::clone(session),
            reply: None,
        };
        self.send_own(call, |id| messages::shutdown_frame(id, session), now)
    }
}

fn wrong_kind<T>(name: &str) -> Outcome<T> {
    violation(format!("a response of the wrong kind to {name}"))
}

fn check_cell(expected: &str, response: &CellResponse) -> Outcome<()> {
    if response.cell_id.as_str() == expected {
        return Ok(());
    }
    violation(format!(
        "a response about cell {} to a request about cell {expected}",
        response.cell_id
    ))
}
