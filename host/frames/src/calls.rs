// SPDX-License-Identifier: Apache-2.0
//! Calls of the client by scripts: tools and notifications that wait for their answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use code_mode_api::ToolError;
use code_mode_api::waist::CallId;
use code_mode_protocol::DelegateValue;

use crate::tombstones::Tombstones;

/// A call that the client has been asked for.
#[derive(Clone)]
pub(crate) struct OpenCall {
    /// Where the answer goes.
    pub(crate) session: Weak<dyn Calling>,
    /// The call's name there.
    pub(crate) call: CallId,
    /// What it is.
    pub(crate) kind: CallKind,
}

/// Whose scripts call.
pub(crate) trait Calling: Send + Sync {
    /// The client has answered a call.
    fn answer(&self, call: CallId, kind: CallKind, result: Result<DelegateValue, ToolError>);
}

/// What the client is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// To run a tool; the answer is its result.
    Tool,
    /// To take a notification; the answer is its receipt.
    Notification,
}

/// What an answer from the client meets.
pub(crate) enum Answered {
    /// The call is open; the answer goes here.
    Open(OpenCall),
    /// The call was cancelled; the answer came too late and is ignored.
    Late,
    /// No such call was ever made, or it was answered: a violation.
    Unknown,
}

/// The calls of one connection. Ids count up from 1 and are never used twice.
pub(crate) struct Calls {
    state: Mutex<CallTable>,
    max_open: usize,
}

struct CallTable {
    next: i64,
    open: HashMap<i64, OpenCall>,
    cancelled: Tombstones<i64>,
    /// A cancelled call up to this id may have been forgotten.
    forgotten: i64,
}

impl Calls {
    /// No calls yet, and these bounds.
    pub(crate) fn new(max_open: usize, remembered: usize) -> Self {
        Self {
            state: Mutex::new(CallTable {
                next: 1,
                open: HashMap::new(),
                cancelled: Tombstones::new(remembered),
                forgotten: 0,
            }),
            max_open,
        }
    }

    /// Opens a call and gives its id; `None` when the bound of open calls is reached.
    pub(crate) fn open(&self, call: OpenCall) -> Option<i64> {
        let mut state = self.lock();
        if state.open.len() >= self.max_open {
            return None;
        }
        let id = state.next;
        state.next = id.checked_add(1)?;
        state.open.insert(id, call);
        Some(id)
    }

    /// Takes out the call that an answer is for.
    pub(crate) fn answer(&self, id: i64) -> Answered {
        let mut state = self.lock();
        if let Some(call) = state.open.remove(&id) {
            return Answered::Open(call);
        }
        if state.cancelled.contains(&id) || (1..=state.forgotten).contains(&id) {
            return Answered::Late;
        }
        Answered::Unknown
    }

    /// Cancels a call; `false` if it has been answered.
    pub(crate) fn cancel(&self, id: i64) -> bool {
        let mut state = self.lock();
        if state.open.remove(&id).is_none() {
            return false;
        }
        if let Some(forgotten) = state.cancelled.bury(id) {
            state.forgotten = state.forgotten.max(forgotten);
        }
        true
    }

    /// Takes back a call that was never sent; an answer to it is a violation.
    pub(crate) fn withdraw(&self, id: i64) {
        self.lock().open.remove(&id);
    }

    /// Calls that may be open at one time.
    pub(crate) fn max_open(&self) -> usize {
        self.max_open
    }

    fn lock(&self) -> MutexGuard<'_, CallTable> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Calling for Nobody {
        fn answer(&self, _: CallId, _: CallKind, _: Result<DelegateValue, ToolError>) {}
    }

    fn notification() -> OpenCall {
        OpenCall {
            session: Weak::<Nobody>::new(),
            call: CallId(1),
            kind: CallKind::Notification,
        }
    }

    #[test]
    fn ids_count_up_from_one() {
        let calls = Calls::new(8, 8);
        assert_eq!(calls.open(notification()), Some(1));
        assert_eq!(calls.open(notification()), Some(2));
    }

    #[test]
    fn the_bound_counts_open_calls_only() {
        let calls = Calls::new(1, 8);
        assert_eq!(calls.open(notification()), Some(1));
        assert_eq!(calls.open(notification()), None);
        assert!(matches!(calls.answer(1), Answered::Open(_)));
        assert_eq!(calls.open(notification()), Some(2));
    }

    #[test]
    fn an_answer_meets_an_open_a_cancelled_an_answered_or_an_unknown_call() {
        let calls = Calls::new(8, 8);
        for _ in 0..2 {
            calls.open(notification());
        }
        assert!(matches!(
            calls.answer(1),
            Answered::Open(OpenCall {
                kind: CallKind::Notification,
                ..
            })
        ));
        assert!(matches!(calls.answer(1), Answered::Unknown));
        assert!(calls.cancel(2));
        assert!(!calls.cancel(2));
        assert!(matches!(calls.answer(2), Answered::Late));
        assert!(matches!(calls.answer(3), Answered::Unknown));
        assert!(matches!(calls.answer(-1), Answered::Unknown));
    }

    #[test]
    fn a_late_answer_to_a_forgotten_call_is_never_taken_for_a_violation() {
        let calls = Calls::new(8, 1);
        for id in 1..=3 {
            assert_eq!(calls.open(notification()), Some(id));
            assert!(calls.cancel(id));
        }
        for id in 1..=3 {
            assert!(matches!(calls.answer(id), Answered::Late), "call {id}");
        }
        assert!(matches!(calls.answer(4), Answered::Unknown));
    }

    #[test]
    fn a_call_that_was_never_sent_leaves_no_trace() {
        let calls = Calls::new(1, 8);
        assert_eq!(calls.open(notification()), Some(1));
        calls.withdraw(1);
        assert!(matches!(calls.answer(1), Answered::Unknown));
        assert_eq!(calls.open(notification()), Some(2));
    }
}
