// SPDX-License-Identifier: Apache-2.0
//! Which executes may have reached a host that stands behind a connector.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a connector knows better than the client: which of the executes that it was given may have reached
/// the host, and so may have run.
///
/// A connector that gives one along with its [`Streams`](crate::Streams) promises to call
/// [`send`](Self::send) before it lets go of the first byte of an execute. When the connection is lost,
/// executes of which it has not are told as surely not run, as are those that it has
/// [taken back](Self::take_back). It holds one entry for each execute that the host has not answered.
#[derive(Debug, Clone, Default)]
pub struct SentExecutes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    /// Rung when an execute is no longer open.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Ledger {
    /// Those that may have run, by the ids of their requests.
    sent: HashMap<i64, Fate>,
    /// The client has told everybody what has become of everything.
    is_closed: bool,
}

/// What is known of an execute that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It may still be proven that nothing of it has run.
    Open,
    /// The host has begun to answer it.
    Answered,
}

impl SentExecutes {
    /// Takes note that the execute of request `id` is about to be sent. `false` when the client has told
    /// already that it was not: then it must not be sent any more.
    #[must_use]
    pub fn send(&self, id: i64) -> bool {
        let mut ledger = self.lock();
        if !ledger.is_closed {
            ledger.sent.insert(id, Fate::Open);
        }
        !ledger.is_closed
    }

    /// Takes note that the host has begun to answer: it may have run, whatever comes.
    pub fn answered(&self, id: i64) {
        if let Some(fate) = self.lock().sent.get_mut(&id) {
            *fate = Fate::Answered;
        }
        self.0.settled.notify_waiters();
    }

    /// Takes note of a proof that nothing of it has run, and that nothing will.
    pub fn take_back(&self, id: i64) {
        self.lock().sent.remove(&id);
        self.0.settled.notify_waiters();
    }

    /// Waits until nothing more can be proven of any execute that was sent.
    pub async fn settled(&self) {
        loop {
            // Made before the look, so that it hears of everything after that.
            let settled = self.0.settled.notified();
            if self.lock().sent.values().all(|fate| *fate != Fate::Open) {
                return;
            }
            settled.await;
        }
    }

    /// Takes note that the client has the host's answer.
    pub(crate) fn forget(&self, id: i64) {
        // Nobody who waits for proofs waits for these.
        self.lock().sent.remove(&id);
    }

    /// Lets nothing be sent any more, so that what [`may_have_run`](Self::may_have_run) says stays true.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Whether the execute of request `id` may have run.
    pub(crate) fn may_have_run(&self, id: i64) -> bool {
        self.lock().sent.contains_key(&id)
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn what_was_not_sent_or_was_taken_back_has_not_run() {
        let sent = SentExecutes::default();
        assert!(!sent.may_have_run(1));
        assert!(sent.send(1) && sent.send(2) && sent.send(3));
        sent.take_back(2);
        sent.answered(3);
        assert!(sent.may_have_run(1) && !sent.may_have_run(2) && sent.may_have_run(3));
        sent.forget(3);
        assert!(!sent.may_have_run(3));
    }

    #[test]
    fn nothing_is_sent_once_the_client_has_told_what_was() {
        let sent = SentExecutes::default();
        assert!(sent.send(1));
        sent.close();
        assert!(!sent.send(2), "it was told as not sent");
        assert!(sent.may_have_run(1) && !sent.may_have_run(2));
    }

    #[test]
    fn it_is_settled_when_each_was_answered_or_taken_back() {
        let sent = SentExecutes::default();
        assert!(sent.send(1) && sent.send(2));
        let mut settled = pin!(sent.settled());
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || settled.as_mut().poll(&mut context);
        assert_eq!(poll(), Poll::Pending);
        sent.answered(1);
        assert_eq!(poll(), Poll::Pending);
        sent.take_back(2);
        assert_eq!(poll(), Poll::Ready(()));
    }
}
