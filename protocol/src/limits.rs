//! Numbers that a request for a cell may carry.

use serde::Serialize;

use crate::InvalidValue;
use crate::number::Ranged;
use crate::object::{ShapeError, required, wire_object};

/// How many tokens of output a client means to keep: 0 to [`MaxOutputTokens::MAX`] (wire contract,
/// section *Client to host*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MaxOutputTokens(u32);

impl MaxOutputTokens {
    /// The largest value, in tokens.
    pub const MAX: u32 = 2_147_483_647;

    /// Takes a number of tokens.
    ///
    /// # Errors
    /// When it is more than [`MaxOutputTokens::MAX`].
    pub fn new(tokens: u64) -> Result<Self, InvalidValue> {
        match u32::try_from(tokens) {
            Ok(tokens) if tokens <= Self::MAX => Ok(Self(tokens)),
            _ => Err(InvalidValue::TooManyOutputTokens(tokens)),
        }
    }

    /// The number of tokens.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Bounds of one cell, each left out where the operator's own is to hold.
///
/// Part of the extension [`Extension::Limits`](crate::Extension::Limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Limits {
    /// V8 heap, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_bytes: Option<u64>,
    /// Memory outside the V8 heap, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_bytes: Option<u64>,
    /// Time that the script itself computes, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_time_ms: Option<u64>,
    /// Time from start to end, waiting included, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_time_ms: Option<u64>,
    /// Output, all items together, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Output, in items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_items: Option<u64>,
    /// Tool calls open at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_tool_calls: Option<u64>,
    /// Tool calls over the life of the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tool_calls: Option<u64>,
    /// Timers pending at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timers: Option<u64>,
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
    pub(crate) fn into_limits(self) -> Result<Limits, String> {
        Ok(Limits {
            heap_bytes: in_range(self.heap_bytes, "heap_bytes")?,
            external_bytes: in_range(self.external_bytes, "external_bytes")?,
            cpu_time_ms: in_range(self.cpu_time_ms, "cpu_time_ms")?,
            wall_time_ms: in_range(self.wall_time_ms, "wall_time_ms")?,
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
