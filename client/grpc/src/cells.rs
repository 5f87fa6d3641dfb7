// SPDX-License-Identifier: Apache-2.0
//! The cells of a session, and what of them must wait for something else to be said first.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use code_mode_api::CellId;
use code_mode_protocol::{DelegateRequest, DelegateRequestId, HostMessage, RequestId};
use tokio::time::Instant;

/// Cancellations that have come before their calls and are remembered; past this all are forgotten, and a
/// call that comes after all is cancelled when its cell ends.
const MAX_EARLY_CANCELLATIONS: usize = 16_384;

/// How long a result waits for what its cell has said before (1 s). Hosts say it at about the same time,
/// on another stream; one that does not is not waited for.
pub const ORDER_DEADLINE: Duration = Duration::from_secs(1);

/// Something about a cell whose turn has come.
#[derive(Debug)]
pub(crate) enum Ready {
    /// A call or a notification.
    Request(DelegateRequestId, Box<DelegateRequest>),
    /// The host waits for one of these no longer.
    Cancel(DelegateRequestId),
    /// The cell of this execute has said everything; what it still waits for, it gets no more.
    Ended(RequestId),
    /// An answer to an observer.
    Answer(HostMessage),
    /// Nothing more will follow.
    Closed(CellId),
}

/// How an answer leaves its cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It runs on, or it is not known what it does.
    Running,
    /// It has come to its end, so its notifications are delivered first.
    Completed,
    /// It was ended, and its notifications with it.
    Terminated,
}

/// The cells of a session, by the request that has started each.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    cells: BTreeMap<RequestId, Cell>,
    early: HashSet<String>,
    /// The session's stream of calls has ended: no cell waits for one.
    calls_are_over: bool,
    /// So has its lease: no cell waits for anything.
    all_is_over: bool,
}

#[derive(Debug)]
struct Cell {
    /// Its id, once its start has been told.
    id: Option<CellId>,
    /// Requests about it that the host has not answered, the execute included.
    observers: usize,
    /// The sequence of the last call that has come.
    seen: u64,
    /// The sequence of its last call, once the host has closed it.
    last: Option<u64>,
    /// Notifications that the client has not answered.
    notifications: usize,
    /// Whether somebody has ended it.
    terminated: bool,
    /// What came before its start.
    held: Vec<Ready>,
    /// Final answers that came before all that the cell has said.
    answers: Vec<HostMessage>,
    /// When these are told in any case.
    deadline: Option<Instant>,
}

impl Cell {
    /// Gives back what may be told, and holds what has to wait for the start.
    fn in_turn(&mut self, ready: Ready) -> Option<Ready> {
        if self.id.is_some() {
            return Some(ready);
        }
        self.held.push(ready);
        None
    }
}

impl Cells {
    /// The cell that a host means by the id of its execution; `None` for one that nobody wants any more.
    pub(crate) fn find(&self, execution_id: &str) -> Option<RequestId> {
        let id = RequestId::new(execution_id.parse().ok()?);
        self.cells.contains_key(&id).then_some(id)
    }

    /// Takes in an execute.
    pub(crate) fn begin(&mut self, execute: RequestId) {
        self.cells.insert(
            execute,
            Cell {
                id: None,
                observers: 1,
                seen: 0,
                last: None,
                notifications: 0,
                terminated: false,
                held: Vec::new(),
                answers: Vec::new(),
                deadline: None,
            },
        );
    }

    /// Forgets an execute that has not started a cell, or whose cell nobody wants.
    pub(crate) fn abandon(&mut self, execute: RequestId) {
        self.cells.remove(&execute);
    }

    /// The cell of an execute, once its start has been told.
    pub(crate) fn id(&self, execute: RequestId) -> Option<CellId> {
        self.cells.get(&execute)?.id.clone()
    }

    /// Takes note that the start was told, and gives what has waited for it.
    pub(crate) fn started(&mut self, execute: RequestId, id: CellId) -> Vec<Ready> {
        let Some(cell) = self.cells.get_mut(&execute) else {
            return Vec::new();
        };
        cell.id = Some(id);
        let mut ready = std::mem::take(&mut cell.held);
        ready.extend(self.ended(execute));
        ready
    }

    /// Takes in a call or notification, and gives it back if its turn is now.
    pub(crate) fn request(
        &mut self,
        execute: RequestId,
        id: DelegateRequestId,
        request: DelegateRequest,
    ) -> Option<Ready> {
        let cell = self.cells.get_mut(&execute)?;
        if matches!(request, DelegateRequest::NotificationSend { .. }) {
            cell.notifications += 1;
        }
        cell.in_turn(Ready::Request(id, Box::new(request)))
    }

    /// Takes in the cancellation of a call or notification, and gives it back if its turn is now.
    pub(crate) fn cancel(&mut self, execute: RequestId, id: DelegateRequestId) -> Option<Ready> {
        self.cells.get_mut(&execute)?.in_turn(Ready::Cancel(id))
    }

    /// Takes note that a notification needs no answer any more, and gives what has waited for it.
    pub(crate) fn notified(&mut self, execute: RequestId) -> Vec<Ready> {
        if let Some(cell) = self.cells.get_mut(&execute) {
            cell.notifications = cell.notifications.saturating_sub(1);
        }
        self.ended(execute)
    }

    /// Remembers the cancellation of a call that has not come.
    pub(crate) fn cancelled_early(&mut self, invocation_id: String) {
        if self.early.len() >= MAX_EARLY_CANCELLATIONS {
            self.early.clear();
        }
        self.early.insert(invocation_id);
    }

    /// Whether a call that has come was cancelled before.
    pub(crate) fn was_cancelled(&mut self, invocation_id: &str) -> bool {
        self.early.remove(invocation_id)
    }

    /// Takes note of the number of a call that has come, and gives what has waited for it.
    pub(crate) fn seen(&mut self, execute: RequestId, sequence: u64) -> Vec<Ready> {
        if let Some(cell) = self.cells.get_mut(&execute) {
            cell.seen = cell.seen.max(sequence);
        }
        self.ended(execute)
    }

    /// Takes in a request about a cell; gives the execute that has started it, if it is not closed.
    pub(crate) fn observe(&mut self, id: &CellId) -> Option<RequestId> {
        let mut cells = self.cells.iter_mut();
        let (execute, cell) = cells.find(|(_, cell)| cell.id.as_ref() == Some(id))?;
        cell.observers += 1;
        Some(*execute)
    }

    /// Takes in the answer to a request about a cell, and gives what is to be told now. One that is final
    /// waits until all is told that the cell has said.
    pub(crate) fn answered(
        &mut self,
        execute: RequestId,
        answer: HostMessage,
        leaves: Leaves,
        now: Instant,
    ) -> Vec<Ready> {
        let Some(cell) = self.cells.get_mut(&execute) else {
            return vec![Ready::Answer(answer)];
        };
        cell.observers = cell.observers.saturating_sub(1);
        let mut ready = Vec::new();
        if leaves == Leaves::Running {
            ready.push(Ready::Answer(answer));
        } else {
            cell.terminated |= leaves == Leaves::Terminated;
            cell.answers.push(answer);
            cell.deadline.get_or_insert(now + ORDER_DEADLINE);
        }
        ready.extend(self.ended(execute));
        ready
    }

    /// Takes note that the host has closed a cell after so many calls.
    pub(crate) fn close(&mut self, execute: RequestId, last: u64) -> Vec<Ready> {
        if let Some(cell) = self.cells.get_mut(&execute) {
            cell.last = Some(last);
        }
        self.ended(execute)
    }

    /// Takes note that no call will come any more, for no cell.
    pub(crate) fn end_calls(&mut self) -> Vec<Ready> {
        self.calls_are_over = true;
        self.all_ended()
    }

    /// Takes note that the session is over, and so is every cell.
    pub(crate) fn end(&mut self) -> Vec<Ready> {
        self.all_is_over = true;
        self.all_ended()
    }

    fn all_ended(&mut self) -> Vec<Ready> {
        let executes: Vec<RequestId> = self.cells.keys().copied().collect();
        let ended = executes.into_iter().map(|execute| self.ended(execute));
        ended.flatten().collect()
    }

    /// When an answer has waited long enough; `None` when none waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.cells.values().filter_map(|cell| cell.deadline).min()
    }

    /// The answers that have waited long enough.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Ready> {
        let mut ready = Vec::new();
        for cell in self.cells.values_mut() {
            if cell.deadline.is_some_and(|deadline| deadline <= now) {
                cell.deadline = None;
                ready.extend(cell.answers.drain(..).map(Ready::Answer));
            }
        }
        ready
    }

    /// What is told at the end of a cell, as far as everything before it has been.
    fn ended(&mut self, execute: RequestId) -> Vec<Ready> {
        let Some(cell) = self.cells.get_mut(&execute) else {
            return Vec::new();
        };
        let Some(id) = &cell.id else {
            return Vec::new();
        };
        let has_all_calls = |last| cell.seen >= last || self.calls_are_over;
        let has_said_all =
            cell.last.is_some_and(has_all_calls) && (cell.terminated || cell.notifications == 0);
        if !has_said_all && !self.all_is_over {
            return Vec::new();
        }
        let mut ready = vec![Ready::Ended(execute)];
        cell.deadline = None;
        ready.extend(cell.answers.drain(..).map(Ready::Answer));
        if cell.observers == 0 {
            ready.push(Ready::Closed(id.clone()));
            self.cells.remove(&execute);
        }
        if self.cells.is_empty() {
            self.early.clear();
        }
        ready
    }
}

#[cfg(test)]
#[path = "cells_tests.rs"]
mod tests;
