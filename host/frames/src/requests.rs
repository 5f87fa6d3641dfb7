// SPDX-License-Identifier: Apache-2.0
//! The client's requests: which are in flight, and which were answered.
//!
//! Taking a request out of this table is the right to answer it, so each is answered once, whoever
//! comes first: its cell, its cancellation or the failure of the connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::waist::{AskId, Budget, Held, Pool};
use code_mode_protocol::RequestId;

use crate::tombstones::Tombstones;

/// Why a request's id cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeginError {
    /// A request of this id is in flight: a violation.
    InFlight,
    /// A request of this id was answered: a violation.
    Answered,
    /// The bound of requests in flight is reached: an error response.
    Full {
        /// The bound.
        maximum: usize,
    },
}

/// A request that is in flight.
#[derive(Clone)]
pub(crate) enum InFlight {
    /// It will be answered with an `operation/response`, and nothing can be undone.
    Operation,
    /// It observes a cell; a cancellation takes it back.
    Wait(Asked),
    /// An execute that is not answered.
    Execute(Asked),
    /// An execute that has been answered with `execution/started` and owes an
    /// `execute/initialResponse`.
    Started(Asked),
}

/// What a session was asked for a request.
#[derive(Clone)]
pub(crate) struct Asked {
    /// The session.
    pub(crate) session: Arc<dyn Observing>,
    /// The ask's name there.
    pub(crate) ask: AskId,
}

/// Whose cells requests observe.
pub(crate) trait Observing: Send + Sync {
    /// Takes a wait back.
    fn withdraw(&self, ask: AskId);

    /// Has an observation answered now.
    fn yield_observation(&self, ask: AskId);
}

struct Entry {
    request: InFlight,
    received: Instant,
    /// What the request counts for in its session.
    _place: Option<Held>,
}

/// The requests of one connection.
pub(crate) struct Requests {
    state: Mutex<RequestTable>,
    max_in_flight: usize,
    /// Executes and waits in flight, as sessions share them.
    places: Arc<Pool>,
}

struct RequestTable {
    in_flight: HashMap<RequestId, Entry>,
    answered: Tombstones<RequestId>,
}

impl Requests {
    /// No requests yet, and these bounds.
    pub(crate) fn new(max_in_flight: usize, remembered: usize) -> Self {
        let state = RequestTable {
            in_flight: HashMap::new(),
            answered: Tombstones::new(remembered),
        };
        Self {
            state: Mutex::new(state),
            max_in_flight,
            places: Pool::new(max_in_flight),
        }
    }

    /// Takes a request in. One that is refused for the bound counts as answered.
    pub(crate) fn begin(&self, id: RequestId) -> Result<(), BeginError> {
        let mut state = self.lock();
        if state.in_flight.contains_key(&id) {
            return Err(BeginError::InFlight);
        }
        if state.answered.contains(&id) {
            return Err(BeginError::Answered);
        }
        if state.in_flight.len() >= self.max_in_flight {
            state.answered.bury(id);
            return Err(BeginError::Full {
                maximum: self.max_in_flight,
            });
        }
        let entry = Entry {
            request: InFlight::Operation,
            received: Instant::now(),
            _place: None,
        };
        state.in_flight.insert(id, entry);
        Ok(())
    }

    /// Has a request that begins something count for its session, of which this is the budget. False when
    /// the session has no place for it; the others are for other sessions.
    pub(crate) fn assign(&self, id: RequestId, places: &Arc<Budget>) -> bool {
        let Ok(place) = places.try_hold(1) else {
            return false;
        };
        let mut state = self.lock();
        if let Some(entry) = state.in_flight.get_mut(&id) {
            entry._place = Some(place);
        }
        true
    }

    /// Requests that may be in flight at one time.
    pub(crate) fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// What a session may have of the requests in flight.
    pub(crate) fn places(&self) -> Arc<Budget> {
        Budget::within(&self.places, self.max_in_flight)
    }

    /// Says more about a request, if it is still in flight.
    pub(crate) fn update(&self, id: RequestId, request: InFlight) {
        if let Some(entry) = self.lock().in_flight.get_mut(&id) {
            entry.request = request;
        }
    }

    /// An execute was answered with `execution/started`.
    pub(crate) fn started(&self, id: RequestId) {
        if let Some(entry) = self.lock().in_flight.get_mut(&id)
            && let InFlight::Execute(asked) = &entry.request
        {
            entry.request = InFlight::Started(asked.clone());
        }
    }

    /// Takes a request out to answer it; `None` if it has been answered.
    pub(crate) fn finish(&self, id: RequestId) -> Option<InFlight> {
        let mut state = self.lock();
        let entry = state.in_flight.remove(&id)?;
        state.answered.bury(id);
        Some(entry.request)
    }

    /// What is known about a request in flight.
    pub(crate) fn get(&self, id: RequestId) -> Option<InFlight> {
        let state = self.lock();
        state.in_flight.get(&id).map(|entry| entry.request.clone())
    }

    /// How long ago a request in flight was received.
    pub(crate) fn age(&self, id: RequestId) -> Option<Duration> {
        let state = self.lock();
        state
            .in_flight
            .get(&id)
            .map(|entry| entry.received.elapsed())
    }

    /// Takes every request out to answer it.
    pub(crate) fn finish_all(&self) -> Vec<(RequestId, InFlight)> {
        let mut state = self.lock();
        let all = state.in_flight.drain();
        all.map(|(id, entry)| (id, entry.request)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, RequestTable> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
