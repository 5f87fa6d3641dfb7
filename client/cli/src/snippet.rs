// SPDX-License-Identifier: Apache-2.0
//! Shows a mistake in a JSON text with its line and a mark below it.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Characters of a line that are shown, so that a file of one long line stays readable.
const SHOWN_COLUMNS: usize = 120;

/// Shows `message` with the part of `text` that it is about; `name` is where the text comes from.
pub fn show(
    name: &str,
    text: &str,
    span: std::ops::Range<usize>,
    message: &str,
    colors: bool,
) -> String {
    let renderer = if colors {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let end = span.end.min(text.len());
    // What spans lines is marked on its first line only, as far as that goes.
    let first = text.get(span.start..end).unwrap_or_default();
    let end = span.start + first.find('\n').unwrap_or(first.len());
    let group = Level::ERROR.primary_title(message).element(
        Snippet::source(text)
            .path(name)
            .annotation(AnnotationKind::Primary.span(span.start.min(text.len())..end)),
    );
    renderer
        .decor_style(DecorStyle::Ascii)
        .term_width(SHOWN_COLUMNS)
        .render(&[group])
        .to_string()
}

/// The byte offset of a line and a column as `serde_json` counts them: lines from 1, columns in bytes.
pub fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let offset = (start + column.saturating_sub(1)).min(text.len());
    text.floor_char_boundary(offset)
}

/// The bytes of the text at which a mistake of JSON itself was found.
pub fn json_error_span(text: &str, error: &serde_json::Error) -> std::ops::Range<usize> {
    let at = offset(text, error.line(), error.column());
    let next = text.get(at..).and_then(|rest| rest.chars().next());
    at..next.map_or(at, |c| at + c.len_utf8())
}

/// Shows a mistake of JSON itself.
pub fn show_json_error(name: &str, text: &str, error: &serde_json::Error, colors: bool) -> String {
    let message = format!("not JSON: {}", words(error));
    show(name, text, json_error_span(text, error), &message, colors)
}

/// What `serde_json` says, without the place, which is shown.
pub fn words(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let at = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&at).unwrap_or(&message).to_owned()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn a_mistake_is_shown_with_its_line_and_a_mark() {
        let text = "[\n  {\"name\": 1}\n]";
        let at = text.find('1').unwrap();
        let shown = show(
            "tools.json",
            text,
            at..at + 1,
            "[0].name: must be a string",
            false,
        );
        assert_eq!(
            shown,
            "error: [0].name: must be a string\n \
             --> tools.json:2:12\n  \
             |\n\
             2 |   {\"name\": 1}\n  \
             |            ^"
        );
    }

    #[test]
    fn mistakes_of_json_are_placed_also_at_the_very_end() {
        for (text, expected) in [("{,}", "--> x:1:2"), ("", "--> x:1:1"), ("[1", "--> x:1:")] {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            let shown = show_json_error("x", text, &error, false);
            assert!(
                shown.contains(expected) && shown.contains("not JSON: "),
                "{text}: {shown}"
            );
        }
    }
}
