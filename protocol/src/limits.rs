//! Numbers that a request for a cell may carry.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use crate::InvalidValue;
use crate::object::{ShapeError, wire_object};

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

impl<'de> Deserialize<'de> for MaxOutputTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Bounds of one cell, each left out where the operator's own is to hold.
///
/// Part of the extension [`Extension::Limits`](crate::Extension::Limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "LimitsFields")]
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
        heap_bytes: u64 = "heap_bytes",
        external_bytes: u64 = "external_bytes",
        cpu_time_ms: u64 = "cpu_time_ms",
        wall_time_ms: u64 = "wall_time_ms",
        output_bytes: u64 = "output_bytes",
        output_items: u64 = "output_items",
        open_tool_calls: u64 = "open_tool_calls",
        total_tool_calls: u64 = "total_tool_calls",
        timers: u64 = "timers",
    }
}

impl TryFrom<LimitsFields> for Limits {
    type Error = ShapeError;

    fn try_from(fields: LimitsFields) -> Result<Self, ShapeError> {
        let LimitsFields {
            heap_bytes,
            external_bytes,
            cpu_time_ms,
            wall_time_ms,
            output_bytes,
            output_items,
            open_tool_calls,
            total_tool_calls,
            timers,
        } = fields;
        Ok(Self {
            heap_bytes,
            external_bytes,
            cpu_time_ms,
            wall_time_ms,
            output_bytes,
            output_items,
            open_tool_calls,
            total_tool_calls,
            timers,
        })
    }
}
