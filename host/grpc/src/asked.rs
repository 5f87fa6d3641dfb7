// SPDX-License-Identifier: Apache-2.0
//! What an `Execute` of the contract asks for in its metadata: the bounds of its cell, its globals, and how
//! integers are read.

use std::time::Duration;

use code_mode_api::{CellLimits, ExecuteRequest, Globals};
use code_mode_grpc::extensions as v1;
use code_mode_grpc::prost::Message;
use code_mode_grpc::tonic::{Request, Status};
use code_mode_grpc::{CELL_LIMITS_METADATA, EXACT_INTEGERS_METADATA, GLOBALS_METADATA};

/// What an `Execute` asks for beside the contract.
pub(crate) struct Extras {
    limits: CellLimits,
    globals: Option<Globals>,
    exact_integers: Option<bool>,
}

impl Extras {
    /// Reads the metadata of a request; what it does not carry is left to the host.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        Ok(Self {
            limits: limits(request)?,
            globals: word(
                request,
                GLOBALS_METADATA,
                [("contract", Globals::Contract), ("web", Globals::Web)],
            )?,
            exact_integers: word(
                request,
                EXACT_INTEGERS_METADATA,
                [("true", true), ("false", false)],
            )?,
        })
    }

    /// Asks for it.
    pub(crate) fn apply(self, asked: &mut ExecuteRequest) {
        asked.limits = self.limits;
        asked.globals = self.globals;
        asked.exact_integers = self.exact_integers;
    }
}

fn invalid(name: &str) -> Status {
    Status::invalid_argument(format!("invalid metadata {name}"))
}

/// One of two words, if there is one.
fn word<T, V>(
    request: &Request<T>,
    name: &'static str,
    words: [(&str, V); 2],
) -> Result<Option<V>, Status> {
    let Some(said) = request.metadata().get(name) else {
        return Ok(None);
    };
    let said = said.to_str().map_err(|_| invalid(name))?;
    let meant = words.into_iter().find(|(word, _)| *word == said);
    match meant {
        Some((_, value)) => Ok(Some(value)),
        None => Err(invalid(name)),
    }
}

/// The bounds that an `Execute` asks for its cell; none where it carries none.
fn limits<T>(request: &Request<T>) -> Result<CellLimits, Status> {
    let Some(value) = request.metadata().get_bin(CELL_LIMITS_METADATA) else {
        return Ok(CellLimits::default());
    };
    let invalid = || invalid(CELL_LIMITS_METADATA);
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
