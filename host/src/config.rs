// SPDX-License-Identifier: Apache-2.0
//! What the operator decides about a host.

use std::time::Duration;

use code_mode_frames::{Config, ConnectionLimits, Drain, FailureHook, V1Timings};
use code_mode_runtime::RuntimeConfig;

use crate::version::version;

/// From the first failure to the end of the process, whatever hangs (issue: at most 2 seconds).
pub const EXIT_DEADLINE: Duration = Duration::from_secs(2);

/// What the operator decides about a host.
#[derive(Clone, Default)]
pub struct HostConfig {
    /// Bounds of a connection of V1.
    pub limits: ConnectionLimits,
    /// Bounds of the runtime behind it.
    pub runtime: RuntimeConfig,
    /// Which timings the responses of V1 carry where the client's hello leaves that open.
    pub timings: V1Timings,
    /// Told of the first failure. The process uses it to end itself within [`EXIT_DEADLINE`] even
    /// if the rest of the connection hangs.
    pub on_failure: Option<FailureHook>,
    /// Says when the host is to end in order; without it, it ends with its client only.
    pub drain: Option<Drain>,
}

impl HostConfig {
    /// The part that is about a connection of V1.
    pub(crate) fn of_connection(&self) -> Config {
        Config {
            limits: self.limits.clone(),
            timings: self.timings,
            default_yield_time: self.runtime.default_yield_time,
            version: version(),
            on_failure: self.on_failure.clone(),
            drain: self.drain.clone(),
        }
    }
}
