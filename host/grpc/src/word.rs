// SPDX-License-Identifier: Apache-2.0
//! Word of outboxes that hold something, left for whoever may pass it on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use code_mode_api::waist::Outbox;
use tokio::sync::Notify;

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
    /// Leaves word about an outbox; none once the courier has ended.
    pub(crate) fn leave(&self, outbox: &Arc<Outbox>) {
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

    /// Waits for word, and gives the outboxes; `None` when there will be no more.
    pub(crate) async fn left(&self) -> Option<BTreeMap<u64, Arc<Outbox>>> {
        self.notify.notified().await;
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        (!left.closed).then(|| std::mem::take(&mut left.outboxes))
    }
}
