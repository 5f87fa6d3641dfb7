// SPDX-License-Identifier: Apache-2.0
//! What a session answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A session's id. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Takes a session id; `None` when it is empty.
    pub fn new(id: impl AsRef<str>) -> Option<Self> {
        let id = id.as_ref();
        (!id.is_empty()).then(|| Self(Arc::from(id)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A cell's id within its session. Opaque to embedders.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId(Arc<str>);

impl CellId {
    /// Takes a cell id as a session gave it.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(Arc::from(id.as_ref()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How closely a model should look at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDetail {
    /// The model chooses.
    Auto,
    /// A coarse look.
    Low,
    /// A close look; what `image` gives when the script names none.
    High,
    /// The image as it is.
    Original,
}

impl ImageDetail {
    /// Its name, as scripts and the wire write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Low => "low",
            Self::High => "high",
            Self::Original => "original",
        }
    }
}

/// One piece of a cell's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentItem {
    /// Text.
    Text(String),
    /// An image as a `data:` URI.
    Image {
        /// The `data:` URI.
        image_url: String,
        /// How closely to look at it, if the script said.
        detail: Option<ImageDetail>,
    },
    /// Sound as a `data:` URI.
    Audio {
        /// The `data:` URI.
        audio_url: String,
    },
}

/// Where a cell stands as of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellStatus {
    /// The cell runs on; the response holds the output since the last one.
    Yielded,
    /// The cell has ended; `error_text` is set when the script failed.
    Completed {
        /// Name, message and stack of the failure, or the limit that ended the cell.
        error_text: Option<String>,
    },
    /// The cell was terminated on request.
    Terminated,
}

/// Timings that a host may report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellTimings {
    /// How long the host worked on the cell, if it said.
    pub host_duration: Option<Duration>,
    /// How long a finished result waited for its observer, if the host said.
    pub result_buffered_for: Option<Duration>,
}

/// Said once, with the first response after a session's host was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateLost {
    /// The session's generation that is gone; the first is 1.
    pub lost_generation: u64,
    /// Why the host was lost.
    pub cause: String,
    /// What was put back of the session's stored values; `None` when nothing was, because nobody keeps
    /// a copy. Running cells are always lost.
    pub restored: Option<RestoredStore>,
}

/// Stored values that were put back from a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredStore {
    /// How many.
    pub values: usize,
    /// Whether the copy was made after the last cell that was seen to end: if not, what the last ones
    /// have stored may be missing.
    pub is_current: bool,
}

/// What an observer of a cell gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellResponse {
    /// The cell.
    pub cell_id: CellId,
    /// Where the cell stands.
    pub status: CellStatus,
    /// The output since the last response, in the order in which the script made it.
    pub content_items: Vec<ContentItem>,
    /// What the host measured.
    pub timings: CellTimings,
    /// Set once when stored values and running cells of this session were lost before this cell.
    pub state_lost: Option<StateLost>,
}
