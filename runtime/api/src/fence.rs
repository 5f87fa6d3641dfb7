// SPDX-License-Identifier: Apache-2.0
//! The Markdown fence that models put around a source.

use std::borrow::Cow;

const FENCE: &str = "```";

/// The source without a Markdown fence around all of it; blanks take its place, so that lines and
/// columns (in UTF-16 units) stay. No JavaScript that runs begins with three backticks: that would
/// call a string.
///
/// The engine does this to every source. Who puts text in front of one does it before, since the
/// fence is then no longer around all of it.
///
/// ```
/// assert_eq!(code_mode_api::without_fence("```js\na()\n```"), "     \na()\n   ");
/// assert_eq!(code_mode_api::without_fence("a()"), "a()");
/// ```
pub fn without_fence(source: &str) -> Cow<'_, str> {
    inside(source).map_or(Cow::Borrowed(source), Cow::Owned)
}

fn inside(source: &str) -> Option<String> {
    let fenced = source.trim();
    let ticks = fenced.len() - fenced.trim_start_matches('`').len();
    if ticks < FENCE.len() {
        return None;
    }
    let start = source.len() - source.trim_start().len();
    let code = start + fenced.find('\n')?;
    let language = source.get(start + ticks..code)?;
    let code_and_end = source.get(code..)?.trim_end();
    let code_only = code_and_end.strip_suffix(fenced.get(..ticks)?)?;
    // The end of a fence stands on a line of its own.
    let last_line = code_only.rsplit('\n').next()?;
    if language.contains('`') || !last_line.trim().is_empty() {
        return None;
    }
    let mut text = blanks(source.get(..code)?);
    text.push_str(code_only);
    text.push_str(&blanks(source.get(code + code_only.len()..)?));
    Some(text)
}

/// As many blanks as the text has UTF-16 units, with its line ends.
fn blanks(text: &str) -> String {
    let blank = |unit: u16| match unit {
        0x0a => '\n',
        0x0d => '\r',
        _ => ' ',
    };
    text.encode_utf16().map(blank).collect()
}

#[cfg(test)]
mod tests {
    use super::without_fence;

    #[test]
    fn a_fence_around_the_whole_source_becomes_blanks() {
        for (source, expect) in [
            ("```\na\n```", "   \na\n   "),
            ("```js\na()\nb()\n```\n", "     \na()\nb()\n   \n"),
            (
                "\n  ```typescript\r\na\r\n  ``` ",
                "\n               \r\na\r\n      ",
            ),
            ("````ts\n`a`\n````", "      \n`a`\n    "),
            ("```js\n```", "     \n   "),
        ] {
            assert_eq!(without_fence(source), expect, "{source:?}");
        }
    }

    #[test]
    fn anything_else_stays() {
        for source in [
            "",
            "a",
            "```",
            "``` a ```",
            "```js\na",
            "a\n```js\nb\n```",
            "```js\na\n```\nb",
            "``\na\n``",
            "```js\na```",
            "~~~\na\n~~~",
            "`a`",
        ] {
            assert_eq!(without_fence(source), source);
        }
    }
}
