// SPDX-License-Identifier: Apache-2.0
//! The bounds of a cell, which an `Execute` of the contract carries in its metadata.

use std::time::Duration;

use code_mode_api::CellLimits;
use code_mode_grpc::CELL_LIMITS_METADATA;
use code_mode_grpc::extensions as v1;
use code_mode_grpc::prost::Message;
use code_mode_grpc::tonic::{Request, Status};

/// The bounds that an `Execute` asks for its cell; none where it carries none.
pub(crate) fn cell_limits<T>(request: &Request<T>) -> Result<CellLimits, Status> {
    let Some(value) = request.metadata().get_bin(CELL_LIMITS_METADATA) else {
        return Ok(CellLimits::default());
    };
    let invalid = || Status::invalid_argument(format!("invalid metadata {CELL_LIMITS_METADATA}"));
    let bytes = value.to_bytes().map_err(|_| invalid())?;
    let limits = v1::CellLimits::decode(bytes).map_err(|_| invalid())?;
    Ok(CellLimits {
        heap_bytes: limits.heap_bytes,
        external_bytes: limits.external_bytes,
        cpu_time: limits.cpu_time_ms.map(Duration::from_millis),
        wall_time: limits.wall_time_ms.map(Duration::from_millis),
        output_bytes: limits.output_bytes,
        output_items: limits.output_items,
        open_tool_calls: limits.open_tool_calls,
        total_tool_calls: limits.total_tool_calls,
        timers: limits.timers,
    })
}
