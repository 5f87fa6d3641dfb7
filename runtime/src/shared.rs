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
use crate::supervisor::{RuntimeFailure, Supervisor};

/// What cells and whoever runs them know of their runtime.
pub(crate) struct Shared {
    pub(crate) config: RuntimeConfig,
    pub(crate) operator_limits: EffectiveLimits,
    pub(crate) tokio: Handle,
    pub(crate) counters: Counters,
    supervisor: Option<Arc<dyn Supervisor>>,
    /// Cells admitted and not ended.
    active: AtomicUsize,
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
            config,
            tokio,
            counters: Counters::default(),
            supervisor,
            active: AtomicUsize::new(0),
            threads: AtomicUsize::new(0),
            processors: std::thread::available_parallelism().map_or(1, NonZero::get),
        })
    }

    /// Takes a slot for a cell.
    ///
    /// Threads of ended cells that still dispose of their isolate are counted apart, so that a
    /// result is not held back by the disposal, and so that their number is bounded too.
    pub(crate) fn take_slot(&self) -> Result<(), SessionError> {
        let maximum = self.config.max_active_cells;
        let take = |counter: &AtomicUsize, maximum: usize| {
            counter
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                    (now < maximum).then_some(now + 1)
                })
                .is_ok()
        };
        let refuse = |detail: &str| SessionError::Limit {
            limit: LimitName::ActiveCells,
            maximum: maximum as u64,
            detail: detail.to_owned(),
        };
        if !take(&self.active, maximum) {
            return Err(refuse("wait for a running cell to end or terminate one"));
        }
        if !take(&self.threads, limits::max_cell_threads(maximum)) {
            self.cell_ended();
            return Err(refuse("ended cells are still being disposed of; try again"));
        }
        Ok(())
    }

    /// What has been counted so far.
    pub(crate) fn figures(&self) -> Figures {
        self.counters.figures(self.active.load(Ordering::Acquire))
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
        self.active.load(Ordering::Acquire) < self.processors
    }

    pub(crate) fn cell_ended(&self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
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
