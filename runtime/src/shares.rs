// SPDX-License-Identifier: Apache-2.0
//! What the sessions of a runtime share, and what one of them has of it.

use std::sync::Arc;

use code_mode_api::waist::{Budget, Full, Pool};
use code_mode_api::{LimitName, SessionError};

use crate::config::RuntimeConfig;
use crate::slots::Slot;

/// What all sessions share.
pub(crate) struct Pools {
    /// Slots of cells.
    pub(crate) cells: Arc<Pool>,
    /// Bytes of events that no client has taken.
    pub(crate) events: Arc<Pool>,
    /// Bytes of tools' answers that no cell has had.
    pub(crate) answers: Arc<Pool>,
    /// Bytes of output that nobody has read.
    pub(crate) unread: Arc<Pool>,
}

/// What one session has.
pub(crate) struct Shares {
    /// Slots of its cells.
    pub(crate) cells: Arc<Budget>,
    /// Results that wait for an observer, and cells that may leave one.
    pub(crate) results: Arc<Budget>,
    /// Bytes of tools' answers that its cells have not had.
    pub(crate) answers: Arc<Budget>,
    /// Bytes of output that nobody has read.
    pub(crate) unread: Arc<Budget>,
}

impl Pools {
    pub(crate) fn new(config: &RuntimeConfig) -> Self {
        Self {
            cells: Pool::new(config.max_active_cells),
            events: Pool::new(config.max_event_bytes),
            answers: Pool::new(config.max_answer_bytes),
            unread: Pool::new(config.max_unread_bytes),
        }
    }
}

impl Shares {
    /// The shares of one session more.
    pub(crate) fn new(pools: &Pools, config: &RuntimeConfig) -> Self {
        Self {
            cells: Budget::within(&pools.cells, config.max_active_cells),
            results: Budget::new(config.max_stored_results),
            answers: Budget::within(&pools.answers, config.max_session_answer_bytes),
            unread: Budget::within(&pools.unread, config.max_session_unread_bytes),
        }
    }

    /// Takes the slot of a cell, which is free again when the value is dropped.
    pub(crate) fn slot(&self) -> Result<Slot, SessionError> {
        self.cells
            .try_hold(1)
            .map(Slot::new)
            .map_err(|full: Full| SessionError::Limit {
                limit: LimitName::ActiveCells,
                maximum: full.maximum() as u64,
                detail: "wait for a running cell to end or terminate one".to_owned(),
            })
    }
}
