// SPDX-License-Identifier: Apache-2.0
//! Where cells run: on threads of this process, or in processes of their own.

use std::sync::Arc;

use code_mode_engine::limits::EffectiveLimits;
use code_mode_fork::{CellMemory, Lifespan, Nursery, NurseryConfig};
use tokio::runtime::Handle;

use crate::config::{Cells, RuntimeConfig};
use crate::forks::Forks;
use crate::job::Job;
use crate::reach::Mailbox;
use crate::start_error::RuntimeStartError;
use crate::threads::inbox::Inbox;
use crate::threads::keeper;
use crate::threads::pool::Pool;

/// What runs the cells of one runtime.
pub(crate) enum Backend {
    Threads {
        pool: Pool,
        answer_spin: std::time::Duration,
    },
    Forks(Arc<Forks>),
}

impl Backend {
    pub(crate) fn start(
        config: &RuntimeConfig,
        operator: &EffectiveLimits,
        handle: &Handle,
    ) -> Result<Self, RuntimeStartError> {
        match &config.cells {
            Cells::Threads => {
                keeper::start().map_err(|source| RuntimeStartError::Thread {
                    name: keeper::KEEPER_NAME,
                    source,
                })?;
                Ok(Self::Threads {
                    pool: Pool::new(config.ready_isolates, operator.heap_bytes),
                    answer_spin: config.answer_spin,
                })
            }
            Cells::Forks(forked) => {
                let memory = CellMemory::for_limits(operator.heap_bytes, operator.external_bytes);
                let nursery = NurseryConfig {
                    heap_bytes: operator.heap_bytes,
                    data_bytes: memory.bytes,
                    ready: config.ready_isolates,
                    confinement: forked.confinement,
                    jit: forked.jit,
                    lifespan: Lifespan::default(),
                };
                let nursery = Nursery::new(Arc::clone(&forked.starter), nursery, handle);
                Ok(Self::Forks(Forks::new(nursery, handle.clone())))
            }
        }
    }

    /// The births of a runtime whose cells are threads.
    ///
    /// # Panics
    /// When they are not.
    #[cfg(test)]
    pub(crate) fn births(&self) -> Arc<crate::threads::births::Births> {
        match self {
            Self::Threads { pool, .. } => Arc::clone(pool.births()),
            Self::Forks(_) => panic!("these cells are not born as threads"),
        }
    }

    /// The mailbox of a cell that will run here.
    pub(crate) fn mailbox(&self) -> Mailbox {
        match self {
            Self::Threads { answer_spin, .. } => Mailbox::Thread(Inbox::new(*answer_spin)),
            Self::Forks(_) => Mailbox::of_process(),
        }
    }

    /// Runs a job.
    pub(crate) fn run(&self, job: Job) {
        match self {
            Self::Threads { pool, .. } => pool.run(job),
            Self::Forks(forks) => forks.run(job),
        }
    }

    /// Makes ready what should be ready.
    pub(crate) fn refill(&self) {
        match self {
            Self::Threads { pool, .. } => pool.refill(),
            Self::Forks(forks) => forks.refill(),
        }
    }
}
