// SPDX-License-Identifier: Apache-2.0
//! How a session's events find their door.

use std::sync::{Arc, Weak};

use code_mode_api::waist::{Bell, Outbox, Ringer};

use crate::session::DoorSession;
use crate::word::Word;

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

/// Passes on the events that were put by those who may not do so themselves, until the session is
/// gone.
pub(crate) async fn courier(session: Weak<DoorSession>, word: Arc<Word>) {
    loop {
        let (Some(outboxes), Some(session)) = (word.left().await, session.upgrade()) else {
            return;
        };
        for outbox in outboxes.values() {
            session.carry(outbox);
        }
    }
}
