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
    /// The client has its result; the runtime has not closed it yet.
    ResultSent,
    /// The runtime has closed it; nobody has its result yet.
    Closed,
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
    when_over: Vec<Box<dyn FnOnce() + Send>>,
}

impl Closing {
    /// A cell is about to start.
    pub(crate) fn started(&self, cell_id: &CellId) {
        self.lock().cells.insert(cell_id.clone(), Stage::Running);
    }

    /// The client has been sent the cell's result. `true` if `cell/closed` is to follow now.
    #[must_use]
    pub(crate) fn result_sent(&self, cell_id: &CellId) -> bool {
        self.half(cell_id, Stage::ResultSent, Stage::Closed)
    }

    /// The runtime is done with the cell. `true` if `cell/closed` is to be sent now.
    #[must_use]
    pub(crate) fn closed(&self, cell_id: &CellId) -> bool {
        self.half(cell_id, Stage::Closed, Stage::ResultSent)
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
    /// to be closed now. `when_over` comes out of [`take_end`](Self::take_end).
    #[must_use]
    pub(crate) fn shut_down(&self, when_over: Box<dyn FnOnce() + Send>) -> Vec<CellId> {
        let mut state = self.lock();
        state.when_over.push(when_over);
        let closed = state.cells.extract_if(|_, stage| *stage == Stage::Closed);
        closed.map(|(cell_id, _)| cell_id).collect()
    }

    /// What the shutdown has left for the end of the last cell, if that has come. To be asked for
    /// after each `cell/closed`.
    pub(crate) fn take_end(&self) -> Vec<Box<dyn FnOnce() + Send>> {
        let mut state = self.lock();
        if state.cells.is_empty() {
            std::mem::take(&mut state.when_over)
        } else {
            Vec::new()
        }
    }

    fn half(&self, cell_id: &CellId, half: Stage, other: Stage) -> bool {
        let mut state = self.lock();
        let nobody_asks = !state.when_over.is_empty() && half == Stage::Closed;
        match state.cells.get_mut(cell_id) {
            Some(stage) if *stage == other || nobody_asks => {
                state.cells.remove(cell_id);
                true
            }
            // A terminate and a wait both get the result; the second of them changes nothing.
            Some(stage) => {
                *stage = half;
                false
            }
            None => false,
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
        assert!(!closing.result_sent(&cells[0]));
        assert!(closing.closed(&cells[0]));
        assert!(!closing.closed(&cells[1]));
        assert!(closing.result_sent(&cells[1]));
    }

    #[test]
    fn a_result_that_two_observers_get_closes_once() {
        let (closing, cells) = with_cells(&["1"]);
        assert!(!closing.result_sent(&cells[0]));
        assert!(!closing.result_sent(&cells[0]));
        assert!(closing.closed(&cells[0]));
        assert!(!closing.closed(&cells[0]));
    }

    #[test]
    fn a_shutdown_closes_what_nobody_will_read_and_ends_after_the_last_cell() {
        let (closing, cells) = with_cells(&["1", "2", "3"]);
        assert!(!closing.closed(&cells[0]));
        assert!(!closing.result_sent(&cells[1]));
        assert_eq!(closing.shut_down(Box::new(|| {})), [cells[0].clone()]);
        assert!(closing.take_end().is_empty());
        assert!(closing.closed(&cells[1]));
        assert!(closing.take_end().is_empty());
        assert!(closing.closed(&cells[2]));
        assert!(!closing.take_end().is_empty());
        assert!(closing.take_end().is_empty());
    }

    #[test]
    fn running_cells_are_listed_by_number() {
        let (closing, cells) = with_cells(&["10", "2", "1"]);
        assert!(!closing.closed(&cells[2]));
        assert_eq!(closing.running(), [CellId::new("2"), CellId::new("10")]);
    }
}
