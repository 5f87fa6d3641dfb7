// SPDX-License-Identifier: Apache-2.0
//! A source in which ranges become blanks, without a line or a column changing.

use std::ops::Range;

/// A byte that stays as it is.
const KEPT: u8 = 0;

/// A byte that becomes a blank. Any other mark stands for itself.
const BLANK: u8 = b' ';

/// A source and what becomes of each of its bytes.
pub(super) struct Blanks<'a> {
    source: &'a str,
    marks: Vec<u8>,
}

impl<'a> Blanks<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self {
            source,
            marks: vec![KEPT; source.len()],
        }
    }

    /// Makes a range blank; what was put into it before stays.
    pub(super) fn blank(&mut self, range: Range<usize>) {
        for mark in self.marks.get_mut(range).into_iter().flatten() {
            if *mark == KEPT {
                *mark = BLANK;
            }
        }
    }

    /// Puts an ASCII character in the place of the one that begins here.
    pub(super) fn put(&mut self, at: usize, character: u8) {
        if let Some(mark) = self.marks.get_mut(at) {
            *mark = character;
        }
    }

    /// The source with its blanks. Line ends stay, and each character takes as many UTF-16 units as before,
    /// which are V8's columns.
    pub(super) fn finish(self) -> String {
        let mut text = String::with_capacity(self.source.len());
        for (at, character) in self.source.char_indices() {
            let mark = self.marks.get(at).copied().unwrap_or(KEPT);
            let ends_line = matches!(character, '\n' | '\r' | '\u{2028}' | '\u{2029}');
            match mark {
                KEPT => text.push(character),
                BLANK if ends_line => text.push(character),
                mark => {
                    text.push(char::from(mark));
                    text.extend(std::iter::repeat_n(' ', character.len_utf16() - 1));
                }
            }
        }
        text
    }
}
