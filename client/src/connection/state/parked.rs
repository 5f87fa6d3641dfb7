// SPDX-License-Identifier: Apache-2.0
//! Output that nobody has taken: which cells have some, and how much of it there is.

use std::collections::VecDeque;
use std::sync::Arc;

/// Responses that are kept for a next observer because theirs had gone; past this the oldest is
/// dropped, and a wait for its cell says that the cell has finished.
pub(super) const MAX_PARKED_RESPONSES: usize = 256;
/// Bytes of output in parked responses; past this the oldest is dropped.
pub(super) const MAX_PARKED_BYTES: usize = 128 * 1024 * 1024;

/// Which responses are parked, oldest first. They themselves lie with their cells.
#[derive(Debug, Default)]
pub(super) struct Parked {
    pub(super) order: VecDeque<(Arc<str>, Arc<str>, usize)>,
    pub(super) bytes: usize,
}

impl Parked {
    /// Forgets what is parked of a cell.
    pub(super) fn forget(&mut self, session: &str, cell: &str) {
        let position = self
            .order
            .iter()
            .position(|(s, c, _)| **s == *session && **c == *cell);
        if let Some((_, _, bytes)) = position.and_then(|position| self.order.remove(position)) {
            self.bytes -= bytes;
        }
    }

    /// Forgets what is parked of a session's cells.
    pub(super) fn forget_session(&mut self, session: &str) {
        self.order.retain(|(s, _, _)| **s != *session);
        self.bytes = self.order.iter().map(|(_, _, bytes)| bytes).sum();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
