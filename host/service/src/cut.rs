// SPDX-License-Identifier: Apache-2.0
//! Taking the middle out of a text.

/// Bytes of UTF-8 that count as one token.
pub const BYTES_PER_TOKEN: usize = 4;

/// A text without its middle.
pub(crate) struct Cut {
    /// The start, how much is missing, and the end.
    pub(crate) text: String,
    /// Where the start ends in the whole text.
    start_end: usize,
    /// Where the end begins in the whole text.
    end_start: usize,
    /// Bytes of what says how much is missing.
    mark_bytes: usize,
}

impl Cut {
    /// Where a place of the whole text is now; one in the middle is right behind the mark.
    pub(crate) fn place(&self, place: usize) -> usize {
        if place <= self.start_end && place < self.end_start {
            place
        } else {
            self.start_end + self.mark_bytes + place.saturating_sub(self.end_start)
        }
    }
}

/// Takes out the middle of a text so that `bytes` are left, half of them from either side, and
/// never part of a character.
pub(crate) fn cut(text: &str, bytes: usize) -> Cut {
    let start_end = text.floor_char_boundary(bytes / 2);
    let end_bytes = bytes - bytes / 2;
    let end_start = text.ceil_char_boundary(text.len().saturating_sub(end_bytes));
    let missing = tokens(text.len().saturating_sub(bytes));
    let mark = format!("…{missing} tokens truncated…");
    let start = text.get(..start_end).unwrap_or_default();
    let end = text.get(end_start..).unwrap_or_default();
    Cut {
        text: format!("{start}{mark}{end}"),
        start_end,
        end_start,
        mark_bytes: mark.len(),
    }
}

/// How many tokens so many bytes count for.
pub(crate) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(BYTES_PER_TOKEN)
}
