// SPDX-License-Identifier: Apache-2.0
//! The peer's text in our errors.

/// Longest part of the peer's text that an error repeats, in bytes.
pub(crate) const MAX_QUOTED_BYTES: usize = 80;

/// As much of the peer's text as an error repeats: at most [`MAX_QUOTED_BYTES`].
pub(crate) fn quotable(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_QUOTED_BYTES)]
}
