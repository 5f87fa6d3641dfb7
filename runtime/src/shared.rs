// SPDX-License-Identifier: Apache-2.0
//! What all cells of a runtime share: its configuration, its bounds, whom it tells.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use code_mode_api::{LimitName, SessionError};
use code_mode_engine::limits::EffectiveLimits;
use tokio::runtime::Handle;

use crate::config::RuntimeConfig;
use crate::figures::{Counters, Figures};
use crate::limits;
use crate::shares::Pools;
use crate::supervisor::{RuntimeFailure, Supervisor};

/// What cells and whoever runs them know of their runtime.
pub(crate) struct Shared {
    pub(crate) config: RuntimeConfig,
    pub(crate) operator_limits: EffectiveLimits,
    pub(crate) tokio: Handle,
    pub(crate) counters: Counters,
    /// What the sessions share.
    pub(crate) pools: Pools,
    supervisor: Option<Arc<dyn Supervisor>>,
    /// Cells admitted whose V8 thread has not ended.
    threads: AtomicUsize,
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
            config,
            tokio,
            counters: Counters::default(),
            supervisor,
            threads: AtomicUsize::new(0),
            processors: std::thread::available_parallelism().map_or(1, NonZero::get),
        })
    }

    /// Takes the place of a cell's thread or process.
    ///
    /// Those of ended cells that are still disposed of count too, apart from the slots of cells, so that a
    /// result is not held back by the disposal, and so that their number is bounded.
    pub(crate) fn take_thread(&self) -> Result<(), SessionError> {
        let maximum = self.config.max_active_cells;
        let most = limits::max_cell_threads(maximum);
        let taken = self
            .threads
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < most).then_some(now + 1)
            });
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum: maximum as u64,
                detail: "ended cells are still being disposed of; try again".to_owned(),
            }),
        }
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

    /// Says that the V8 thread or the process of a cell is gone.
    pub(crate) fn thread_ended(&self) {
        self.threads.fetch_sub(1, Ordering::AcqRel);
    }

    /// Tells the supervisor, or the log when there is none.
    pub(crate) fn fail(&self, failure: RuntimeFailure) {
        tracing::error!(%failure, "the runtime failed");
        if let Some(supervisor) = &self.supervisor {
            supervisor.failed(failure);
        }
    }
}
