// SPDX-License-Identifier: Apache-2.0
//! The span of an execute, which ties what is logged of its cell to the trace of whoever asked for it.

use code_mode_api::TIMING_TARGET;
use tracing::field::Empty;
use tracing::{Span, info_span};

/// From the receipt of an execute until its cell is closed, or the execute refused. The runtime's own spans and lines
/// about the cell are within it. `cell` is told once there is one.
pub(crate) fn execute(session: &str, execution: &str, traceparent: Option<&str>) -> Span {
    info_span!(target: TIMING_TARGET, "execute", session, execution, cell = Empty, traceparent)
}
