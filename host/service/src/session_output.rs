// SPDX-License-Identifier: Apache-2.0
//! What a session does to the output of its cells before the client gets it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use code_mode_api::{CellId, CellResponse, CellStatus, ContentItem, KeptText, ReadOutputRequest};

use crate::{KeptOutput, truncate};

/// The stable name of [`OutputNotKept`], as clients get it.
pub const OUTPUT_NOT_KEPT: &str = "output-not-kept";

/// Nothing of a cell's output was cut and is kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no output of exec cell {cell_id} was cut and is kept")]
pub struct OutputNotKept {
    /// The cell asked for.
    pub cell_id: CellId,
}

/// Cuts the output of a session's cells, where the client wants that, and keeps what it cut.
pub struct SessionOutput(Option<Mutex<KeptOutput>>);

impl SessionOutput {
    /// Leaves all output as it is.
    pub fn whole() -> Self {
        Self(None)
    }

    /// Cuts output; `kept_bytes` is the bound of what is kept of it, in bytes of UTF-8.
    pub fn cut_to_tokens(kept_bytes: usize) -> Self {
        Self(Some(Mutex::new(KeptOutput::new(kept_bytes))))
    }

    /// Cuts a response to its tokens.
    pub fn cut(&self, response: &mut CellResponse, max_tokens: Option<u64>) {
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
    pub fn of_missing(&self, error_text: &str, max_tokens: Option<u64>) -> Vec<ContentItem> {
        match &self.0 {
            Some(_) => truncate(Vec::new(), Some(error_text), max_tokens).items,
            None => Vec::new(),
        }
    }

    /// A part of what was cut out of a cell's responses.
    ///
    /// # Errors
    /// When nothing is kept of it: nothing was cut, or the bound has pushed it out.
    pub fn read(&self, request: &ReadOutputRequest) -> Result<KeptText, OutputNotKept> {
        let ReadOutputRequest {
            cell_id,
            offset,
            max_bytes,
        } = request;
        let kept = self.0.as_ref().map(lock);
        kept.and_then(|kept| kept.read(cell_id, *offset, *max_bytes))
            .ok_or_else(|| OutputNotKept {
                cell_id: cell_id.clone(),
            })
    }
}

fn lock(kept: &Mutex<KeptOutput>) -> MutexGuard<'_, KeptOutput> {
    // Nothing panics while the lock is held, so a poisoned state is still whole.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use code_mode_api::CellTimings;
    use pretty_assertions::assert_eq;

    use super::*;

    fn response(text: &str) -> CellResponse {
        CellResponse {
            cell_id: CellId::new("1"),
            status: CellStatus::Completed { error_text: None },
            content_items: vec![ContentItem::Text(text.to_owned())],
            timings: CellTimings::default(),
            state_lost: None,
        }
    }

    fn read(output: &SessionOutput) -> Result<KeptText, OutputNotKept> {
        output.read(&ReadOutputRequest {
            cell_id: CellId::new("1"),
            offset: 0,
            max_bytes: u64::MAX,
        })
    }

    #[test]
    fn only_what_was_cut_is_kept() {
        let output = SessionOutput::cut_to_tokens(100);
        let not_kept = Err(OutputNotKept {
            cell_id: CellId::new("1"),
        });
        output.cut(&mut response("short"), Some(100));
        assert_eq!(read(&output), not_kept);
        let output = SessionOutput::cut_to_tokens(100);
        let mut long = response("0123456789");
        output.cut(&mut long, Some(1));
        assert_ne!(long, response("0123456789"));
        let whole = KeptText {
            text: "0123456789".to_owned(),
            offset: 0,
            total_bytes: 10,
        };
        assert_eq!(read(&output), Ok(whole));
        let output = SessionOutput::whole();
        let mut long = response("0123456789");
        output.cut(&mut long, Some(1));
        assert_eq!(long, response("0123456789"));
        assert_eq!(output.of_missing("why", None), []);
        assert_eq!(read(&output), not_kept);
    }
}
