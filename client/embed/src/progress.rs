// SPDX-License-Identifier: Apache-2.0
//! What an observer of a cell is told.

use std::time::Duration;

use crate::{ExecError, Output};

/// Where a cell stands when its observer looks.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The cell runs on; this is what it has put out since the last look.
    Running(Output),
    /// The cell has ended.
    Ended {
        /// What it has put out since the last look. [`CellHandle::wait`](crate::CellHandle::wait)
        /// gives all of it.
        output: Output,
        /// How it ended.
        result: Result<(), ExecError>,
        /// How long the cell ran, as the host measured it, if it said.
        host_duration: Option<Duration>,
    },
}
