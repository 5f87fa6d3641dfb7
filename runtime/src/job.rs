// SPDX-License-Identifier: Apache-2.0
//! What there is to run for a cell that was admitted.

use code_mode_engine::ToolTable;

use crate::cell::SeatedCell;

/// A cell and what it is to run. One that is dropped without having run ends its cell.
pub(crate) struct Job {
    pub(crate) cell: SeatedCell,
    pub(crate) source: String,
    pub(crate) tools: ToolTable,
    /// The span that whoever started the cell was in: what is logged about the cell belongs to it.
    pub(crate) within: tracing::Span,
    /// The span of the time that the job waits for its isolate.
    pub(crate) queued: tracing::Span,
}
