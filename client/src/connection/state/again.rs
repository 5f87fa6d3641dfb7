// SPDX-License-Identifier: Apache-2.0
//! What the driver wants of its own accord and the host has refused: when it is asked again.
//!
//! A host may refuse to end a cell or a session because it has too much to do at the moment. No caller
//! waits for either, so nobody but the driver can see to it that they end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// The pause before the driver asks for the second time (100 ms); each further one doubles it.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause (10 s).
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How often the driver asks; after that what is refused stays until the connection ends.
pub(super) const MAX_TRIES: u32 = 20;

/// What is to be asked again, and when; at most one of each cell and session.
#[derive(Debug, Default)]
pub(super) struct Again(BTreeSet<(Instant, Wanted)>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// An abandoned cell is to end.
    End { session: Arc<str>, cell: Arc<str> },
    /// A session that nobody holds is to be closed.
    Close { session: Arc<str> },
}

impl Again {
    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Enters what was refused so many times; longer pauses follow on each other.
    pub(super) fn insert(&mut self, wanted: Wanted, tries: u32, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
        self.0.insert((now + pause.min(MAX_PAUSE), wanted));
    }

    /// Takes something that is due out.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Wanted> {
        self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first().map(|(_, wanted)| wanted)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
