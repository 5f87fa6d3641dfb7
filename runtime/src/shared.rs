// SPDX-License-Identifier: Apache-2.0
//! What all cells of a runtime share: its configuration, its bounds, whom it tells.

use std::num::NonZero;
use std::sync::Arc;

use code_mode_api::SessionError;
use code_mode_engine::limits::EffectiveLimits;
use tokio::runtime::Handle;

use crate::config::RuntimeConfig;
use crate::figures::{Counters, Figures};
use crate::shares::Pools;
use crate::slots::Seats;
use crate::supervisor::{RuntimeFailure, Supervisor};

/// What cells and whoever runs them know of their runtime.
pub(crate) struct Shared {
    pub(crate) config: RuntimeConfig,
    pub(crate) operator_limits: EffectiveLimits,
    pub(crate) tokio: Handle,
    pub(crate) counters: Counters,
    /// What the sessions share.
    pub(crate) pools: Pools,
    /// The places of cells' threads or processes.
    pub(crate) seats: Seats,
    supervisor: Option<Arc<dyn Supervisor>>,
    /// Processors of the machine that this process may use.
    processors: usize,
}

impl Shared {
    pub(crate) fn new(
        config: RuntimeConfig,
        tokio: Handle,
        supervisor: Option<Arc<dyn Supervisor>>,
    ) -> Arc<Self> {
        let operator_limits = EffectiveLimits::of_operator(
            &config.cell_limits,
            config.max_value_bytes,
            config.max_stored_value_bytes,
        );
        Arc::new(Self {
            operator_limits,
            pools: Pools::new(&config),
            seats: Seats::new(config.max_active_cells),
            config,
            tokio,
            counters: Counters::default(),
            supervisor,
            processors: std::thread::available_parallelism().map_or(1, NonZero::get),
        })
    }

    /// What has been counted so far.
    pub(crate) fn figures(&self) -> Figures {
        self.counters.figures(&self.pools)
    }

    /// Counts a refusal, if that is what the error is.
    pub(crate) fn count_refusal<T>(
        &self,
        result: Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        if let Err(SessionError::Limit { limit, .. }) = &result {
            self.counters.refused(*limit);
        }
        result
    }

    /// Whether fewer cells run than there are processors, so that one may be kept busy with waiting.
    pub(crate) fn has_idle_processors(&self) -> bool {
        self.pools.cells.held() < self.processors
    }

    /// Tells the supervisor, or the log when there is none.
    pub(crate) fn fail(&self, failure: RuntimeFailure) {
        tracing::error!(%failure, "the runtime failed");
        if let Some(supervisor) = &self.supervisor {
            supervisor.failed(failure);
        }
    }
}
