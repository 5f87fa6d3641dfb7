// SPDX-License-Identifier: Apache-2.0
//! Text that was cut out of responses, for as long as its session lives.

use std::collections::VecDeque;

use code_mode_api::{CellId, KeptText};

/// Cut output that one session keeps, bytes of UTF-8. What was kept longest goes first when there
/// is more; of a single cell with more than this, the end is not kept.
///
/// Not covered: what the cell itself holds until its response is made.
pub const DEFAULT_KEPT_OUTPUT_BYTES: usize = 8 << 20;

/// The cut output of one session's cells.
#[derive(Debug)]
pub struct KeptOutput {
    /// Those that something is kept of; what was kept longest stands first.
    cells: VecDeque<Kept>,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    cell: CellId,
    text: String,
    /// Whether the cell's last response is part of it.
    is_whole: bool,
}

impl Kept {
    /// Adds the text of a further response, as far as there is room.
    fn add(&mut self, text: &str, max_bytes: usize) {
        if text.is_empty() {
            return;
        }
        if !self.text.is_empty() && self.text.len() < max_bytes {
            self.text.push('\n');
        }
        let room = max_bytes - self.text.len();
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }
}

/// The most that is read at one time, bytes of UTF-8: as much as one response holds.
pub const MAX_READ_BYTES: usize = 1 << 20;

impl KeptOutput {
    /// Nothing yet, and this bound in bytes of UTF-8.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            cells: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Keeps the text of a response that was cut, after what is kept of the cell already. After the
    /// cell's last response there is nothing more to keep: that one may be given to two observers.
    pub fn keep(&mut self, cell: &CellId, text: &str, is_last: bool) {
        let index = self.cells.iter().position(|kept| kept.cell == *cell);
        let kept = index.and_then(|index| self.cells.remove(index));
        let mut kept = kept.unwrap_or_else(|| Kept {
            cell: cell.clone(),
            text: String::new(),
            is_whole: false,
        });
        self.bytes -= kept.text.len();
        if !kept.is_whole {
            kept.add(text, self.max_bytes);
            kept.is_whole = is_last;
        }
        if kept.text.is_empty() {
            return;
        }
        while self.bytes + kept.text.len() > self.max_bytes {
            let Some(oldest) = self.cells.pop_front() else {
                break;
            };
            self.bytes -= oldest.text.len();
        }
        self.bytes += kept.text.len();
        self.cells.push_back(kept);
    }

    /// At most `max_bytes` of what is kept of a cell, and at most [`MAX_READ_BYTES`], from the first
    /// character at or after `offset`; `None` when nothing is kept of it.
    pub fn read(&self, cell: &CellId, offset: u64, max_bytes: u64) -> Option<KeptText> {
        let kept = self.cells.iter().find(|kept| kept.cell == *cell)?;
        let kept = kept.text.as_str();
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let offset = kept.ceil_char_boundary(size(offset).min(kept.len()));
        let most = size(max_bytes).min(MAX_READ_BYTES);
        let end = kept.floor_char_boundary(offset.saturating_add(most));
        Some(KeptText {
            text: kept.get(offset..end).unwrap_or_default().to_owned(),
            offset: offset as u64,
            total_bytes: kept.len() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn read(
        kept: &KeptOutput,
        cell: &str,
        offset: u64,
        max_bytes: u64,
    ) -> Option<(String, u64, u64)> {
        let part = kept.read(&CellId::new(cell), offset, max_bytes)?;
        Some((part.text, part.offset, part.total_bytes))
    }

    #[test]
    fn what_is_kept_is_read_by_ranges_that_split_no_character() {
        let mut kept = KeptOutput::new(100);
        kept.keep(&CellId::new("1"), "a€b", false);
        assert_eq!(read(&kept, "1", 0, 100), Some(("a€b".to_owned(), 0, 5)));
        assert_eq!(read(&kept, "1", 0, 3), Some(("a".to_owned(), 0, 5)));
        assert_eq!(read(&kept, "1", 2, 9), Some(("b".to_owned(), 4, 5)));
        assert_eq!(
            read(&kept, "1", u64::MAX, u64::MAX),
            Some((String::new(), 5, 5))
        );
        assert_eq!(read(&kept, "2", 0, 1), None);
    }

    #[test]
    fn one_read_gives_no_more_than_its_bound_and_the_next_goes_on_there() {
        let mut kept = KeptOutput::new(2 * MAX_READ_BYTES);
        kept.keep(&CellId::new("1"), &"a".repeat(MAX_READ_BYTES + 1), true);
        let (text, _, total) = read(&kept, "1", 0, u64::MAX).expect("it is kept");
        assert_eq!(text.len(), MAX_READ_BYTES);
        assert_eq!(total, MAX_READ_BYTES as u64 + 1);
        let rest = read(&kept, "1", MAX_READ_BYTES as u64, u64::MAX).expect("it is kept");
        assert_eq!(rest, ("a".to_owned(), MAX_READ_BYTES as u64, total));
    }

    #[test]
    fn the_responses_of_a_cell_are_kept_one_after_the_other() {
        let mut kept = KeptOutput::new(100);
        kept.keep(&CellId::new("1"), "one", false);
        kept.keep(&CellId::new("2"), "other", false);
        kept.keep(&CellId::new("1"), "two", false);
        assert_eq!(read(&kept, "1", 0, 99), Some(("one\ntwo".to_owned(), 0, 7)));
        assert_eq!(kept.bytes, 12);
    }

    #[test]
    fn at_the_bound_what_was_kept_longest_goes_first_and_a_long_text_loses_its_end() {
        let mut kept = KeptOutput::new(10);
        for cell in ["1", "2", "3"] {
            kept.keep(&CellId::new(cell), "12345", false);
        }
        assert_eq!(read(&kept, "1", 0, 9), None);
        assert_eq!(read(&kept, "3", 0, 9), Some(("12345".to_owned(), 0, 5)));
        kept.keep(&CellId::new("3"), "67890", false);
        assert_eq!(read(&kept, "2", 0, 9), None);
        assert_eq!(
            read(&kept, "3", 0, 99),
            Some(("12345\n6789".to_owned(), 0, 10))
        );
        kept.keep(&CellId::new("4"), "€€€€€", false);
        assert_eq!(read(&kept, "4", 0, 99), Some(("€€€".to_owned(), 0, 9)));
        assert_eq!(kept.bytes, 9);
        let mut none = KeptOutput::new(0);
        none.keep(&CellId::new("1"), "nothing", false);
        assert_eq!(read(&none, "1", 0, 9), None);
    }

    #[test]
    fn nothing_is_kept_of_a_cell_after_its_last_response() {
        let mut kept = KeptOutput::new(100);
        kept.keep(&CellId::new("1"), "end", true);
        kept.keep(&CellId::new("1"), "end", true);
        assert_eq!(read(&kept, "1", 0, 99), Some(("end".to_owned(), 0, 3)));
        assert_eq!(kept.bytes, 3);
    }
}
