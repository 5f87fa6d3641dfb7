// SPDX-License-Identifier: Apache-2.0
//! Numbers that a request for a cell may carry.

use std::time::Duration;

use code_mode_api::CellLimits;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::number::Ranged;
use crate::object::{ShapeError, required, wire_object};
use crate::wire::Wire;

/// Whole milliseconds, rounded up so that a short time does not become none.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Part of the extension [`Extension::Limits`](crate::Extension::Limits). Each bound is left out
/// where the operator's own is to hold.
impl Serialize for Wire<&CellLimits> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let limits = self.0;
        let bounds = [
            ("heap_bytes", limits.heap_bytes),
            ("external_bytes", limits.external_bytes),
            ("cpu_time_ms", limits.cpu_time.map(milliseconds)),
            ("wall_time_ms", limits.wall_time.map(milliseconds)),
            ("output_bytes", limits.output_bytes),
            ("output_items", limits.output_items),
            ("open_tool_calls", limits.open_tool_calls),
            ("total_tool_calls", limits.total_tool_calls),
            ("timers", limits.timers),
        ];
        // JSON objects need no length in advance, so the count is only nominal.
        let mut object = serializer.serialize_struct("CellLimits", bounds.len())?;
        for (name, bound) in bounds {
            if let Some(bound) = bound {
                object.serialize_field(name, &bound)?;
            }
        }
        object.end()
    }
}

wire_object! {
    LimitsFields ("the limits of a cell") {
        heap_bytes: Ranged<u64> = "heap_bytes",
        external_bytes: Ranged<u64> = "external_bytes",
        cpu_time_ms: Ranged<u64> = "cpu_time_ms",
        wall_time_ms: Ranged<u64> = "wall_time_ms",
        output_bytes: Ranged<u64> = "output_bytes",
        output_items: Ranged<u64> = "output_items",
        open_tool_calls: Ranged<u64> = "open_tool_calls",
        total_tool_calls: Ranged<u64> = "total_tool_calls",
        timers: Ranged<u64> = "timers",
    }
}

impl LimitsFields {
    /// The limits, or which of them is outside its range.
    pub(crate) fn into_limits(self) -> Result<CellLimits, String> {
        Ok(CellLimits {
            heap_bytes: in_range(self.heap_bytes, "heap_bytes")?,
            external_bytes: in_range(self.external_bytes, "external_bytes")?,
            cpu_time: in_range(self.cpu_time_ms, "cpu_time_ms")?.map(Duration::from_millis),
            wall_time: in_range(self.wall_time_ms, "wall_time_ms")?.map(Duration::from_millis),
            output_bytes: in_range(self.output_bytes, "output_bytes")?,
            output_items: in_range(self.output_items, "output_items")?,
            open_tool_calls: in_range(self.open_tool_calls, "open_tool_calls")?,
            total_tool_calls: in_range(self.total_tool_calls, "total_tool_calls")?,
            timers: in_range(self.timers, "timers")?,
        })
    }
}

/// Bounds of every cell of a session.
///
/// Part of the extension [`Extension::CellExecutionLimits`](crate::Extension::CellExecutionLimits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CellExecutionLimits {
    /// The longest yield time of any request, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_yield_time_ms: Option<u64>,
    /// V8 heap of a cell, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_heap_size_bytes: Option<u64>,
}

wire_object! {
    CellExecutionLimitsFields ("the execution limits of a session's cells") {
        max_yield_time_ms: Option<Ranged<u64>> = "maxYieldTimeMs",
        max_heap_size_bytes: Option<Ranged<u64>> = "maxHeapSizeBytes",
    }
}

impl CellExecutionLimitsFields {
    /// The limits, or which of them is outside its range.
    pub(crate) fn into_limits(self) -> Result<CellExecutionLimits, String> {
        Ok(CellExecutionLimits {
            max_yield_time_ms: in_range(self.max_yield_time_ms.flatten(), "maxYieldTimeMs")?,
            max_heap_size_bytes: in_range(self.max_heap_size_bytes.flatten(), "maxHeapSizeBytes")?,
        })
    }
}

/// A part of the text that was cut out of a cell's responses.
///
/// Part of the extension [`Extension::Output`](crate::Extension::Output).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputRange {
    /// Where the part begins, in bytes of UTF-8.
    pub offset: u64,
    /// The most that is given, in bytes of UTF-8.
    pub max_bytes: u64,
}

wire_object! {
    OutputRangeFields ("a range of output") {
        offset: Ranged<u64> = "offset",
        max_bytes: Ranged<u64> = "maxBytes",
    }
}

impl OutputRangeFields {
    /// The range, or which of its numbers is outside its own.
    pub(crate) fn into_range(self) -> Result<Result<OutputRange, String>, ShapeError> {
        let owner = "a range of output";
        let offset = required(self.offset, "offset", owner)?;
        let max_bytes = required(self.max_bytes, "maxBytes", owner)?;
        let range = || {
            Ok(OutputRange {
                offset: offset.0.map_err(|outside| outside.of_field("offset"))?,
                max_bytes: max_bytes
                    .0
                    .map_err(|outside| outside.of_field("maxBytes"))?,
            })
        };
        Ok(range())
    }
}

/// The value of a field that may be left out, or the sentence about a number outside its range.
pub(crate) fn in_range<T>(field: Option<Ranged<T>>, name: &str) -> Result<Option<T>, String> {
    field
        .map(|number| number.0.map_err(|outside| outside.of_field(name)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_become_whole_milliseconds_and_never_none() {
        let cases = [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)];
        for (nanoseconds, expected) in cases {
            assert_eq!(milliseconds(Duration::from_nanos(nanoseconds)), expected);
        }
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
