// SPDX-License-Identifier: Apache-2.0
//! The sessions of a host, over all its gRPC connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_grpc::tonic::Status;

use crate::gate::Gate;
use crate::metrics::Metrics;
use crate::peer::Owner;
use crate::session::{DoorSession, Home};
use crate::status;

/// The sessions that are open or on their way out. Their number is bounded by whoever runs the cells.
pub(crate) struct Registry {
    pub(crate) metrics: Arc<Metrics>,
    sessions: Mutex<HashMap<String, Arc<DoorSession>>>,
    /// Which executes are taken, and how many are not over.
    pub(crate) gate: Gate,
}

impl Registry {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            sessions: Mutex::default(),
            gate: Gate::new(),
        })
    }

    pub(crate) fn insert(&self, session: Arc<DoorSession>) {
        self.metrics.sessions.up();
        self.lock().insert(session.id.clone(), session);
    }

    /// A session that is open, for its owner. To everybody else there is no such session.
    pub(crate) fn find(&self, id: &str, owner: &Owner) -> Result<Arc<DoorSession>, Status> {
        let session = self.lock().get(id).cloned();
        session
            .filter(|session| session.owner == *owner && !session.is_closing())
            .ok_or_else(|| status::unknown_session(id))
    }

    pub(crate) fn all(&self) -> Vec<Arc<DoorSession>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<DoorSession>>> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Home for Registry {
    fn forget(&self, id: &str) {
        let session = self.lock().remove(id);
        if session.is_some() {
            self.metrics.sessions.down();
        }
        // Dropping the last reference calls whoever runs the cells, who must not meet the lock.
        drop(session);
    }
}
