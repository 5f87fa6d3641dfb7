// SPDX-License-Identifier: Apache-2.0
//! What an `Execute` of the contract carries in its metadata: the bounds of its cell, and what its script finds.

use std::time::Duration;

use code_mode_api::{CellLimits, ExecuteRequest, Globals};
use code_mode_grpc::extensions as v1;
use code_mode_grpc::prost::Message;
use code_mode_grpc::tonic::{Request, Status};
use code_mode_grpc::{CELL_CHOICES_METADATA, CELL_LIMITS_METADATA};

/// What stands in the metadata of an execute.
pub(crate) struct Carried {
    limits: CellLimits,
    globals: Option<Globals>,
    exact_integers: Option<bool>,
}

impl Carried {
    /// What an `Execute` carries; nothing of it must be there.
    pub(crate) fn by<T>(request: &Request<T>) -> Result<Self, Status> {
        let limits: v1::CellLimits = message(request, CELL_LIMITS_METADATA)?;
        let choices: v1::CellChoices = message(request, CELL_CHOICES_METADATA)?;
        let globals = match v1::Globals::try_from(choices.globals) {
            Ok(v1::Globals::Unspecified) => None,
            Ok(v1::Globals::Contract) => Some(Globals::Contract),
            Ok(v1::Globals::Web) => Some(Globals::Web),
            Err(_) => return Err(invalid(CELL_CHOICES_METADATA)),
        };
        Ok(Self {
            limits: CellLimits {
                heap_bytes: limits.heap_bytes,
                external_bytes: limits.external_bytes,
                cpu_time: limits.cpu_time_ms.map(Duration::from_millis),
                wall_time: limits.wall_time_ms.map(Duration::from_millis),
                output_bytes: limits.output_bytes,
                output_items: limits.output_items,
                open_tool_calls: limits.open_tool_calls,
                total_tool_calls: limits.total_tool_calls,
                timers: limits.timers,
            },
            globals,
            exact_integers: choices.exact_integers,
        })
    }

    /// Puts it into the execute.
    pub(crate) fn put(self, asked: &mut ExecuteRequest) {
        asked.limits = self.limits;
        asked.globals = self.globals;
        asked.exact_integers = self.exact_integers;
    }
}

/// A message of the metadata; one without anything in it where there is none.
fn message<T, M: Message + Default>(request: &Request<T>, name: &str) -> Result<M, Status> {
    let Some(value) = request.metadata().get_bin(name) else {
        return Ok(M::default());
    };
    let bytes = value.to_bytes().map_err(|_| invalid(name))?;
    M::decode(bytes).map_err(|_| invalid(name))
}

fn invalid(name: &str) -> Status {
    Status::invalid_argument(format!("invalid metadata {name}"))
}
