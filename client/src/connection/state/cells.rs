// SPDX-License-Identifier: Apache-2.0
//! The cells of a connection: who observes them, and what becomes of output that nobody took.

use std::sync::Arc;

use code_mode_api::{CellId, CellResponse, CellStatus, CellTimings, ContentItem};
use code_mode_protocol::RequestId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::delegate_calls::NOBODY_WAITS;
use super::parked::{MAX_PARKED_BYTES, MAX_PARKED_RESPONSES};
use super::tables::{
    Call, Cell, ConnectionState, Entry, Observation, ObservationKind, Outcome, QueuedWait,
    SessionPhase, closed, violation,
};
use crate::connection::inputs::{Effect, Observed, Reply};
use crate::error::CallError;
use crate::messages;

impl ConnectionState {
    pub(super) fn cell_mut(&mut self, session: &str, cell: &str) -> Option<&mut Cell> {
        self.sessions.get_mut(session)?.cells.get_mut(cell)
    }

    pub(super) fn wait(
        &mut self,
        session: Arc<str>,
        cell: Arc<str>,
        mut wait: QueuedWait,
        now: Instant,
    ) {
        if let Some(response) = self.unpark(&session, &cell) {
            let (owner, number) = (Arc::clone(&session), Arc::clone(&cell));
            let answer = Observed {
                session,
                cell,
                response,
            };
            if let Err(Ok(back)) = wait.reply.send(Ok(answer)) {
                self.park(back);
            }
            self.forget_cell_if_done(&owner, &number);
            return;
        }
        let on = self
            .cell_mut(&session, &cell)
            .and_then(|entry| entry.observation);
        let Some(on) = on else {
            let slot = wait.slot.take();
            return self.send_wait(session, cell, wait, slot, now);
        };
        let Some(Entry {
            call: Call::Observation(observation),
            ..
        }) = self.calls.get_mut(&on)
        else {
            return;
        };
        let alive = |reply: &Reply<Observed>| !reply.is_closed();
        if observation.taker.as_ref().is_some_and(alive)
            || observation
                .queued
                .as_ref()
                .is_some_and(|queued| alive(&queued.reply))
        {
            drop(wait.reply.send(Err(CallError::BusyObserver)));
            return;
        }
        let id = wait.id;
        let within = match observation.kind {
            // It is over as soon as the host has cancelled it, and only then can this wait be asked:
            // were it answered before, one of no time at all would never get any output.
            ObservationKind::Wait => wait.yield_time.saturating_add(self.deadlines.call),
            ObservationKind::Initial => wait.yield_time,
        };
        if let Some(gone) = observation.queued.replace(wait) {
            self.leave_queued(gone.id);
        }
        self.enter(id, Call::Queued { on }, within, None, now);
    }

    pub(super) fn send_wait(
        &mut self,
        session: Arc<str>,
        cell: Arc<str>,
        wait: QueuedWait,
        slot: Option<OwnedSemaphorePermit>,
        now: Instant,
    ) {
        let QueuedWait {
            id,
            frame,
            yield_time,
            reply,
            slot: _,
        } = wait;
        if let Some(entry) = self.cell_mut(&session, &cell) {
            entry.observation = Some(id);
        }
        self.outbox.push(frame);
        let kind = ObservationKind::Wait;
        let call = Call::Observation(Observation {
            session,
            cell,
            kind,
            taker: Some(reply),
            queued: None,
        });
        self.enter(
            id,
            call,
            yield_time.saturating_add(self.deadlines.call),
            slot,
            now,
        );
    }

    pub(super) fn leave_queued(&mut self, id: RequestId) {
        if matches!(
            self.calls.get(&id),
            Some(Entry {
                call: Call::Queued { .. },
                ..
            })
        ) {
            self.leave(id);
        }
    }

    /// The time of a queued wait is over. The cell has said nothing meanwhile, so it yields; the
    /// observation that the wait was behind goes on.
    pub(super) fn queued_due(&mut self, id: RequestId, on: RequestId) {
        self.calls.remove(&id);
        let Some(Entry {
            call: Call::Observation(observation),
            ..
        }) = self.calls.get_mut(&on)
        else {
            return;
        };
        let Some(queued) = observation.queued.take() else {
            return;
        };
        let response = CellResponse {
            cell_id: CellId::new(&observation.cell),
            status: CellStatus::Yielded,
            content_items: Vec::new(),
            timings: CellTimings::default(),
            state_lost: None,
        };
        let session = Arc::clone(&observation.session);
        let cell = Arc::clone(&observation.cell);
        // It holds no output, so nothing is lost when nobody takes it.
        drop(queued.reply.send(Ok(Observed {
            session,
            cell,
            response,
        })));
    }

    pub(super) fn caller_gone(&mut self, id: RequestId) -> Outcome<()> {
        let Some(entry) = self.calls.get_mut(&id) else {
            return Ok(());
        };
        match &mut entry.call {
            Call::Execute(execute) => {
                if execute.reply.take().is_some() {
                    self.send_cancel(id)?;
                }
            }
            Call::Observation(observation) => {
                let was_observed = observation.taker.take().is_some();
                if was_observed && observation.kind == ObservationKind::Wait {
                    self.send_cancel(id)?;
                }
            }
            Call::Queued { on } => {
                let on = *on;
                self.leave(id);
                if let Some(Entry {
                    call: Call::Observation(observation),
                    ..
                }) = self.calls.get_mut(&on)
                {
                    observation.queued.take_if(|queued| queued.id == id);
                }
            }
            Call::Terminate { reply, .. } => *reply = None,
            Call::CloseSession { reply, .. } => *reply = None,
            // A session is opened and its store moved whether or not somebody waits.
            Call::Open { .. } | Call::OfSession(_) => {}
        }
        Ok(())
    }

    /// Terminates a cell that nobody has taken.
    pub(super) fn abandon(
        &mut self,
        session: &Arc<str>,
        cell: &Arc<str>,
        now: Instant,
    ) -> Outcome<()> {
        let Some(entry) = self.cell_mut(session, cell) else {
            return Ok(());
        };
        if entry.abandoned {
            return Ok(());
        }
        entry.abandoned = true;
        let running = !entry.closed;
        self.unpark(session, cell);
        for (key, id) in self.delegates.cancel_cell(session, cell) {
            self.effects.push_back(Effect::DropDelegate { key });
            self.refuse(id, NOBODY_WAITS)?;
        }
        if running {
            self.end_cell(session, cell, now)?;
        }
        self.forget_cell_if_done(session, cell);
        Ok(())
    }

    /// Asks the host to end a cell that nobody wants.
    pub(super) fn end_cell(
        &mut self,
        session: &Arc<str>,
        cell: &Arc<str>,
        now: Instant,
    ) -> Outcome<()> {
        let call = Call::Terminate {
            session: Arc::clone(session),
            cell: Arc::clone(cell),
            reply: None,
        };
        self.send_own(call, |id| messages::terminate_frame(id, session, cell), now)
    }

    pub(super) fn session_gone(&mut self, session: &Arc<str>, now: Instant) -> Outcome<()> {
        let Some(entry) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        entry.gone = true;
        match entry.phase {
            SessionPhase::Opening(id) => self.send_cancel(id),
            SessionPhase::Open => self.close_session(session, now),
            SessionPhase::Closing => Ok(()),
        }
    }

    /// The host has closed a session, and with it what was left of its cells.
    pub(super) fn forget_session(&mut self, session: &Arc<str>) -> Outcome<()> {
        for (cell, entry) in self
            .sessions
            .get(session)
            .iter()
            .flat_map(|entry| &entry.cells)
        {
            let observation = entry.observation.and_then(|id| self.calls.get(&id));
            if let Some(Entry {
                call: Call::Observation(observation),
                ..
            }) = observation
                && observation.kind == ObservationKind::Initial
            {
                return violation(format!("session/closed before cell {cell} has answered"));
            }
        }
        if let Some(entry) = self.sessions.remove(session) {
            for (cell, _) in entry.cells.iter().filter(|(_, cell)| !cell.closed) {
                for (key, _) in self.delegates.cancel_cell(session, cell) {
                    self.effects.push_back(Effect::DropDelegate { key });
                }
                self.effects.push_back(closed(&entry, cell));
            }
        }
        self.parked.forget_session(session);
        Ok(())
    }

    pub(super) fn cell_closed(&mut self, session: &str, cell: &str) -> Outcome<()> {
        let Some(entry) = self.cell_mut(session, cell).filter(|entry| !entry.closed) else {
            return violation(format!(
                "cell/closed for cell {cell} of session {session}, which does not live"
            ));
        };
        let observation = entry.observation;
        if let Some(id) = observation
            && let Some(Entry {
                call: Call::Observation(observation),
                ..
            }) = self.calls.get(&id)
            && observation.kind == ObservationKind::Initial
        {
            return violation(format!(
                "cell/closed before the initial response of cell {cell}"
            ));
        }
        if self.delegates.has_cell(session, cell) {
            return violation(format!("cell/closed while calls of cell {cell} are open"));
        }
        if let Some(entry) = self.cell_mut(session, cell) {
            entry.closed = true;
        }
        if let Some(entry) = self.sessions.get(session) {
            self.effects.push_back(closed(entry, cell));
        }
        self.forget_cell_if_done(session, cell);
        Ok(())
    }

    /// Keeps a response for the next observer of its cell.
    pub(super) fn park(&mut self, observed: Observed) {
        let Observed {
            session,
            cell,
            response,
        } = observed;
        let earlier = self.unpark(&session, &cell);
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let entry = entry
            .cells
            .entry(Arc::clone(&cell))
            .or_insert_with(Cell::ended);
        if entry.abandoned {
            return;
        }
        let response = merge(earlier, response);
        let bytes = output_bytes(&response);
        entry.parked = Some(response);
        self.parked.bytes += bytes;
        self.parked.order.push_back((session, cell, bytes));
        while self.parked.order.len() > MAX_PARKED_RESPONSES
            || (self.parked.bytes > MAX_PARKED_BYTES && self.parked.order.len() > 1)
        {
            let Some((session, cell, _)) = self.parked.order.front().cloned() else {
                break;
            };
            tracing::warn!(%session, %cell, "dropped output that nobody has read");
            self.unpark(&session, &cell);
            self.forget_cell_if_done(&session, &cell);
        }
    }

    pub(super) fn returned(&mut self, observed: Observed) {
        let (session, cell) = (Arc::clone(&observed.session), Arc::clone(&observed.cell));
        self.park(observed);
        self.forget_cell_if_done(&session, &cell);
    }

    /// Takes the parked response of a cell.
    pub(super) fn unpark(&mut self, session: &str, cell: &str) -> Option<CellResponse> {
        let response = self.cell_mut(session, cell)?.parked.take()?;
        self.parked.forget(session, cell);
        Some(response)
    }

    /// A response, after the output that was parked before it.
    pub(super) fn with_parked(
        &mut self,
        session: &str,
        cell: &str,
        response: CellResponse,
    ) -> CellResponse {
        let earlier = self.unpark(session, cell);
        merge(earlier, response)
    }

    /// Answers a terminate with a final response that is parked here. Gives the reply back when
    /// there is none and the host has to be asked.
    pub(super) fn take_final(
        &mut self,
        session: &Arc<str>,
        cell: &Arc<str>,
        reply: Reply<Observed>,
    ) -> Option<Reply<Observed>> {
        let parked = self
            .cell_mut(session, cell)
            .and_then(|entry| entry.parked.as_ref());
        if parked.is_none_or(|parked| parked.status == CellStatus::Yielded) {
            return Some(reply);
        }
        if let Some(response) = self.unpark(session, cell) {
            let observed = Observed {
                session: Arc::clone(session),
                cell: Arc::clone(cell),
                response,
            };
            if let Err(Ok(back)) = reply.send(Ok(observed)) {
                self.park(back);
            }
        }
        self.forget_cell_if_done(session, cell);
        None
    }

    /// Whether the host never had a cell or is done with it, once it has said that it has it not.
    pub(super) fn missing(&self, session: &str, cell: &str) -> CallError {
        let number = cell.parse().unwrap_or(0);
        let given = self
            .sessions
            .get(session)
            .is_some_and(|entry| entry.given.contains(number));
        if given {
            CallError::CellFinished
        } else {
            CallError::MissingCell
        }
    }

    /// Forgets a cell of which nothing more can come and nothing is kept.
    pub(super) fn forget_cell_if_done(&mut self, session: &str, cell: &str) {
        let Some(entry) = self.sessions.get_mut(session) else {
            return;
        };
        let done = entry
            .cells
            .get(cell)
            .is_some_and(|cell| cell.closed && cell.observation.is_none() && cell.parked.is_none());
        if done {
            entry.cells.remove(cell);
        }
    }
}

impl Cell {
    /// A cell that has ended and is remembered only for its response.
    fn ended() -> Self {
        Self {
            exec_call_id: Arc::from(""),
            closed: true,
            abandoned: false,
            tries: 0,
            observation: None,
            parked: None,
        }
    }
}

fn merge(earlier: Option<CellResponse>, later: CellResponse) -> CellResponse {
    let Some(mut earlier) = earlier else {
        return later;
    };
    earlier.content_items.extend(later.content_items);
    CellResponse {
        content_items: earlier.content_items,
        ..later
    }
}

fn output_bytes(response: &CellResponse) -> usize {
    response
        .content_items
        .iter()
        .map(|item| match item {
            ContentItem::Text(text) => text.len(),
            ContentItem::Image { image_url, .. } => image_url.len(),
            ContentItem::Audio { audio_url } => audio_url.len(),
        })
        .sum()
}
