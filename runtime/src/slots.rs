// SPDX-License-Identifier: Apache-2.0
//! What a cell takes of its runtime: a slot until it has ended, a seat until its thread or process is gone,
//! and a presence in its session until nothing of it follows any more.
//!
//! All are values, and whoever drops one gives it back: there is no other way, so none is forgotten where
//! something fails, unwinds or is dropped half done.

use std::sync::Arc;

use code_mode_api::waist::Held;
use code_mode_api::{LimitName, SessionError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::max_cell_threads;

/// The place of a cell among those that may run, held until the cell has ended.
#[derive(Debug)]
pub(crate) struct Slot {
    _place: Held,
}

impl Slot {
    /// The slot for which the session holds one place.
    pub(crate) fn new(place: Held) -> Self {
        Self { _place: place }
    }
}

/// The places for threads or processes of cells, all sessions together.
///
/// Those of ended cells that are still disposed of have theirs too, apart from the slots of cells, so that a
/// result is not held back by the disposal, and so that their number is bounded.
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    max_active_cells: usize,
}

/// The place of a cell's thread or process, held until it was joined or reaped.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Seats {
    /// As many as [`max_cell_threads`] says when so many cells may be active.
    pub(crate) fn new(max_active_cells: usize) -> Self {
        let seats = max_cell_threads(max_active_cells).min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(seats)),
            max_active_cells,
        }
    }

    /// Takes a seat, which is free again when the value is dropped.
    pub(crate) fn take(&self) -> Result<Seat, SessionError> {
        // It is never closed, so an error means that none is free.
        let permit = Arc::clone(&self.free).try_acquire_owned();
        match permit {
            Ok(permit) => Ok(Seat { _permit: permit }),
            Err(_) => Err(SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum: self.max_active_cells as u64,
                detail: "ended cells are still being disposed of; try again".to_owned(),
            }),
        }
    }

    /// Seats that are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }
}

/// What a [`Presence`] keeps open.
pub(crate) trait KeptOpen: Send + Sync {
    /// One of the presences that were counted was dropped.
    fn cell_gone(&self);
}

/// Keeps a session from counting as closed for one of its cells, until it is dropped.
pub(crate) struct Presence(Arc<dyn KeptOpen>);

impl Presence {
    /// One that the session has counted.
    pub(crate) fn new(session: Arc<dyn KeptOpen>) -> Self {
        Self(session)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.cell_gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_dropped_and_none_is_given_twice() {
        let seats = Seats::new(2);
        let all = max_cell_threads(2);
        let mut taken: Vec<Seat> = (0..all).map(|_| seats.take().expect("free")).collect();
        let Err(SessionError::Limit { limit, maximum, .. }) = seats.take() else {
            panic!("there are no more than {all}");
        };
        assert_eq!((limit, maximum), (LimitName::ActiveCells, 2));
        assert!(taken.pop().is_some());
        assert_eq!(seats.free(), 1);
        assert!(seats.take().is_ok());
        drop(taken);
        assert_eq!(seats.free(), all);
    }

    #[test]
    fn as_many_cells_as_can_be_counted_may_be_active() {
        assert!(Seats::new(usize::MAX).take().is_ok());
    }
}
