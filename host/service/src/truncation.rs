// SPDX-License-Identifier: Apache-2.0
//! Output cut to the tokens that a request allows, byte for byte as the public host does it.
//!
//! The rules were observed on that host; `testdata/truncation.json` holds what it gave, and
//! `testdata/take_goldens.py` says how that was taken.
//! 1. A script's error becomes a text of the output.
//! 2. Of more than [`MAX_RESPONSE_TEXT_BYTES`](crate::MAX_RESPONSE_TEXT_BYTES) of text the middle
//!    is left out (`bounded.rs`).
//! 3. Output of texts alone, joined by newlines, is left as it is when it is short enough;
//!    otherwise its middle is cut out and a warning put in front.
//! 4. Output with images or sound is gone through in order: texts are kept while they fit, the
//!    first one that does not is cut, those after it are counted. Sound is kept if it fits, images
//!    always.

use code_mode_api::ContentItem;

use crate::assembly::Assembly;
use crate::bounded::{Bounded, Entry, bounded};
use crate::cut::{BYTES_PER_TOKEN, cut, tokens};

/// Tokens of output that a request gets which does not say.
pub const DEFAULT_MAX_OUTPUT_TOKENS: u64 = 10_000;

/// Output that was made short enough.
#[derive(Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The output.
    pub items: Vec<ContentItem>,
    /// All text of the output, its items joined by newlines; only when some of it is missing from
    /// `items`.
    pub whole_text: Option<String>,
}

/// Cuts the output of one response to `max_tokens`, by default [`DEFAULT_MAX_OUTPUT_TOKENS`].
///
/// `error_text` is the error of a cell that has failed; it becomes a text of the output.
/// The text that is left may be longer than the tokens allow by what says how much is missing.
pub fn truncate(
    mut items: Vec<ContentItem>,
    error_text: Option<&str>,
    max_tokens: Option<u64>,
) -> Truncated {
    if let Some(error) = error_text {
        items.push(ContentItem::Text(format!("Script error:\n{error}")));
    }
    let max_tokens = max_tokens.unwrap_or(DEFAULT_MAX_OUTPUT_TOKENS);
    let max_tokens = usize::try_from(max_tokens).unwrap_or(usize::MAX);
    let max_bytes = max_tokens.saturating_mul(BYTES_PER_TOKEN);
    let has_media = items.iter().any(|item| !is_text(item));
    let whole = joined_bytes(&items);
    let is_short = whole <= max_bytes && whole <= crate::MAX_RESPONSE_TEXT_BYTES;
    // Each item by itself is rounded up to tokens, and sound takes some as well.
    let fits = is_short && (!has_media || cost(&items) <= max_tokens);
    if fits && !has_media {
        return Truncated {
            items,
            whole_text: None,
        };
    }
    let whole_text = (!fits).then(|| joined(&items));
    let bounded = bounded(items);
    let is_cut = bounded.is_cut;
    let (assembly, is_cut_further) = if has_media {
        one_by_one(bounded, max_tokens)
    } else {
        all_together(bounded, max_bytes)
    };
    Truncated {
        items: assembly.finish(),
        whole_text: whole_text.filter(|_| is_cut || is_cut_further),
    }
}

fn is_text(item: &ContentItem) -> bool {
    matches!(item, ContentItem::Text(_))
}

fn texts(items: &[ContentItem]) -> impl Iterator<Item = &str> {
    items.iter().filter_map(|item| match item {
        ContentItem::Text(text) => Some(text.as_str()),
        ContentItem::Image { .. } | ContentItem::Audio { .. } => None,
    })
}

/// Tokens that the items take when each is counted by itself.
fn cost(items: &[ContentItem]) -> usize {
    items.iter().fold(0, |cost, item| {
        cost.saturating_add(match item {
            ContentItem::Text(text) => tokens(text.len()),
            ContentItem::Audio { audio_url } => tokens(audio_url.len()),
            ContentItem::Image { .. } => 0,
        })
    })
}

/// The texts joined by newlines; nothing stands in front of the first that is not empty.
fn joined(items: &[ContentItem]) -> String {
    let mut all = String::with_capacity(joined_bytes(items));
    for text in texts(items) {
        if !all.is_empty() {
            all.push('\n');
        }
        all.push_str(text);
    }
    all
}

/// Bytes of [`joined`].
fn joined_bytes(items: &[ContentItem]) -> usize {
    texts(items).fold(0, |bytes, text| bytes + usize::from(bytes > 0) + text.len())
}

/// Output of texts alone. The flag says whether something was cut.
fn all_together(bounded: Bounded, max_bytes: usize) -> (Assembly, bool) {
    let mut all = String::new();
    let mut gaps = Vec::new();
    let mut gap_ahead = None;
    for entry in &bounded.entries {
        match entry {
            Entry::Gap(gap) => gap_ahead = Some(*gap),
            Entry::Media(_) => {}
            Entry::Text { text, gap } => {
                if !all.is_empty() {
                    all.push('\n');
                }
                gaps.extend(gap_ahead.take().map(|gap| (all.len(), gap)));
                gaps.extend(gap.map(|(at, gap)| (all.len() + at, gap)));
                all.push_str(text);
            }
        }
    }
    let mut assembly = Assembly::default();
    if all.len() <= max_bytes {
        for entry in bounded.entries {
            match entry {
                Entry::Gap(gap) => assembly.gap(gap),
                Entry::Media(item) => assembly.item(item),
                Entry::Text { text, gap } => assembly.text(text, gap.into_iter().collect()),
            }
        }
        return (assembly, false);
    }
    let (count, lines) = (tokens(all.len()), all.lines().count());
    let warning = format!(
        "Warning: truncated output (original token count: {count})\nTotal output lines: {lines}\n\n"
    );
    let cut = cut(&all, max_bytes);
    for (at, _) in &mut gaps {
        *at = warning.len() + cut.place(*at);
    }
    assembly.text(warning + &cut.text, gaps);
    (assembly, true)
}

/// Output with images or sound. The flag says whether text was cut.
fn one_by_one(bounded: Bounded, max_tokens: usize) -> (Assembly, bool) {
    let mut left = max_tokens;
    let (mut omitted_texts, mut omitted_audio) = (0, 0);
    let mut is_cut = false;
    let mut assembly = Assembly::default();
    for entry in bounded.entries {
        match entry {
            Entry::Gap(gap) => assembly.gap(gap),
            Entry::Text { text, gap } => {
                let cost = tokens(text.len());
                if cost == 0 {
                    continue;
                }
                is_cut |= cost > left;
                if cost <= left {
                    left -= cost;
                    assembly.text(text, gap.into_iter().collect());
                } else if left > 0 {
                    let cut = cut(&text, left * BYTES_PER_TOKEN);
                    left = 0;
                    let gap = gap.map(|(at, gap)| (cut.place(at), gap));
                    assembly.text(cut.text, gap.into_iter().collect());
                } else {
                    omitted_texts += 1;
                    if let Some((_, gap)) = gap {
                        assembly.gap(gap);
                    }
                }
            }
            Entry::Media(ContentItem::Audio { audio_url }) => {
                let cost = tokens(audio_url.len());
                if cost <= left {
                    left -= cost;
                    assembly.item(ContentItem::Audio { audio_url });
                } else {
                    omitted_audio += 1;
                }
            }
            Entry::Media(item) => assembly.item(item),
        }
    }
    for (count, kind) in [(omitted_texts, "text"), (omitted_audio, "audio")] {
        if count > 0 {
            let notice = format!("[omitted {count} {kind} items ...]");
            assembly.item(ContentItem::Text(notice));
        }
    }
    (assembly, is_cut)
}

#[cfg(test)]
#[path = "truncation_tests.rs"]
mod tests;
