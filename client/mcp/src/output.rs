// SPDX-License-Identifier: Apache-2.0
//! What a cell puts out, as content of an MCP result: cut to a budget, and kept so that what was cut can
//! be read.

use std::borrow::Borrow;
use std::collections::VecDeque;

use code_mode_api::{CellId, ContentItem};
use rmcp::model::ContentBlock;
use serde_json::Value;

/// Bytes of output that a session keeps for reading it again; what is oldest goes first.
pub const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Cells whose output a session keeps.
pub const MAX_KEPT_CELLS: usize = 64;

/// Of a text that is cut, the part of the budget that its beginning gets; its end gets the rest, since
/// results and errors stand there.
const HEAD_SHARE: (usize, usize) = (3, 4);

/// The texts of the last cells of a session.
#[derive(Default)]
pub struct Kept {
    cells: VecDeque<(CellId, String)>,
    bytes: usize,
}

impl Kept {
    /// Adds text of a cell and gives the offset at which it stands in all of the cell's text.
    fn add(&mut self, cell: &CellId, text: &str) -> usize {
        if !self.cells.iter().any(|(known, _)| known == cell) {
            if text.is_empty() {
                return 0;
            }
            self.cells.push_back((cell.clone(), String::new()));
        }
        let mut offset = 0;
        if let Some((_, kept)) = self.cells.iter_mut().find(|(known, _)| known == cell) {
            offset = kept.len();
            kept.push_str(text);
            self.bytes += text.len();
        }
        while self.cells.len() > MAX_KEPT_CELLS || self.bytes > MAX_KEPT_BYTES {
            let Some((_, gone)) = self.cells.pop_front() else {
                break;
            };
            self.bytes -= gone.len();
        }
        offset
    }

    /// At most `limit` bytes of a cell's text from `offset` on, and the length of all of it.
    pub fn read(&self, cell: &CellId, offset: usize, limit: usize) -> Option<(&str, usize)> {
        let (_, text) = self.cells.iter().find(|(known, _)| known == cell)?;
        let start = floor(text, offset.min(text.len()));
        let end = floor(text, start.saturating_add(limit).min(text.len()));
        // A limit below one character still gets on.
        let end = if end == start && limit > 0 {
            ceil(text, start + 1)
        } else {
            end
        };
        Some((text.get(start..end).unwrap_or_default(), text.len()))
    }

    /// The cells whose text is kept, with its length.
    pub fn cells(&self) -> impl Iterator<Item = (&CellId, usize)> {
        self.cells.iter().map(|(cell, text)| (cell, text.len()))
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    while at < text.len() && !text.is_char_boundary(at) {
        at += 1;
    }
    at.min(text.len())
}

/// The blocks of a response.
pub struct Blocks {
    /// What the model gets.
    pub content: Vec<ContentBlock>,
    /// The last text that is a JSON object.
    pub structured: Option<Value>,
}

/// Makes blocks of a cell's output with at most `budget` bytes of text; the middle of more is cut, and a
/// note says how to read it.
pub fn blocks(
    cell: &CellId,
    items: &[impl Borrow<ContentItem>],
    budget: usize,
    kept: &mut Kept,
) -> Blocks {
    let items: Vec<&ContentItem> = items.iter().map(Borrow::borrow).collect();
    let texts: Vec<&str> = items
        .iter()
        .filter_map(|item| match item {
            ContentItem::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let mut all = texts.join("\n");
    if !all.is_empty() {
        all.push('\n');
    }
    let base = kept.add(cell, &all);
    let total = all.len();
    let (head, tail) = if total <= budget {
        (total, 0)
    } else {
        let head = budget / HEAD_SHARE.1 * HEAD_SHARE.0;
        (head, budget - head)
    };
    let structured = texts.iter().rev().find_map(|text| object(text));
    let mut content = Vec::new();
    let mut at = 0;
    let mut noted = false;
    for item in items {
        match item {
            ContentItem::Text(text) => {
                let begins = at;
                at += text.len() + 1;
                if at <= head || (total <= budget) || begins >= total - tail {
                    content.push(ContentBlock::text(text.clone()));
                    continue;
                }
                let front = floor(text, head.saturating_sub(begins).min(text.len()));
                let back_from = (total - tail).saturating_sub(begins).min(text.len());
                let back_from = ceil(text, back_from.max(front));
                if front > 0 {
                    content.push(ContentBlock::text(text[..front].to_owned()));
                }
                if !noted {
                    noted = true;
                    content.push(ContentBlock::text(format!(
                        "[{} of {total} bytes were cut here; to read on: wait with cell_id \"{cell}\" and offset {}]",
                        total - head - tail,
                        base + begins + front,
                    )));
                }
                if back_from < text.len() {
                    content.push(ContentBlock::text(text[back_from..].to_owned()));
                }
            }
            ContentItem::Image { image_url, .. } => {
                content.push(media(image_url, |data, kind| {
                    ContentBlock::image(data, kind)
                }));
            }
            ContentItem::Audio { audio_url } => {
                content.push(media(audio_url, |data, kind| {
                    ContentBlock::audio(data, kind)
                }));
            }
        }
    }
    Blocks {
        content,
        structured,
    }
}

fn object(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str::<Value>(text)
        .ok()
        .filter(Value::is_object)
}

/// The block of a base64 `data:` URI; any other URI stays a text.
fn media(uri: &str, block: impl Fn(&str, &str) -> ContentBlock) -> ContentBlock {
    let parts = uri
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(','))
        .and_then(|(kind, data)| Some((kind.strip_suffix(";base64")?, data)));
    match parts {
        Some((kind, data)) => {
            let kind = kind.split(';').next().unwrap_or_default();
            block(
                data,
                if kind.is_empty() {
                    "application/octet-stream"
                } else {
                    kind
                },
            )
        }
        None => ContentBlock::text(uri),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    fn texts(blocks: &Blocks) -> Vec<&str> {
        blocks
            .content
            .iter()
            .map(|block| &*block.as_text().unwrap().text)
            .collect()
    }

    fn text(text: &str) -> ContentItem {
        ContentItem::Text(text.to_owned())
    }

    #[test]
    fn output_becomes_blocks_in_order() {
        let items = [
            text("a"),
            ContentItem::Image {
                image_url: "data:image/png;base64,AA==".to_owned(),
                detail: None,
            },
            ContentItem::Audio {
                audio_url: "data:audio/wav;x=1;base64,AB==".to_owned(),
            },
            ContentItem::Image {
                image_url: "data:text/plain,odd".to_owned(),
                detail: None,
            },
        ];
        let blocks = blocks(&CellId::new("1"), &items, 100, &mut Kept::default());
        assert_eq!(
            blocks.content,
            [
                ContentBlock::text("a"),
                ContentBlock::image("AA==", "image/png"),
                ContentBlock::audio("AB==", "audio/wav"),
                ContentBlock::text("data:text/plain,odd"),
            ]
        );
    }

    #[test]
    fn the_last_object_is_the_structured_content() {
        let items = [
            text("{\"a\":1}"),
            text("{\"b\":2}"),
            text("[3]"),
            text("{no"),
        ];
        let blocks = blocks(&CellId::new("1"), &items, 100, &mut Kept::default());
        assert_eq!(blocks.structured, Some(serde_json::json!({"b": 2})));
    }

    #[test]
    fn the_middle_is_cut_and_can_be_read_again() {
        let mut kept = Kept::default();
        let cell = CellId::new("7");
        blocks(&cell, &[text("before")], 100, &mut kept);
        let long: String = (0..100).map(|number| format!("{number:04} ")).collect();
        let made = blocks(
            &cell,
            &[text("first"), text(&long), text("last")],
            40,
            &mut kept,
        );
        let shown = texts(&made);
        assert_eq!(shown.first(), Some(&"first"));
        assert_eq!(shown.last(), Some(&"last"));
        assert!(shown[1].starts_with("0000 0001"), "{shown:?}");
        let note = shown
            .iter()
            .find(|text| text.contains("were cut here"))
            .unwrap();
        let offset: usize = note
            .split("offset ")
            .nth(1)
            .and_then(|rest| rest.trim_end_matches(']').parse().ok())
            .unwrap();
        let (rest, total) = kept.read(&cell, offset, usize::MAX).unwrap();
        assert_eq!(
            total,
            "before\nfirst\n".len() + long.len() + 1 + "last\n".len()
        );
        assert!(rest.ends_with("0099 \nlast\n"), "{rest}");
        assert_eq!(
            format!("first\n{}{rest}", shown[1]),
            format!("first\n{long}\nlast\n")
        );
    }

    #[test]
    fn of_a_text_that_is_cut_the_beginning_gets_its_share_and_the_end_the_rest() {
        let budget = 400;
        let long = format!("{}{}", "a".repeat(1_000), "b".repeat(1_000));
        let made = blocks(
            &CellId::new("1"),
            &[text(&long)],
            budget,
            &mut Kept::default(),
        );
        let shown = texts(&made);
        let head = budget * HEAD_SHARE.0 / HEAD_SHARE.1;
        assert_eq!(shown.first(), Some(&&*"a".repeat(head)));
        // The end of the line counts as well.
        assert_eq!(shown.last(), Some(&&*"b".repeat(budget - head - 1)));
    }

    #[test]
    fn no_cut_tears_a_character_apart() {
        for budget in 0..40 {
            let mut kept = Kept::default();
            let cell = CellId::new("1");
            let made = blocks(
                &cell,
                &[text("ääää"), text(&"ü€𝄞".repeat(9))],
                budget,
                &mut kept,
            );
            let shown: usize = texts(&made)
                .iter()
                .filter(|text| !text.contains("were cut here"))
                .map(|text| text.len())
                .sum();
            assert!(shown <= budget.max(4) + 8, "{budget}: {shown}");
            // Reading in small steps comes to the end.
            let (mut at, mut steps) = (0, 0);
            while let Some((part, total)) =
                kept.read(&cell, at, 3).filter(|(part, _)| !part.is_empty())
            {
                at += part.len();
                steps += 1;
                assert!(at <= total && steps < 1_000);
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut kept = Kept::default();
        for number in 0..MAX_KEPT_CELLS + 3 {
            blocks(&CellId::new(number.to_string()), &[text("x")], 1, &mut kept);
        }
        assert_eq!(kept.cells().count(), MAX_KEPT_CELLS);
        assert!(kept.read(&CellId::new("0"), 0, 1).is_none());
        blocks(
            &CellId::new("big"),
            &[text(&"x".repeat(MAX_KEPT_BYTES))],
            1,
            &mut kept,
        );
        assert_eq!((kept.cells().count(), kept.bytes), (0, 0));
        let half = "x".repeat(MAX_KEPT_BYTES / 2 - 1);
        for cell in ["a", "b", "c"] {
            blocks(&CellId::new(cell), &[text(&half)], 1, &mut kept);
        }
        let cells: Vec<&str> = kept.cells().map(|(cell, _)| cell.as_str()).collect();
        assert_eq!(cells, ["b", "c"]);
    }
}
