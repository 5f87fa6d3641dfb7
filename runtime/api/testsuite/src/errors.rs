// SPDX-License-Identifier: Apache-2.0
//! Of error texts, what has to be counted; the rest is data (`cases/errors.json`).

use crate::fixture::{Fixture, MakeProvider};

use pretty_assertions::assert_eq;

/// Of a long line the part around the error is shown, with the caret under it.
pub async fn a_long_source_line_is_shown_in_part(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let long = format!("/* {} */ f(1 +* 2);", "ü".repeat(5_000));
    let error = fixture.error(&long).await;
    assert!(error.starts_with("SyntaxError: "), "{error}");
    assert!(error.len() < 1_000, "{} bytes", error.len());
    let lines: Vec<Vec<char>> = error.lines().map(|line| line.chars().collect()).collect();
    let [.., shown, caret] = lines.as_slice() else {
        panic!("{error}")
    };
    let column = caret.iter().position(|c| *c == '^').expect("a caret");
    assert_eq!(shown.get(column), Some(&'*'), "{error}");
    fixture.end().await;
}
