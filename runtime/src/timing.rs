// SPDX-License-Identifier: Apache-2.0
//! Where the time of a cell goes: one `tracing` span for each step.
//!
//! All have the target [`TARGET`] and the level DEBUG. Nothing is measured unless a subscriber wants
//! them: a span that is off costs one relaxed load. Those of a cell are within the span in which it was
//! started, if whoever did so has one: over gRPC the door's `execute`. The steps of a script on a thread are the engine's,
//! within [`cell`]; a process of its own tells nothing of them.

use code_mode_api::TIMING_TARGET as TARGET;
use tracing::{Span, debug_span};

use crate::cell::Cell;

/// From the start of a cell until it has its isolate. All of it is waiting, so it shows as idle time.
pub(crate) fn queue(cell: &Cell) -> Span {
    debug_span!(target: TARGET, "queue", session = %cell.session_id, cell = %cell.id)
}

/// The making of an isolate and its context; usually ahead of need, so it belongs to no cell.
pub(crate) fn isolate() -> Span {
    debug_span!(target: TARGET, "isolate")
}

/// A cell from its first statement to its result.
pub(crate) fn cell(cell: &Cell) -> Span {
    debug_span!(target: TARGET, "cell", session = %cell.session_id, cell = %cell.id)
}

/// The disposal of an isolate, after the result has been handed out.
pub(crate) fn dispose(cell: &Cell) -> Span {
    debug_span!(target: TARGET, "dispose", session = %cell.session_id, cell = %cell.id)
}
