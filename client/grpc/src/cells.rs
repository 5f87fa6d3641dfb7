// SPDX-License-Identifier: Apache-2.0
//! The cells of a session, and what of them must wait for something else to be said first.

use std::collections::{BTreeMap, HashSet};

use code_mode_protocol::{CellId, DelegateRequest, DelegateRequestId, RequestId};

/// Cancellations that have come before their calls and are remembered; past this all are forgotten, and a
/// call that comes after all is handed to the client and cancelled when its cell ends.
const MAX_EARLY_CANCELLATIONS: usize = 16_384;

/// Something about a cell whose turn has come.
#[derive(Debug)]
pub(crate) enum Ready {
    /// A call or a notification.
    Request(DelegateRequestId, Box<DelegateRequest>),
    /// Nothing more will follow.
    Closed(CellId),
}

/// The cells of a session, by the request that has started each.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    cells: BTreeMap<RequestId, Cell>,
    early: HashSet<String>,
}

#[derive(Debug, Default)]
struct Cell {
    /// Its id, once its start has been told.
    id: Option<CellId>,
    /// Whether its first outcome has been told.
    answered: bool,
    /// The sequence of the last call that has come.
    seen: u64,
    /// The sequence of its last call, once the host has closed it.
    last: Option<u64>,
    /// What came before its start.
    held: Vec<(DelegateRequestId, Box<DelegateRequest>)>,
}

impl Cells {
    /// The cell that a host means by the id of its execution; `None` for one that nobody wants any more.
    pub(crate) fn find(&self, execution_id: &str) -> Option<RequestId> {
        let id = RequestId::new(execution_id.parse().ok()?);
        self.cells.contains_key(&id).then_some(id)
    }

    /// Takes in an execute.
    pub(crate) fn begin(&mut self, execute: RequestId) {
        self.cells.insert(execute, Cell::default());
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
        let held = std::mem::take(&mut cell.held);
        let mut ready: Vec<_> = held
            .into_iter()
            .map(|(id, request)| Ready::Request(id, request))
            .collect();
        ready.extend(self.closed(execute));
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
        let request = Box::new(request);
        if cell.id.is_some() {
            return Some(Ready::Request(id, request));
        }
        cell.held.push((id, request));
        None
    }

    /// Forgets a call or notification that has not been handed on; `false` when it has.
    pub(crate) fn forget(&mut self, id: DelegateRequestId) -> bool {
        self.cells.values_mut().any(|cell| {
            let before = cell.held.len();
            cell.held.retain(|(held, _)| *held != id);
            cell.held.len() < before
        })
    }

    /// Remembers that a call which has not come needs no answer.
    pub(crate) fn cancelled_early(&mut self, invocation_id: String) {
        if self.early.len() >= MAX_EARLY_CANCELLATIONS {
            self.early.clear();
        }
        self.early.insert(invocation_id);
    }

    /// Whether a call that has come still needs an answer.
    pub(crate) fn is_wanted(&mut self, invocation_id: &str) -> bool {
        !self.early.remove(invocation_id)
    }

    /// Takes note of the number of a call that has come, and gives the closure if that has waited for it.
    pub(crate) fn seen(&mut self, execute: RequestId, sequence: u64) -> Option<Ready> {
        let cell = self.cells.get_mut(&execute)?;
        cell.seen = cell.seen.max(sequence);
        self.closed(execute)
    }

    /// Takes note that the first outcome was told.
    pub(crate) fn answered(&mut self, execute: RequestId) -> Option<Ready> {
        self.cells.get_mut(&execute)?.answered = true;
        self.closed(execute)
    }

    /// Takes note that the host has closed a cell after so many calls.
    pub(crate) fn close(&mut self, execute: RequestId, last: u64) -> Option<Ready> {
        self.cells.get_mut(&execute)?.last = Some(last);
        self.closed(execute)
    }

    /// The closure of a cell, when everything else of it has been told.
    fn closed(&mut self, execute: RequestId) -> Option<Ready> {
        let cell = self.cells.get(&execute)?;
        let id = cell.id.clone()?;
        if !cell.answered || cell.last.is_none_or(|last| cell.seen < last) {
            return None;
        }
        self.cells.remove(&execute);
        if self.cells.is_empty() {
            self.early.clear();
        }
        Some(Ready::Closed(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification() -> DelegateRequest {
        DelegateRequest::NotificationSend {
            call_id: "call".to_owned(),
            cell_id: id(),
            text: "text".to_owned(),
        }
    }

    fn id() -> CellId {
        CellId::new("1").expect("not empty")
    }

    const EXECUTE: RequestId = RequestId::new(7);

    fn is_closed(ready: Option<Ready>) -> bool {
        matches!(ready, Some(Ready::Closed(_)))
    }

    #[test]
    fn what_comes_before_the_start_waits_for_it_unless_it_is_cancelled() {
        let mut cells = Cells::default();
        cells.begin(EXECUTE);
        assert_eq!(cells.find("7"), Some(EXECUTE));
        for number in 1..=3 {
            let number = DelegateRequestId::new(number);
            assert!(cells.request(EXECUTE, number, notification()).is_none());
        }
        assert!(cells.forget(DelegateRequestId::new(2)));
        let ready = cells.started(EXECUTE, id());
        let numbers: Vec<i64> = ready
            .iter()
            .filter_map(|ready| match ready {
                Ready::Request(id, _) => Some(id.get()),
                Ready::Closed(_) => None,
            })
            .collect();
        assert_eq!(numbers, [1, 3]);
        assert!(!cells.forget(DelegateRequestId::new(3)), "it was told");
        let fourth = cells.request(EXECUTE, DelegateRequestId::new(4), notification());
        assert!(fourth.is_some(), "at once");
    }

    #[test]
    fn a_cell_is_closed_after_its_start_its_outcome_and_its_last_call_in_any_order() {
        let steps: [fn(&mut Cells) -> Option<Ready>; 4] = [
            |cells| cells.started(EXECUTE, id()).pop(),
            |cells| cells.answered(EXECUTE),
            |cells| cells.seen(EXECUTE, 2),
            |cells| cells.close(EXECUTE, 2),
        ];
        for first in 0..4 {
            for second in (0..4).filter(|second| *second != first) {
                let mut cells = Cells::default();
                cells.begin(EXECUTE);
                let rest = (0..4).filter(|step| ![first, second].contains(step));
                let order: Vec<usize> = [first, second].into_iter().chain(rest).collect();
                for (number, step) in order.iter().enumerate() {
                    assert_eq!(
                        is_closed(steps[*step](&mut cells)),
                        number == 3,
                        "{order:?}"
                    );
                }
                assert_eq!(cells.find("7"), None, "it is forgotten");
            }
        }
    }

    #[test]
    fn what_is_said_of_an_execute_that_nobody_wants_is_dropped() {
        let mut cells = Cells::default();
        cells.begin(EXECUTE);
        cells.abandon(EXECUTE);
        assert_eq!(cells.find("7"), None);
        assert!(cells.close(EXECUTE, 0).is_none());
        assert!(cells.seen(EXECUTE, 1).is_none());
        assert_eq!(cells.find("x"), None);
    }

    #[test]
    fn cancellations_before_their_calls_are_remembered_within_a_bound() {
        let mut cells = Cells::default();
        cells.cancelled_early("a".to_owned());
        assert!(!cells.is_wanted("a"));
        assert!(cells.is_wanted("a"), "once");
        for number in 0..=MAX_EARLY_CANCELLATIONS {
            cells.cancelled_early(number.to_string());
        }
        assert!(cells.early.len() <= MAX_EARLY_CANCELLATIONS);
    }
}
