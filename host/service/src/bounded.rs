// SPDX-License-Identifier: Apache-2.0
//! The bound on the text of one response: its start and its end are kept, and a notice stands
//! where something is missing.

use code_mode_api::ContentItem;

/// Text of one response that is cut, bytes of UTF-8 (observed on the public host). What is between
/// its start and its end is left out, and a notice says how much that was.
pub const MAX_RESPONSE_TEXT_BYTES: usize = 1 << 20;

/// The most of [`MAX_RESPONSE_TEXT_BYTES`] that is taken from the start; the rest is the end.
const START_BYTES: usize = MAX_RESPONSE_TEXT_BYTES / 2;

/// Text that is missing at one place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Bytes that are missing.
    bytes: usize,
    /// Texts of which everything is missing, or everything that was not part of the start.
    segments: usize,
}

impl Gap {
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.segments += other.segments;
    }

    /// The item that stands where the text is missing.
    pub(crate) fn notice(self) -> ContentItem {
        self.item("")
    }

    /// The item that stands for all that is missing.
    pub(crate) fn summary(self) -> ContentItem {
        self.item("across this observation, ")
    }

    fn item(self, place: &str) -> ContentItem {
        let Self { bytes, segments } = self;
        ContentItem::Text(format!(
            "[Code Mode session output limit reached: {place}omitted {bytes} text bytes; \
             discarded {segments} text segments, 0 images, 0 audio items]"
        ))
    }
}

/// A piece of a response's output.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A text; something may be missing at a place inside of it.
    Text {
        text: String,
        gap: Option<(usize, Gap)>,
    },
    /// An image or sound.
    Media(ContentItem),
    /// Text is missing between its neighbours.
    Gap(Gap),
}

/// The output of one response within the bound.
#[derive(Debug)]
pub(crate) struct Bounded {
    pub(crate) entries: Vec<Entry>,
    /// Whether text is missing.
    pub(crate) is_cut: bool,
}

/// Where the text of one item goes.
#[derive(Clone, Copy)]
struct Split {
    /// How much of it is part of the start, in bytes.
    start: usize,
    /// Whether there is a rest, which is part of the end unless it is dropped.
    has_rest: bool,
}

/// Leaves out what is over the bound.
pub(crate) fn bounded(items: Vec<ContentItem>) -> Bounded {
    let total: usize = items.iter().map(text_bytes).sum();
    if total <= MAX_RESPONSE_TEXT_BYTES {
        let entries = items.into_iter().map(whole).collect();
        return Bounded {
            entries,
            is_cut: false,
        };
    }
    let mut entries = Entries::default();
    let mut start = Some(START_BYTES);
    // What the end cannot hold is taken away from its front.
    let mut excess = total - MAX_RESPONSE_TEXT_BYTES;
    for item in items {
        let ContentItem::Text(text) = item else {
            entries.push(Entry::Media(item));
            continue;
        };
        let split = split(&text, &mut start);
        entries.push_text(text, split, &mut excess);
    }
    Bounded {
        entries: entries.0,
        is_cut: true,
    }
}

fn text_bytes(item: &ContentItem) -> usize {
    match item {
        ContentItem::Text(text) => text.len(),
        ContentItem::Image { .. } | ContentItem::Audio { .. } => 0,
    }
}

fn whole(item: ContentItem) -> Entry {
    match item {
        ContentItem::Text(text) => Entry::Text { text, gap: None },
        media => Entry::Media(media),
    }
}

/// How much of a text is part of the start, which has `room` bytes left; `None` once it is over.
fn split(text: &str, room: &mut Option<usize>) -> Split {
    match room {
        Some(left) if text.len() <= *left => {
            *left -= text.len();
            Split {
                start: text.len(),
                has_rest: false,
            }
        }
        Some(left) => {
            let start = text.floor_char_boundary(*left);
            *room = None;
            Split {
                start,
                has_rest: true,
            }
        }
        None => Split {
            start: 0,
            has_rest: true,
        },
    }
}

#[derive(Default)]
struct Entries(Vec<Entry>);

impl Entries {
    fn push(&mut self, entry: Entry) {
        if let (Some(Entry::Gap(last)), Entry::Gap(gap)) = (self.0.last_mut(), &entry) {
            last.add(*gap);
            return;
        }
        self.0.push(entry);
    }

    /// Adds what is left of a text once `excess` bytes were taken away from the front of the end.
    fn push_text(&mut self, mut text: String, split: Split, excess: &mut usize) {
        let rest = text.len() - split.start;
        // An empty text takes nothing away from the bound.
        if !split.has_rest || *excess == 0 || rest == 0 {
            self.push(Entry::Text { text, gap: None });
            return;
        }
        let until = text.ceil_char_boundary(split.start + rest.min(*excess));
        *excess = excess.saturating_sub(until - split.start);
        if until == text.len() {
            text.truncate(split.start);
            if !text.is_empty() {
                self.push(Entry::Text { text, gap: None });
            }
            self.push(Entry::Gap(Gap {
                bytes: rest,
                segments: 1,
            }));
            return;
        }
        let gap = Gap {
            bytes: until - split.start,
            segments: 0,
        };
        text.replace_range(split.start..until, "");
        if split.start > 0 {
            let gap = Some((split.start, gap));
            self.push(Entry::Text { text, gap });
        } else {
            self.push(Entry::Gap(gap));
            self.push(Entry::Text { text, gap: None });
        }
    }
}
