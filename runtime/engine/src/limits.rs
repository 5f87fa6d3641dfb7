// SPDX-License-Identifier: Apache-2.0
//! The bounds of one cell: defaults, units, what happens when one is reached, and what it does not
//! cover.
//!
//! A cell that reaches one of its bounds ends, and its script cannot catch that: the response
//! carries the output so far and an error text that names the bound and its value.
//! The session and all other cells go on.

use std::time::Duration;

use code_mode_api::CellLimits;

/// V8 heap of one cell, bytes. Reached when V8 still holds this much after a full collection.
///
/// V8 may pass it for a moment: the script is told to stop and gets room to unwind (see
/// [`HEAP_UNWIND_BYTES`]). Not covered: ArrayBuffers ([`DEFAULT_EXTERNAL_BYTES`]) and the about
/// 1 MiB that V8 needs for itself.
pub const DEFAULT_HEAP_BYTES: u64 = 64 << 20;

/// ArrayBuffers and other memory outside the V8 heap of one cell, bytes.
///
/// Each ArrayBuffer is counted when it is made, so a script cannot pass the bound with them.
/// Resizable buffers and external strings are counted when V8 collects garbage, so a script can pass
/// it with those for a moment. Not covered: the code that the regular-expression engine makes.
pub const DEFAULT_EXTERNAL_BYTES: u64 = 64 << 20;

/// Time that the script of one cell computes. Measured as CPU time of the cell's thread, so it
/// stands still while the cell waits for tools, timers or a processor; only the first
/// [`DEFAULT_ANSWER_SPIN`] of a wait may count. Not covered: garbage collection on V8's helper threads.
pub const DEFAULT_CPU_TIME: Duration = Duration::from_secs(30);

/// Time from the start of a cell to its end, waiting included.
pub const DEFAULT_WALL_TIME: Duration = Duration::from_secs(60 * 60);

/// Text and image items of one cell, all together, bytes of UTF-8.
pub const DEFAULT_OUTPUT_BYTES: u64 = 16 << 20;

/// Output of one cell, items.
pub const DEFAULT_OUTPUT_ITEMS: u64 = 10_000;

/// Tool calls of one cell that are open at one time.
pub const DEFAULT_OPEN_TOOL_CALLS: u64 = 256;

/// Tool calls over the life of one cell.
pub const DEFAULT_TOTAL_TOOL_CALLS: u64 = 10_000;

/// Timers of one cell that are pending at one time.
pub const DEFAULT_TIMERS: u64 = 10_000;

/// One tool input, tool result or notification, bytes of UTF-8. An input or a result that is larger
/// rejects the call's promise; a notification that is larger ends the cell.
pub const DEFAULT_MAX_VALUE_BYTES: usize = 32 << 20;

/// One stored value as JSON, bytes of UTF-8.
pub const DEFAULT_MAX_STORED_VALUE_BYTES: usize = 1 << 20;

/// How far the V8 heap may grow past its bound while a script that reached it unwinds, bytes.
///
/// A single allocation larger than this makes V8 abort the process, since it offers no other way
/// out; see `docs/limits.md`.
pub const HEAP_UNWIND_BYTES: u64 = 512 << 20;

/// The smallest heap bound that is used, bytes: below it V8 cannot even make a context.
pub const MIN_HEAP_BYTES: u64 = 4 << 20;

/// Large pages (long strings, large arrays) that cells which have ended leave to later ones, MiB per
/// process. V8 gives those back that nobody has taken for 8 to 16 seconds; what is over the bound,
/// at once.
pub const LEFT_LARGE_PAGES_MIB: usize = 8;

/// Source that a script gives to `eval` or `new Function`, UTF-16 units. A longer one throws an EvalError,
/// which the script can catch. V8 cannot be interrupted while it compiles.
pub const MAX_EVALUATED_SOURCE_BYTES: usize = 1 << 20;

/// Levels of nesting of a value that crosses from a script into JSON. Deeper ones throw a
/// RangeError, which the script can catch: many JSON readers refuse more than 128.
pub const MAX_JSON_DEPTH: usize = 100;

/// Rejected promises without a handler that a cell keeps track of. Later ones are not reported.
pub const MAX_TRACKED_REJECTIONS: usize = 1_000;

/// Decoders of text of one script that are within their input, with `{stream: true}`. One more throws a
/// RangeError, which the script can catch.
pub const MAX_OPEN_DECODERS: usize = 1_000;

/// Stack that V8 may use, bytes. Deeper recursion throws a RangeError, which the script can catch.
pub const V8_STACK_BYTES: usize = 1 << 20;

/// Stack of a cell's thread, bytes: V8's share and ample room for native code that V8 calls.
pub const THREAD_STACK_BYTES: usize = 4 << 20;

/// Bytes of one error text; the middle of a longer one is left out.
pub const MAX_ERROR_TEXT_BYTES: usize = 64 << 10;

/// The bounds of one cell, every one decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveLimits {
    /// See [`DEFAULT_HEAP_BYTES`].
    pub heap_bytes: u64,
    /// See [`DEFAULT_EXTERNAL_BYTES`].
    pub external_bytes: u64,
    /// See [`DEFAULT_CPU_TIME`].
    pub cpu_time: Duration,
    /// See [`DEFAULT_WALL_TIME`].
    pub wall_time: Duration,
    /// See [`DEFAULT_OUTPUT_BYTES`].
    pub output_bytes: u64,
    /// See [`DEFAULT_OUTPUT_ITEMS`].
    pub output_items: u64,
    /// See [`DEFAULT_OPEN_TOOL_CALLS`].
    pub open_tool_calls: u64,
    /// See [`DEFAULT_TOTAL_TOOL_CALLS`].
    pub total_tool_calls: u64,
    /// See [`DEFAULT_TIMERS`].
    pub timers: u64,
    /// See [`DEFAULT_MAX_VALUE_BYTES`].
    pub value_bytes: u64,
    /// See [`DEFAULT_MAX_STORED_VALUE_BYTES`].
    pub stored_value_bytes: u64,
}

impl EffectiveLimits {
    /// The operator's bounds, with the defaults where the operator says nothing. Those of one value and
    /// of one stored value no request can change.
    pub fn of_operator(
        operator: &CellLimits,
        value_bytes: usize,
        stored_value_bytes: usize,
    ) -> Self {
        Self {
            heap_bytes: operator
                .heap_bytes
                .unwrap_or(DEFAULT_HEAP_BYTES)
                .max(MIN_HEAP_BYTES),
            external_bytes: operator.external_bytes.unwrap_or(DEFAULT_EXTERNAL_BYTES),
            cpu_time: operator.cpu_time.unwrap_or(DEFAULT_CPU_TIME),
            wall_time: operator.wall_time.unwrap_or(DEFAULT_WALL_TIME),
            output_bytes: operator.output_bytes.unwrap_or(DEFAULT_OUTPUT_BYTES),
            output_items: operator.output_items.unwrap_or(DEFAULT_OUTPUT_ITEMS),
            open_tool_calls: operator.open_tool_calls.unwrap_or(DEFAULT_OPEN_TOOL_CALLS),
            total_tool_calls: operator
                .total_tool_calls
                .unwrap_or(DEFAULT_TOTAL_TOOL_CALLS),
            timers: operator.timers.unwrap_or(DEFAULT_TIMERS),
            value_bytes: value_bytes as u64,
            stored_value_bytes: stored_value_bytes as u64,
        }
    }

    /// These bounds, lowered where the request asks for less and never raised.
    pub fn lowered_by(&self, request: &CellLimits) -> Self {
        fn lower<T: Ord + Copy>(operator: T, request: Option<T>) -> T {
            request.map_or(operator, |value| value.min(operator))
        }
        Self {
            heap_bytes: lower(self.heap_bytes, request.heap_bytes).max(MIN_HEAP_BYTES),
            external_bytes: lower(self.external_bytes, request.external_bytes),
            cpu_time: lower(self.cpu_time, request.cpu_time),
            wall_time: lower(self.wall_time, request.wall_time),
            output_bytes: lower(self.output_bytes, request.output_bytes),
            output_items: lower(self.output_items, request.output_items),
            open_tool_calls: lower(self.open_tool_calls, request.open_tool_calls),
            total_tool_calls: lower(self.total_tool_calls, request.total_tool_calls),
            timers: lower(self.timers, request.timers),
            value_bytes: self.value_bytes,
            stored_value_bytes: self.stored_value_bytes,
        }
    }
}
