// SPDX-License-Identifier: Apache-2.0
//! The bounds of a cell.

use std::fmt;
use std::time::Duration;

/// Bounds of one cell. `None` leaves the operator's bound in force.
///
/// A request may only lower a bound: a value above the operator's has no effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellLimits {
    /// V8 heap, in bytes.
    pub heap_bytes: Option<u64>,
    /// ArrayBuffers and other memory outside the V8 heap, in bytes.
    pub external_bytes: Option<u64>,
    /// Time that the script itself computes; it does not pass while the cell only waits.
    pub cpu_time: Option<Duration>,
    /// Time from start to end, waiting included.
    pub wall_time: Option<Duration>,
    /// Output of the cell, all items together, in bytes.
    pub output_bytes: Option<u64>,
    /// Output of the cell, in items.
    pub output_items: Option<u64>,
    /// Tool calls open at one time.
    pub open_tool_calls: Option<u64>,
    /// Tool calls over the life of the cell.
    pub total_tool_calls: Option<u64>,
    /// Timers pending at one time.
    pub timers: Option<u64>,
}

/// Names a bound, in errors and in documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitName {
    /// V8 heap per cell, bytes.
    HeapBytes,
    /// External memory per cell, bytes.
    ExternalBytes,
    /// Script CPU time per cell, milliseconds.
    CpuTimeMs,
    /// Wall time per cell, milliseconds.
    WallTimeMs,
    /// Source of one cell, bytes.
    SourceBytes,
    /// Output of one cell, bytes.
    OutputBytes,
    /// Output of one cell, items.
    OutputItems,
    /// One stored value, bytes.
    StoredValueBytes,
    /// All stored values of a session, bytes.
    StoreBytes,
    /// Keys in a session's store.
    StoreKeys,
    /// Tool calls open at one time per cell.
    OpenToolCalls,
    /// Tool calls over the life of a cell.
    TotalToolCalls,
    /// Notifications not yet delivered per cell.
    OpenNotifications,
    /// Timers pending at one time per cell.
    Timers,
    /// Bytes of one value that crosses between script and tools.
    ValueBytes,
    /// Tools offered to one cell.
    Tools,
    /// Bytes of all tool definitions of one cell.
    ToolBytes,
    /// Cells running at one time.
    ActiveCells,
    /// Results that wait for an observer.
    StoredResults,
    /// Sessions open at one time.
    Sessions,
    /// Requests in flight on one connection.
    RequestsInFlight,
    /// Cells over the life of a session.
    CellIds,
    /// Tools' answers that a session's cells have not had, bytes.
    AnswerBytes,
    /// Output of a session's cells that nobody has read, bytes.
    UnreadBytes,
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeapBytes => "heap bytes",
            Self::ExternalBytes => "external memory bytes",
            Self::CpuTimeMs => "CPU time in ms",
            Self::WallTimeMs => "wall time in ms",
            Self::SourceBytes => "source bytes",
            Self::OutputBytes => "output bytes",
            Self::OutputItems => "output items",
            Self::StoredValueBytes => "bytes of one stored value",
            Self::StoreBytes => "bytes of all stored values",
            Self::StoreKeys => "stored keys",
            Self::OpenToolCalls => "open tool calls",
            Self::TotalToolCalls => "total tool calls",
            Self::OpenNotifications => "undelivered notifications",
            Self::Timers => "pending timers",
            Self::ValueBytes => "bytes of one value",
            Self::Tools => "tools",
            Self::ToolBytes => "bytes of tool definitions",
            Self::ActiveCells => "active cells",
            Self::StoredResults => "results that nobody has read",
            Self::Sessions => "sessions",
            Self::RequestsInFlight => "requests in flight",
            Self::CellIds => "cells of one session",
            Self::AnswerBytes => "bytes of tools' answers on their way to scripts",
            Self::UnreadBytes => "bytes of output that nobody has read",
        })
    }
}
