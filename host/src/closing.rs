// SPDX-License-Identifier: Apache-2.0
//! When `cell/closed` may be sent.
//!
//! Nothing about a cell follows its `cell/closed` (contract, *Order and life cycle*, 2), yet a cell
//! that ends unobserved keeps its result for a later wait (3). So `cell/closed` waits for that
//! result to be handed out, or for the session to be shut down.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use code_mode_api::CellId;

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Neither of the two that make its end has come.
    Running,
    /// The client gets its result; the runtime has not closed it yet.
    ResultGiven,
    /// The runtime has closed it; nobody has its result yet.
    Closed,
    /// Both have come: the client is being told, or is about to be once its result is queued.
    Telling,
}

/// The cells of one session that the client has not been told are closed.
///
/// At most one entry per active cell and per stored result, both of which the runtime bounds.
#[derive(Default)]
pub(crate) struct Closing(Mutex<State>);

#[derive(Default)]
struct State {
    cells: HashMap<CellId, Stage>,
    /// What is to be done when the last cell is closed; set by a shutdown, and by the end of the
    /// connection if that comes meanwhile.
    when_over: Vec<WhenOver>,
}

/// What is to be done when a session's last cell is closed.
pub(crate) type WhenOver = Box<dyn FnOnce() + Send>;

impl State {
    fn take_end(&mut self) -> Vec<WhenOver> {
        if self.cells.is_empty() {
            std::mem::take(&mut self.when_over)
        } else {
            Vec::new()
        }
    }
}

impl Closing {
    /// A cell is about to start.
    pub(crate) fn started(&self, cell_id: &CellId) {
        self.lock().cells.insert(cell_id.clone(), Stage::Running);
    }

    /// The client is about to be given the cell's result. `true` if `cell/closed` is to follow it.
    #[must_use]
    pub(crate) fn result_given(&self, cell_id: &CellId) -> bool {
        self.half(cell_id, Stage::ResultGiven, Stage::Closed)
    }

    /// The runtime is done with the cell. `true` if `cell/closed` is to be sent now.
    #[must_use]
    pub(crate) fn closed(&self, cell_id: &CellId) -> bool {
        self.half(cell_id, Stage::Closed, Stage::ResultGiven)
    }

    /// `cell/closed` is queued. Gives what shutdowns have left for the end of the last cell, if this
    /// was it.
    #[must_use]
    pub(crate) fn told(&self, cell_id: &CellId) -> Vec<WhenOver> {
        let mut state = self.lock();
        state.cells.remove(cell_id);
        state.take_end()
    }

    /// The cells that run, by number.
    pub(crate) fn running(&self) -> Vec<CellId> {
        let mut cells: Vec<CellId> = {
            let state = self.lock();
            let running = state
                .cells
                .iter()
                .filter(|(_, stage)| **stage == Stage::Running);
            running.map(|(cell_id, _)| cell_id.clone()).collect()
        };
        cells.sort_by_key(|cell_id| (cell_id.as_str().len(), cell_id.clone()));
        cells
    }

    /// The session is shut down: gives the cells whose result nobody will get any more, which are
    /// to be closed now. `when_over` comes out of [`told`](Self::told) with the last cell, or right
    /// away when there is none.
    #[must_use]
    pub(crate) fn shut_down(&self, when_over: WhenOver) -> (Vec<CellId>, Vec<WhenOver>) {
        let mut state = self.lock();
        state.when_over.push(when_over);
        let mut closed = Vec::new();
        for (cell_id, stage) in &mut state.cells {
            if *stage == Stage::Closed {
                *stage = Stage::Telling;
                closed.push(cell_id.clone());
            }
        }
        (closed, state.take_end())
    }

    fn half(&self, cell_id: &CellId, half: Stage, other: Stage) -> bool {
        let mut state = self.lock();
        let nobody_asks = !state.when_over.is_empty() && half == Stage::Closed;
        match state.cells.get_mut(cell_id) {
            // A terminate and a wait both get the result; the second of them changes nothing.
            None | Some(Stage::Telling) => false,
            Some(stage) => {
                let both = *stage == other || nobody_asks;
                *stage = if both { Stage::Telling } else { half };
                both
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_cells(ids: &[&str]) -> (Closing, Vec<CellId>) {
        let closing = Closing::default();
        let cells: Vec<CellId> = ids.iter().map(CellId::new).collect();
        for cell in &cells {
            closing.started(cell);
        }
        (closing, cells)
    }

    #[test]
    fn a_cell_is_closed_by_whichever_half_comes_last() {
        let (closing, cells) = with_cells(&["1", "2"]);
        assert!(!closing.result_given(&cells[0]));
        assert!(closing.closed(&cells[0]));
        assert!(!closing.closed(&cells[1]));
        assert!(closing.result_given(&cells[1]));
    }

    #[test]
    fn a_result_that_two_observers_get_closes_once() {
        let (closing, cells) = with_cells(&["1"]);
        assert!(!closing.result_given(&cells[0]));
        assert!(!closing.result_given(&cells[0]));
        assert!(closing.closed(&cells[0]));
        assert!(!closing.result_given(&cells[0]));
        assert!(!closing.closed(&cells[0]));
    }

    #[test]
    fn a_shutdown_closes_what_nobody_will_read_and_ends_when_the_last_cell_is_told() {
        let (closing, cells) = with_cells(&["1", "2", "3"]);
        assert!(!closing.closed(&cells[0]));
        assert!(!closing.result_given(&cells[1]));
        let (closed, end) = closing.shut_down(Box::new(|| {}));
        assert_eq!((closed, end.len()), (vec![cells[0].clone()], 0));
        assert!(closing.told(&cells[0]).is_empty());
        assert!(closing.closed(&cells[1]));
        assert!(closing.closed(&cells[2]));
        // Each is over when it is queued, not when that was decided.
        assert!(closing.told(&cells[2]).is_empty());
        assert_eq!(closing.told(&cells[1]).len(), 1);
    }

    #[test]
    fn a_shutdown_leaves_a_result_that_is_on_its_way_in_front_of_the_close() {
        let (closing, cells) = with_cells(&["1"]);
        assert!(!closing.closed(&cells[0]));
        assert!(closing.result_given(&cells[0]));
        let (closed, end) = closing.shut_down(Box::new(|| {}));
        assert!(closed.is_empty() && end.is_empty());
        assert_eq!(closing.told(&cells[0]).len(), 1);
    }

    #[test]
    fn a_session_without_cells_ends_at_once() {
        let (closing, _) = with_cells(&[]);
        let (closed, end) = closing.shut_down(Box::new(|| {}));
        assert_eq!((closed.len(), end.len()), (0, 1));
    }

    #[test]
    fn running_cells_are_listed_by_number() {
        let (closing, cells) = with_cells(&["10", "2", "1"]);
        assert!(!closing.closed(&cells[2]));
        assert_eq!(closing.running(), [CellId::new("2"), CellId::new("10")]);
    }
}
