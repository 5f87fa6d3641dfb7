// SPDX-License-Identifier: Apache-2.0
//! Tool calls and notifications that the host has asked for.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use code_mode_api::{CancellationSignal, Notification, ToolInvocation};

use super::{Outcome, State, violation};
use crate::connection::events::{Effect, NotifyRequest, ToolRequest};
use crate::generation::outer_cell_id;
use crate::messages;

/// What a script hears whose cell has no owner any more.
pub(super) const NOBODY_WAITS: &str = "nobody waits for this cell any more";

/// How many of the host's delegate request ids are remembered after they were answered, so that one
/// given twice is noticed.
pub(super) const MAX_REMEMBERED_IDS: usize = 4096;

/// The delegate calls that are at work.
#[derive(Debug, Default)]
pub(super) struct Delegates {
    next_key: u64,
    /// Each call by the driver's number.
    calls: BTreeMap<u64, DelegateCall>,
    /// The driver's number of each call by the host's id.
    keys: HashMap<i64, u64>,
    bytes: usize,
    given: RecentIds,
}

/// The last ids that the host has given.
#[derive(Debug, Default)]
struct RecentIds {
    set: HashSet<i64>,
    order: VecDeque<i64>,
}

impl RecentIds {
    /// Takes note of an id; `false` when it is remembered from before.
    fn insert(&mut self, id: i64) -> bool {
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
struct DelegateCall {
    id: i64,
    session: Arc<str>,
    cell: Arc<str>,
    bytes: usize,
    cancel: CancellationSignal,
}

impl Delegates {
    fn start(
        &mut self,
        id: i64,
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
    pub(super) fn cancel(&mut self, id: i64) -> Option<u64> {
        let key = *self.keys.get(&id)?;
        self.remove(key)?.cancel.cancel();
        Some(key)
    }

    /// Fires the signal of every call of a cell; gives each call's number and the host's id.
    pub(super) fn cancel_cell(&mut self, session: &str, cell: &str) -> Vec<(u64, i64)> {
        let keys: Vec<_> = self.of_cell(session, cell).collect();
        keys.into_iter()
            .filter_map(|key| self.cancel_key(key))
            .collect()
    }

    pub(super) fn cancel_all(&mut self) -> Vec<(u64, i64)> {
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

    fn cancel_key(&mut self, key: u64) -> Option<(u64, i64)> {
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

/// Where a delegate call comes from, once it has been found valid.
struct Origin {
    session: Arc<str>,
    cell: Arc<str>,
    exec_call_id: Arc<str>,
}

impl State {
    pub(super) fn tool_request(&mut self, request: ToolRequest) -> Outcome<()> {
        let ToolRequest {
            id,
            session,
            cell,
            call_id,
            tool_name,
            tool_kind,
            input,
        } = request;
        let Some(origin) = self.admit(id, &session, &cell, input.get().len())? else {
            return Ok(());
        };
        let Some(entry) = self.sessions.get(&origin.session) else {
            return Ok(());
        };
        let invocation = ToolInvocation {
            session_id: entry.id.clone(),
            cell_id: outer_cell_id(entry.generation, &cell),
            call_id,
            exec_call_id: origin.exec_call_id.to_string(),
            tool_name,
            tool_kind,
            input,
        };
        let delegate = entry.delegate.clone();
        let bytes = invocation.input.get().len();
        let (key, cancel) = self.delegates.start(id, origin.session, origin.cell, bytes);
        self.effects.push_back(Effect::Tool {
            key,
            id,
            delegate,
            invocation,
            cancel,
        });
        Ok(())
    }

    pub(super) fn notify_request(&mut self, request: NotifyRequest) -> Outcome<()> {
        let NotifyRequest {
            id,
            session,
            cell,
            text,
        } = request;
        let Some(origin) = self.admit(id, &session, &cell, text.len())? else {
            return Ok(());
        };
        let Some(entry) = self.sessions.get(&origin.session) else {
            return Ok(());
        };
        let bytes = text.len();
        let notification = Notification {
            session_id: entry.id.clone(),
            cell_id: outer_cell_id(entry.generation, &cell),
            exec_call_id: origin.exec_call_id.to_string(),
            text,
        };
        let delegate = entry.delegate.clone();
        let (key, cancel) = self.delegates.start(id, origin.session, origin.cell, bytes);
        self.effects.push_back(Effect::Notify {
            key,
            id,
            delegate,
            notification,
            cancel,
        });
        Ok(())
    }

    /// Checks a delegate request. `None` when it was answered with an error here.
    fn admit(
        &mut self,
        id: i64,
        session: &str,
        cell: &str,
        bytes: usize,
    ) -> Outcome<Option<Origin>> {
        let known = self
            .sessions
            .get_key_value(session)
            .and_then(|(session, entry)| {
                let (cell, state) = entry.cells.get_key_value(cell)?;
                (!state.closed).then(|| (Arc::clone(session), entry.gone, Arc::clone(cell), state))
            });
        let Some((session, gone, cell, state)) = known else {
            return violation(format!(
                "a delegate request for cell {cell} of session {session}, which does not live"
            ));
        };
        let exec_call_id = Arc::clone(&state.exec_call_id);
        let unwanted = gone || state.abandoned;
        if !self.delegates.given.insert(id) || self.delegates.keys.contains_key(&id) {
            return violation(format!("the delegate request id {id} twice"));
        }
        if unwanted {
            self.refuse(id, NOBODY_WAITS)?;
            return Ok(None);
        }
        let maximum = self.limits.max_delegate_calls;
        if self.delegates.calls.len() >= maximum {
            self.refuse(
                id,
                &format!("the client's limit of {maximum} open tool calls is reached"),
            )?;
            return Ok(None);
        }
        let maximum = self.limits.max_delegate_bytes;
        if self.delegates.bytes.saturating_add(bytes) > maximum {
            let text = format!("the client's limit of {maximum} bytes of tool inputs is reached");
            self.refuse(id, &text)?;
            return Ok(None);
        }
        Ok(Some(Origin {
            session,
            cell,
            exec_call_id,
        }))
    }

    /// Answers a delegate request with an error, without asking the delegate.
    pub(super) fn refuse(&mut self, id: i64, message: &str) -> Outcome<()> {
        let bytes = messages::delegate_error_frame(id, message)?;
        self.push_own(bytes, None);
        Ok(())
    }
}
