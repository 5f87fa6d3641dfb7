// SPDX-License-Identifier: Apache-2.0
//! Who asks.

use std::sync::atomic::{AtomicU64, Ordering};

/// Who opened a session, and so who may reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Whoever speaks on this connection.
    Connection(u64),
    /// Whoever runs as this user of the machine.
    User(u32),
    /// Whoever holds this token, by a number that stands for it.
    Token(u64),
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

impl Owner {
    /// The owner for a connection that shows no identity.
    pub fn of_new_connection() -> Self {
        Self::Connection(NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed))
    }
}
