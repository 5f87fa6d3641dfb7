// SPDX-License-Identifier: Apache-2.0
//! The public host's own output, and what holds for any output.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What `testdata/take_goldens.py` wrote.
const GOLDENS: &str = include_str!("../testdata/truncation.json");

fn expanded(pieces: &Value) -> String {
    let pieces = pieces.as_array().expect("a text is a list of pieces");
    pieces
        .iter()
        .map(|piece| match piece {
            Value::String(text) => text.clone(),
            piece => {
                let count = piece[1].as_u64().expect("a count") as usize;
                piece[0].as_str().expect("a text").repeat(count)
            }
        })
        .collect()
}

fn items_of(items: &Value) -> Vec<ContentItem> {
    let items = items.as_array().expect("a list of items");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    items
        .iter()
        .map(|item| {
            if let Some(pieces) = item.get("text") {
                ContentItem::Text(expanded(pieces))
            } else if let Some(url) = item.get("image") {
                ContentItem::Image {
                    image_url: text(url),
                    detail: None,
                }
            } else {
                ContentItem::Audio {
                    audio_url: text(&item["audio"]),
                }
            }
        })
        .collect()
}

/// A long text in few words, for the message of a test that fails.
fn shown(items: &[ContentItem]) -> Vec<String> {
    let short = |text: &str| {
        let start = text.floor_char_boundary(160);
        let end = text.ceil_char_boundary(text.len().saturating_sub(60));
        match text.get(start..end) {
            Some(_) if start < end => {
                format!("{}: {} .. {}", text.len(), &text[..start], &text[end..])
            }
            _ => format!("{}: {text}", text.len()),
        }
    };
    items
        .iter()
        .map(|item| match item {
            ContentItem::Text(text) => short(text),
            ContentItem::Image { image_url, .. } => format!("image {image_url}"),
            ContentItem::Audio { audio_url } => format!("audio {audio_url}"),
        })
        .collect()
}

#[test]
fn output_is_cut_byte_for_byte_as_the_public_host_does_it() {
    let cases: Vec<Value> = serde_json::from_str(GOLDENS).unwrap();
    assert!(cases.len() > 300, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let error = case.get("error").filter(|error| !error.is_null());
        let error = error.map(expanded);
        let tokens = case["tokens"].as_u64();
        let expected = items_of(&case["expected"]);
        let given = truncate(items_of(&case["items"]), error.as_deref(), tokens).items;
        if given != expected {
            wrong.push(format!(
                "case {number}, {tokens:?} tokens, {:#?}\nexpected {:#?}\ngiven {:#?}",
                shown(&items_of(&case["items"])),
                shown(&expected),
                shown(&given)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ:\n{}",
        wrong.len(),
        cases.len(),
        wrong[..wrong.len().min(4)].join("\n\n")
    );
}

fn item() -> impl Strategy<Value = ContentItem> {
    prop_oneof![
        6 => proptest::collection::vec(
            prop_oneof![Just('a'), Just('\n'), Just('é'), Just('€'), Just('😀')],
            0..80
        )
        .prop_map(|characters| ContentItem::Text(characters.into_iter().collect())),
        1 => Just(ContentItem::Image { image_url: "data:,i".to_owned(), detail: None }),
        1 => "[a-z]{0,40}".prop_map(|audio_url| ContentItem::Audio { audio_url }),
    ]
}

/// What of a text is no notice of ours, in bytes: everything around the mark in its middle.
fn own_bytes(items: &[ContentItem]) -> usize {
    texts(items)
        .filter(|text| !text.starts_with("[omitted "))
        .map(|text| {
            let text = match text.strip_prefix("Warning: truncated output") {
                Some(rest) => rest.split_once("\n\n").map_or("", |(_, rest)| rest),
                None => text,
            };
            match (text.find('…'), text.rfind('…')) {
                (Some(start), Some(end)) => start + text.len() - end - '…'.len_utf8(),
                _ => text.len(),
            }
        })
        .sum()
}

proptest! {
    #[test]
    fn no_output_is_over_its_budget(
        items in proptest::collection::vec(item(), 0..9),
        error in proptest::option::of("[a-zé€\n]{0,30}"),
        tokens in 0_u64..60,
    ) {
        let truncated = truncate(items.clone(), error.as_deref(), Some(tokens));
        let budget = tokens as usize * BYTES_PER_TOKEN;
        prop_assert!(
            own_bytes(&truncated.items) <= budget,
            "{} bytes: {:?}", own_bytes(&truncated.items), truncated.items
        );
        let images = |items: &[ContentItem]| {
            items.iter().filter(|item| matches!(item, ContentItem::Image { .. })).count()
        };
        prop_assert_eq!(images(&truncated.items), images(&items));
        // Something is missing exactly when the whole is there to be kept.
        let mut whole = items;
        whole.extend(error.map(|error| ContentItem::Text(format!("Script error:\n{error}"))));
        let left = texts(&truncated.items)
            .filter(|text| !text.is_empty() && !text.ends_with(" audio items ...]"));
        let is_whole = left.eq(texts(&whole).filter(|text| !text.is_empty()));
        prop_assert_eq!(truncated.whole_text.is_none(), is_whole);
        if let Some(text) = truncated.whole_text {
            prop_assert_eq!(text, joined(&whole));
        }
    }

    #[test]
    fn no_response_holds_more_text_than_the_bound(
        sizes in proptest::collection::vec((0_usize..700_000, 0_usize..3), 1..6),
    ) {
        let items: Vec<ContentItem> = sizes
            .iter()
            .map(|(size, letter)| {
                let letter = ["a", "€", "😀"][*letter];
                ContentItem::Text(letter.repeat(size / letter.len()))
            })
            .collect();
        let truncated = truncate(items, None, Some(u64::MAX));
        let own: usize = texts(&truncated.items)
            .filter(|text| !text.starts_with("[Code Mode"))
            .map(str::len)
            .sum();
        prop_assert!(own <= crate::MAX_RESPONSE_TEXT_BYTES);
    }
}
