// SPDX-License-Identifier: Apache-2.0
//! What a session does to the output of its cells before the client gets it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use code_mode_api::{CellId, CellResponse, CellStatus, ContentItem};
use code_mode_protocol as wire;
use code_mode_service::{KeptOutput, truncate};

use crate::refusal::Refusal;

/// What a client has asked of a session when it opened it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionBounds {
    /// The longest yield time of any request.
    pub(crate) max_yield_time: Option<Duration>,
    /// V8 heap of a cell, in bytes.
    pub(crate) max_heap_bytes: Option<u64>,
    /// Whether the host cuts output that is too long.
    pub(crate) cuts_output: bool,
}

impl SessionBounds {
    /// The bounds of a `session/open`.
    pub(crate) fn new(
        limits: Option<wire::CellExecutionLimits>,
        truncation: Option<wire::OutputTruncation>,
    ) -> Self {
        let limits = limits.unwrap_or_default();
        Self {
            max_yield_time: limits.max_yield_time_ms.map(Duration::from_millis),
            max_heap_bytes: limits.max_heap_size_bytes,
            cuts_output: truncation == Some(wire::OutputTruncation::Server),
        }
    }

    /// A request's yield time within the session's bound; `default` is that of a request which does
    /// not say.
    pub(crate) fn yield_time(
        &self,
        requested: Option<Duration>,
        default: Duration,
    ) -> Option<Duration> {
        match self.max_yield_time {
            Some(maximum) => Some(requested.unwrap_or(default).min(maximum)),
            None => requested,
        }
    }

    /// A request's heap bound within the session's.
    pub(crate) fn heap_bytes(&self, requested: Option<u64>) -> Option<u64> {
        match (requested, self.max_heap_bytes) {
            (Some(requested), Some(maximum)) => Some(requested.min(maximum)),
            (requested, maximum) => requested.or(maximum),
        }
    }
}

/// Cuts the output of a session's cells, where the client wants that, and keeps what it cut.
pub(crate) struct SessionOutput(Option<Mutex<KeptOutput>>);

impl SessionOutput {
    /// Cuts or does not; `kept_bytes` is the bound of what is kept.
    pub(crate) fn new(bounds: &SessionBounds, kept_bytes: usize) -> Self {
        Self(
            bounds
                .cuts_output
                .then(|| Mutex::new(KeptOutput::new(kept_bytes))),
        )
    }

    /// Cuts a response to its tokens.
    pub(crate) fn cut(&self, response: &mut CellResponse, max_tokens: Option<u64>) {
        let Some(kept) = &self.0 else {
            return;
        };
        let error_text = match &response.status {
            CellStatus::Completed { error_text } => error_text.as_deref(),
            CellStatus::Yielded | CellStatus::Terminated => None,
        };
        let items = std::mem::take(&mut response.content_items);
        let truncated = truncate(items, error_text, max_tokens);
        response.content_items = truncated.items;
        let is_last = response.status != CellStatus::Yielded;
        if truncated.whole_text.is_some() || is_last {
            let whole = truncated.whole_text.unwrap_or_default();
            lock(kept).keep(&response.cell_id, &whole, is_last);
        }
    }

    /// The output of the answer that a cell is missing.
    pub(crate) fn of_missing(&self, error_text: &str, max_tokens: Option<u64>) -> Vec<ContentItem> {
        match &self.0 {
            Some(_) => truncate(Vec::new(), Some(error_text), max_tokens).items,
            None => Vec::new(),
        }
    }

    /// A part of what was cut out of a cell's responses.
    pub(crate) fn read(
        &self,
        cell_id: &CellId,
        range: wire::OutputRange,
    ) -> Result<wire::OperationValue, Refusal> {
        let not_kept = || {
            let message = format!("no output of exec cell {cell_id} was cut and is kept");
            Refusal::new("output-not-kept", message)
        };
        let kept = lock(self.0.as_ref().ok_or_else(not_kept)?);
        let part = kept
            .read(cell_id, range.offset, range.max_bytes)
            .ok_or_else(not_kept)?;
        Ok(wire::OperationValue::OutputRead {
            cell_id: cell_id.clone(),
            offset: part.offset as u64,
            total_bytes: part.total_bytes as u64,
            text: part.text.to_owned(),
        })
    }
}

fn lock(kept: &Mutex<KeptOutput>) -> MutexGuard<'_, KeptOutput> {
    // Nothing panics while the lock is held, so a poisoned state is still whole.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lowers_yield_times_and_heaps_and_never_raises_them() {
        let bounds = SessionBounds {
            max_yield_time: Some(Duration::from_millis(50)),
            max_heap_bytes: Some(100),
            cuts_output: false,
        };
        let default = Duration::from_secs(10);
        let time = |millis| Some(Duration::from_millis(millis));
        assert_eq!(bounds.yield_time(None, default), time(50));
        assert_eq!(bounds.yield_time(time(60), default), time(50));
        assert_eq!(bounds.yield_time(time(40), default), time(40));
        assert_eq!(bounds.heap_bytes(None), Some(100));
        assert_eq!(bounds.heap_bytes(Some(50)), Some(50));
        assert_eq!(bounds.heap_bytes(Some(200)), Some(100));
        let none = SessionBounds::default();
        assert_eq!(none.yield_time(None, default), None);
        assert_eq!(none.yield_time(time(60), default), time(60));
        assert_eq!(none.heap_bytes(Some(7)), Some(7));
        assert_eq!(none.heap_bytes(None), None);
    }
}
