//! Text that was cut out of responses, for as long as its session lives.

use std::collections::VecDeque;

use code_mode_api::CellId;

/// Cut output that one session keeps, bytes of UTF-8. What was kept longest goes first when there
/// is more; of a single cell with more than this, the end is not kept.
///
/// Not covered: what the cell itself holds until its response is made.
pub const DEFAULT_KEPT_OUTPUT_BYTES: usize = 8 << 20;

/// The cut output of one session's cells.
#[derive(Debug)]
pub struct KeptOutput {
    cells: VecDeque<(CellId, String)>,
    bytes: usize,
    max_bytes: usize,
}

/// A part of what is kept of a cell.
#[derive(Debug, PartialEq, Eq)]
pub struct KeptText<'a> {
    /// The part.
    pub text: &'a str,
    /// Where it begins, in bytes; at the start of a character.
    pub offset: usize,
    /// How much is kept of the cell, in bytes.
    pub total_bytes: usize,
}

impl KeptOutput {
    /// Nothing yet, and this bound in bytes of UTF-8.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            cells: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Keeps the text of a response that was cut, after what is kept of the cell already.
    pub fn keep(&mut self, cell: &CellId, text: &str) {
        if self.max_bytes == 0 || text.is_empty() {
            return;
        }
        let mut kept = match self.cells.iter().position(|(id, _)| id == cell) {
            Some(index) => self.cells.remove(index).map(|(_, kept)| kept),
            None => None,
        }
        .unwrap_or_default();
        self.bytes -= kept.len();
        if !kept.is_empty() && kept.len() < self.max_bytes {
            kept.push('\n');
        }
        let room = self.max_bytes - kept.len();
        kept.push_str(&text[..text.floor_char_boundary(room)]);
        while self.bytes + kept.len() > self.max_bytes {
            let Some((_, oldest)) = self.cells.pop_front() else {
                break;
            };
            self.bytes -= oldest.len();
        }
        self.bytes += kept.len();
        self.cells.push_back((cell.clone(), kept));
    }

    /// At most `max_bytes` of what is kept of a cell, from the first character at or after
    /// `offset`; `None` when nothing is kept of it.
    pub fn read(&self, cell: &CellId, offset: u64, max_bytes: u64) -> Option<KeptText<'_>> {
        let (_, kept) = self.cells.iter().find(|(id, _)| id == cell)?;
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let offset = kept.ceil_char_boundary(size(offset).min(kept.len()));
        let end = kept.floor_char_boundary(offset.saturating_add(size(max_bytes)));
        Some(KeptText {
            text: kept.get(offset..end).unwrap_or_default(),
            offset,
            total_bytes: kept.len(),
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
    ) -> Option<(String, usize, usize)> {
        let part = kept.read(&CellId::new(cell), offset, max_bytes)?;
        Some((part.text.to_owned(), part.offset, part.total_bytes))
    }

    #[test]
    fn what_is_kept_is_read_by_ranges_that_split_no_character() {
        let mut kept = KeptOutput::new(100);
        kept.keep(&CellId::new("1"), "a€b");
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
    fn the_responses_of_a_cell_are_kept_one_after_the_other() {
        let mut kept = KeptOutput::new(100);
        kept.keep(&CellId::new("1"), "one");
        kept.keep(&CellId::new("2"), "other");
        kept.keep(&CellId::new("1"), "two");
        assert_eq!(read(&kept, "1", 0, 99), Some(("one\ntwo".to_owned(), 0, 7)));
        assert_eq!(kept.bytes, 12);
    }

    #[test]
    fn at_the_bound_what_was_kept_longest_goes_first_and_a_long_text_loses_its_end() {
        let mut kept = KeptOutput::new(10);
        for cell in ["1", "2", "3"] {
            kept.keep(&CellId::new(cell), "12345");
        }
        assert_eq!(read(&kept, "1", 0, 9), None);
        assert_eq!(read(&kept, "3", 0, 9), Some(("12345".to_owned(), 0, 5)));
        kept.keep(&CellId::new("3"), "67890");
        assert_eq!(read(&kept, "2", 0, 9), None);
        assert_eq!(
            read(&kept, "3", 0, 99),
            Some(("12345\n6789".to_owned(), 0, 10))
        );
        kept.keep(&CellId::new("4"), "€€€€€");
        assert_eq!(read(&kept, "4", 0, 99), Some(("€€€".to_owned(), 0, 9)));
        assert_eq!(kept.bytes, 9);
        KeptOutput::new(0).keep(&CellId::new("1"), "nothing");
    }
}
