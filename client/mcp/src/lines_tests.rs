// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use rmcp::model::NumberOrString;

use super::*;

#[track_caller]
fn check_id(text: &str, expected: Option<NumberOrString>) {
    // A line comes in parts of any length.
    for length in [1, 2, 3, 7, text.len()] {
        let mut scanner = IdScanner::default();
        for part in text.as_bytes().chunks(length) {
            scanner.add(part);
        }
        assert_eq!(scanner.id(), expected, "{text} by {length}");
    }
}

#[test]
fn the_id_of_an_answer_is_found_wherever_it_stands() {
    let seven = Some(NumberOrString::Number(7));
    check_id(
        r#"{"jsonrpc":"2.0","id":7,"result":{"id":8}}"#,
        seven.clone(),
    );
    check_id(
        r#"{"result":{"id":8,"x":[{"id":9}]},"jsonrpc":"2.0", "id" : 7 }"#,
        seven.clone(),
    );
    check_id(r#"{"result":"\"id\":8, } {","id":7}"#, seven);
    check_id(
        r#"{"result":["\\\\","\\\"}",{"id":8}],"id":7}"#,
        Some(NumberOrString::Number(7)),
    );
    let text = Some(NumberOrString::String("a\"b".into()));
    check_id(r#"{"id":"a\"b","result":1}"#, text);
    check_id(r#"{"result":{"id":8}}"#, None);
    check_id(r#"{"key":"id","result":3}"#, None);
}

#[test]
fn an_id_is_kept_up_to_its_bound() {
    // The quotes count as well.
    let longest = "x".repeat(MAX_ID_BYTES - 2);
    let found = Some(NumberOrString::String(longest.as_str().into()));
    check_id(&format!(r#"{{"id":"{longest}","x":1}}"#), found);
    check_id(&format!(r#"{{"id":"{longest}x","x":1}}"#), None);
    check_id(&format!(r#"{{"id":{},"x":1}}"#, "1".repeat(10_000)), None);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_by_its_length_and_id() {
    let input = b"{\"id\":12}\n{\"id\":1234}\n\n{\"id\":34}\nhalf";
    let mut lines = Lines::new(&input[..], 9);
    let mut read = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        read.push(line);
    }
    assert_eq!(
        read,
        [
            Line::Whole(b"{\"id\":12}".to_vec()),
            Line::TooLong {
                bytes: 11,
                id: Some(NumberOrString::Number(1234))
            },
            Line::Whole(Vec::new()),
            Line::Whole(b"{\"id\":34}".to_vec()),
        ]
    );
}
