//! Where the time of a cell goes: one `tracing` span for each step.
//!
//! All have the target [`TARGET`] and the level DEBUG. Nothing is measured unless a subscriber wants
//! them: a span that is off costs one relaxed load.

use tracing::{Span, debug_span};

use crate::cell::Cell;

/// The target of the spans, for a subscriber's filter.
const TARGET: &str = "code_mode::timing";

/// From the start of a cell until it has its thread and isolate. All of it is waiting, so it shows as
/// idle time.
pub(crate) fn queue(cell: &Cell) -> Span {
    debug_span!(target: TARGET, "queue", session = %cell.session_id, cell = %cell.id)
}

/// The making of an isolate and its context; usually ahead of need, so it belongs to no cell.
pub(crate) fn isolate() -> Span {
    debug_span!(target: TARGET, "isolate")
}

/// A script from its compilation to its end. It is idle while it waits for tools and timers.
pub(crate) fn run(cell: &Cell) -> Span {
    debug_span!(target: TARGET, "run", session = %cell.session_id, cell = %cell.id)
}

/// The compilation of a script; within [`run`].
pub(crate) fn compile(source: &str) -> Span {
    debug_span!(target: TARGET, "compile", bytes = source.len())
}

/// One tool call, from the call to the answer's arrival in the script. All of it is waiting, so it
/// shows as idle time.
pub(crate) fn tool(name: &str, number: u64) -> Span {
    debug_span!(target: TARGET, "tools", tool = name, number)
}

/// The disposal of an isolate, after the result has been handed out.
pub(crate) fn dispose(cell: &Cell) -> Span {
    debug_span!(target: TARGET, "dispose", session = %cell.session_id, cell = %cell.id)
}
