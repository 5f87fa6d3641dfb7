// SPDX-License-Identifier: Apache-2.0
//! How a session's events find their door.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use code_mode_api::waist::{Bell, Outbox, Ringer};
use tokio::sync::Notify;

use crate::session::DoorSession;

/// The door's ear in one session.
pub(crate) struct DoorBell {
    pub(crate) session: Weak<DoorSession>,
    pub(crate) word: Arc<Word>,
}

impl Bell for DoorBell {
    fn ring(&self, outbox: &Arc<Outbox>, by: Ringer) {
        match by {
            Ringer::Cell | Ringer::Link => {
                if let Some(session) = self.session.upgrade() {
                    session.carry(outbox);
                }
            }
            Ringer::Helper => self.word.leave(outbox),
        }
    }
}

/// Outboxes that somebody has left word about, for the session's courier. At most one entry for each.
#[derive(Default)]
pub(crate) struct Word {
    left: Mutex<Left>,
    notify: Notify,
}

#[derive(Default)]
struct Left {
    outboxes: BTreeMap<u64, Arc<Outbox>>,
    closed: bool,
}

impl Word {
    fn leave(&self, outbox: &Arc<Outbox>) {
        {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            if !left.closed {
                left.outboxes.insert(outbox.number(), Arc::clone(outbox));
            }
        }
        self.notify.notify_one();
    }

    /// Ends the courier.
    pub(crate) fn close(&self) {
        let outboxes = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.closed = true;
            std::mem::take(&mut left.outboxes)
        };
        drop(outboxes);
        self.notify.notify_one();
    }

    /// The outboxes; `None` when there will be no more.
    fn take(&self) -> Option<BTreeMap<u64, Arc<Outbox>>> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        (!left.closed).then(|| std::mem::take(&mut left.outboxes))
    }
}

/// Passes on the events that were put by those who may not do so themselves, until the session is
/// gone.
pub(crate) async fn courier(session: Weak<DoorSession>, word: Arc<Word>) {
    loop {
        word.notify.notified().await;
        let (Some(outboxes), Some(session)) = (word.take(), session.upgrade()) else {
            return;
        };
        for outbox in outboxes.values() {
            session.carry(outbox);
        }
    }
}
