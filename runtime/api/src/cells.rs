// SPDX-License-Identifier: Apache-2.0
//! Cells as a list of them shows them.

use std::time::Duration;

use crate::CellId;

/// One cell in a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellSummary {
    /// The cell.
    pub cell_id: CellId,
    /// [`ExecuteRequest::exec_call_id`](crate::ExecuteRequest::exec_call_id) of the cell.
    pub exec_call_id: String,
    /// What it does.
    pub state: CellState,
    /// The time since it was started.
    pub age: Duration,
    /// The output of its script so far, in bytes.
    pub output_bytes: u64,
    /// The part of that which nobody has had: what the next observer gets, in bytes.
    pub unread_bytes: u64,
}

/// What a cell does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CellState {
    /// Its script runs, or waits for something.
    Running,
    /// It was told to stop, by a terminate or by a limit, and has not yet.
    Stopping,
    /// It has ended and keeps its result for an observer.
    Ended,
}
