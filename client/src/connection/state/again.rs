// SPDX-License-Identifier: Apache-2.0
//! What the driver wants of its own accord and the host has refused: it is asked again.
//!
//! A host may refuse to end a cell or a session because it has too much to do at the moment. No caller
//! waits for either, so nobody but the driver can see to it that they end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Outcome, SessionPhase, State};
use code_mode_protocol::WireError;

/// The pause before the driver asks for the second time (100 ms); each further one doubles it.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause (10 s).
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(10);
/// How often the driver asks; after that what is refused stays until the connection ends.
pub(super) const MAX_TRIES: u32 = 20;

/// The error code of hosts with `code_mode/errors-v1` for a session that is closed already.
const SHUT_DOWN: &str = "shut-down";

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
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Instant) -> Option<Wanted> {
        self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first().map(|(_, wanted)| wanted)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl State {
    /// The host has refused to end a cell that nobody wants.
    pub(super) fn end_refused(
        &mut self,
        session: &Arc<str>,
        cell: &Arc<str>,
        error: &WireError,
        now: Instant,
    ) {
        let Some(entry) = self.cell_mut(session, cell) else {
            return;
        };
        if entry.closed || !entry.abandoned {
            return;
        }
        entry.tries += 1;
        let tries = entry.tries;
        let wanted = Wanted::End {
            session: Arc::clone(session),
            cell: Arc::clone(cell),
        };
        self.ask_again(wanted, tries, error, now);
    }

    /// The host has refused to close a session. It lives on, unless it had ended before.
    pub(super) fn close_refused(
        &mut self,
        session: &Arc<str>,
        error: &WireError,
        now: Instant,
    ) -> Outcome<()> {
        let code = error.details.as_ref().map(|details| details.code.as_str());
        if code == Some(SHUT_DOWN) {
            return self.forget_session(session);
        }
        let Some(entry) = self.sessions.get_mut(session) else {
            return Ok(());
        };
        entry.phase = SessionPhase::Open;
        if entry.gone {
            entry.tries += 1;
            let tries = entry.tries;
            let session = Arc::clone(session);
            self.ask_again(Wanted::Close { session }, tries, error, now);
        }
        Ok(())
    }

    fn ask_again(&mut self, wanted: Wanted, tries: u32, error: &WireError, now: Instant) {
        if tries >= MAX_TRIES {
            tracing::warn!(?wanted, %error, "the host refuses again and again to end it");
            return;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(16));
        self.again.0.insert((now + pause.min(MAX_PAUSE), wanted));
    }

    /// Asks for what is due and still wanted.
    pub(super) fn ask_due_again(&mut self, now: Instant) -> Outcome<()> {
        while let Some(wanted) = self.again.take_due(now) {
            match wanted {
                Wanted::End { session, cell } => {
                    if self.cell_mut(&session, &cell).is_some_and(|c| !c.closed) {
                        self.end_cell(&session, &cell, now)?;
                    }
                }
                Wanted::Close { session } => {
                    let open = |phase| phase == SessionPhase::Open;
                    if self.sessions.get(&session).is_some_and(|s| open(s.phase)) {
                        self.close_session(&session, now)?;
                    }
                }
            }
        }
        Ok(())
    }
}
