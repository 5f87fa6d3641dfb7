// SPDX-License-Identifier: Apache-2.0
//! Where the time of a script goes: one `tracing` span for each step.
//!
//! All have the target [`TARGET`] and the level DEBUG. Nothing is measured unless a subscriber wants
//! them: a span that is off costs one relaxed load.

use code_mode_api::TIMING_TARGET as TARGET;
use tracing::{Span, debug_span};

/// A script from its compilation to its end. It is idle while it waits for tools and timers.
pub(crate) fn run() -> Span {
    debug_span!(target: TARGET, "run")
}

/// The compilation of a script; within [`run`].
pub(crate) fn compile(source: &str) -> Span {
    debug_span!(target: TARGET, "compile", bytes = source.len())
}

/// A source that is no JavaScript read as TypeScript; within [`run`].
pub(crate) fn typescript(source: &str) -> Span {
    debug_span!(target: TARGET, "typescript", bytes = source.len())
}

/// One tool call, from the call to the answer's arrival in the script. All of it is waiting, so it
/// shows as idle time.
pub(crate) fn tool(name: &str, number: u64) -> Span {
    debug_span!(target: TARGET, "tools", tool = name, number)
}
