// SPDX-License-Identifier: Apache-2.0
//! Refusals of what the driver wants of its own accord, to end a cell or a session: it asks
//! [again](super::again).

use std::sync::Arc;

use code_mode_protocol::WireError;
use tokio::time::Instant;

use super::again::{MAX_TRIES, Wanted};
use super::tables::{ConnectionState, Outcome, SessionPhase};

/// The error code of hosts with `code_mode/errors-v1` for a session that is closed already.
const SHUT_DOWN: &str = "shut-down";

impl ConnectionState {
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
        self.again.insert(wanted, tries, now);
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
