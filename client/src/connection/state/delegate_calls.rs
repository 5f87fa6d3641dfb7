// SPDX-License-Identifier: Apache-2.0
//! The tool calls and notifications that are at work.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use code_mode_api::CancellationSignal;
use code_mode_protocol::DelegateRequestId;

/// What a script hears whose cell has no owner any more.
pub(super) const NOBODY_WAITS: &str = "nobody waits for this cell any more";

/// How many of the host's delegate request ids are remembered after they were answered, so that one
/// given twice is noticed.
pub(super) const MAX_REMEMBERED_IDS: usize = 4096;

/// The delegate calls that are at work.
#[derive(Debug, Default)]
pub(super) struct DelegateCalls {
    next_key: u64,
    /// Each call by the driver's number.
    pub(super) calls: BTreeMap<u64, DelegateCall>,
    /// The driver's number of each call by the host's id.
    pub(super) keys: HashMap<DelegateRequestId, u64>,
    pub(super) bytes: usize,
    pub(super) given: RecentIds,
}

/// The last ids that the host has given.
#[derive(Debug, Default)]
pub(super) struct RecentIds {
    set: HashSet<DelegateRequestId>,
    order: VecDeque<DelegateRequestId>,
}

impl RecentIds {
    /// Takes note of an id; `false` when it is remembered from before.
    pub(super) fn insert(&mut self, id: DelegateRequestId) -> bool {
        if !self.set.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_REMEMBERED_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

#[derive(Debug)]
pub(super) struct DelegateCall {
    id: DelegateRequestId,
    session: Arc<str>,
    cell: Arc<str>,
    bytes: usize,
    cancel: CancellationSignal,
}

impl DelegateCalls {
    /// Enters a call; gives its number and its signal.
    pub(super) fn start(
        &mut self,
        id: DelegateRequestId,
        session: Arc<str>,
        cell: Arc<str>,
        bytes: usize,
    ) -> (u64, CancellationSignal) {
        let key = self.next_key;
        self.next_key += 1;
        let cancel = CancellationSignal::new();
        self.keys.insert(id, key);
        self.bytes += bytes;
        self.calls.insert(
            key,
            DelegateCall {
                id,
                session,
                cell,
                bytes,
                cancel: cancel.clone(),
            },
        );
        (key, cancel)
    }

    /// Forgets a call that has been answered; `false` when it was cancelled before.
    pub(super) fn finish(&mut self, key: u64) -> bool {
        self.remove(key).is_some()
    }

    /// Fires the signal of a call that the host no longer waits for. An id that is not at work was
    /// answered a moment ago, and the cancellation has crossed the answer.
    pub(super) fn cancel(&mut self, id: DelegateRequestId) -> Option<u64> {
        let key = *self.keys.get(&id)?;
        self.remove(key)?.cancel.cancel();
        Some(key)
    }

    /// Fires the signal of every call of a cell; gives each call's number and the host's id.
    pub(super) fn cancel_cell(
        &mut self,
        session: &str,
        cell: &str,
    ) -> Vec<(u64, DelegateRequestId)> {
        let keys: Vec<_> = self.of_cell(session, cell).collect();
        keys.into_iter()
            .filter_map(|key| self.cancel_key(key))
            .collect()
    }

    pub(super) fn cancel_all(&mut self) -> Vec<(u64, DelegateRequestId)> {
        let keys: Vec<_> = self.calls.keys().copied().collect();
        keys.into_iter()
            .filter_map(|key| self.cancel_key(key))
            .collect()
    }

    pub(super) fn has_cell(&self, session: &str, cell: &str) -> bool {
        self.of_cell(session, cell).next().is_some()
    }

    fn of_cell(&self, session: &str, cell: &str) -> impl Iterator<Item = u64> {
        self.calls
            .iter()
            .filter(move |(_, call)| *call.session == *session && *call.cell == *cell)
            .map(|(key, _)| *key)
    }

    fn cancel_key(&mut self, key: u64) -> Option<(u64, DelegateRequestId)> {
        let call = self.remove(key)?;
        call.cancel.cancel();
        Some((key, call.id))
    }

    fn remove(&mut self, key: u64) -> Option<DelegateCall> {
        let call = self.calls.remove(&key)?;
        self.keys.remove(&call.id);
        self.bytes -= call.bytes;
        Some(call)
    }
}
