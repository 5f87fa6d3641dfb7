// SPDX-License-Identifier: Apache-2.0
//! Output that a host has cut, as it is read again.

use crate::CellId;

/// A request for text that was cut out of a cell's responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOutputRequest {
    /// The cell, which may have ended.
    pub cell_id: CellId,
    /// Where the part begins, in bytes of UTF-8.
    pub offset: u64,
    /// The most that is given, in bytes of UTF-8. A host may give less: there is more as long as the end of
    /// the part is before [`KeptText::total_bytes`].
    pub max_bytes: u64,
}

/// A part of what is kept of a cell's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptText {
    /// The part.
    pub text: String,
    /// Where it begins, in bytes of UTF-8: at the first character at or after the offset asked for.
    pub offset: u64,
    /// How much is kept of the cell, in bytes of UTF-8.
    pub total_bytes: u64,
}
