// SPDX-License-Identifier: Apache-2.0
//! A script with text put into it, and its errors told in places of the script as it was.
//!
//! The command line adds to what is run: the arguments of a script, the scope of the prompt. Nothing
//! is ever added before a line or between lines of the script, so that lines keep their numbers;
//! columns are set right in the texts of errors.

/// The name under which a host knows the source of a cell.
const MODULE: &str = "exec_main.mjs";

/// Characters on each side of the mark below a shown line, as the host shows them.
const CONTEXT: usize = 60;

/// Text put into one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insertion {
    /// The line, from 1.
    line: usize,
    /// Where it begins in the script as it was: UTF-16 units before it in the line.
    column: usize,
    /// Its length in UTF-16 units.
    units: usize,
}

/// A script with text put into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The script as it was.
    original: String,
    /// What is run.
    text: String,
    /// Sorted by place.
    insertions: Vec<Insertion>,
}

impl Edited {
    /// A script that is run as it is.
    pub fn unchanged(original: impl Into<String>) -> Self {
        let original = original.into();
        Self {
            text: original.clone(),
            original,
            insertions: Vec::new(),
        }
    }

    /// Puts each text at its byte offset in `original`, in the order given where two share one, and
    /// `after` on lines of its own behind the end. The texts must hold no line breaks; an offset that
    /// is not between two characters puts nothing.
    pub fn new(original: &str, mut texts: Vec<(usize, String)>, after: &str) -> Self {
        texts.sort_by_key(|(offset, _)| *offset);
        let mut edited = String::with_capacity(original.len() + after.len());
        let mut insertions = Vec::with_capacity(texts.len());
        let mut copied = 0;
        for (offset, text) in texts {
            let (Some(before), Some(between)) =
                (original.get(..offset), original.get(copied..offset))
            else {
                continue;
            };
            edited.push_str(between);
            edited.push_str(&text);
            copied = offset;
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            insertions.push(Insertion {
                line: before.matches('\n').count() + 1,
                column: units(before.get(line_start..).unwrap_or_default()),
                units: units(&text),
            });
        }
        edited.push_str(original.get(copied..).unwrap_or_default());
        if !after.is_empty() {
            edited.push('\n');
            edited.push_str(after);
        }
        Self {
            original: original.to_owned(),
            text: edited,
            insertions,
        }
    }

    /// What is run.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// An error's text in terms of the script as it was: columns are set right, a shown source line is
    /// shown as it was, and what happened in the text behind the script's end is left out.
    pub fn restore(&self, error_text: &str) -> String {
        if self.text == self.original {
            return error_text.to_owned();
        }
        let last = self.original.lines().count().max(1);
        let mut restored: Vec<String> = Vec::new();
        let mut place = None;
        let mut lines = error_text.lines().peekable();
        while let Some(line) = lines.next() {
            let (text, met) = self.restore_places(line);
            if let Some((number, _)) = met
                && number > last
                && line.trim_start().starts_with("at ")
            {
                continue;
            }
            place = place.or(met);
            let marked = lines.peek().is_some_and(|next| is_mark(next));
            match place
                .and_then(|place| self.frame(line, place))
                .filter(|_| marked)
            {
                Some((shown, mark)) => {
                    restored.push(shown);
                    restored.push(mark);
                    lines.next();
                }
                None => restored.push(text),
            }
        }
        restored.join("\n")
    }

    /// Sets the columns of every `exec_main.mjs:LINE:COLUMN` right, and gives the first such place.
    fn restore_places(&self, line: &str) -> (String, Option<(usize, usize)>) {
        let mut text = String::with_capacity(line.len());
        let mut first = None;
        let mut rest = line;
        while let Some(at) = rest.find(MODULE) {
            let (before, from) = rest.split_at(at + MODULE.len());
            text.push_str(before);
            rest = from;
            let Some((number, column, length)) = place(from) else {
                continue;
            };
            let column = self.column(number, column);
            first = first.or(Some((number, column)));
            text.push_str(&format!(":{number}:{column}"));
            rest = from.get(length..).unwrap_or_default();
        }
        text.push_str(rest);
        (text, first)
    }

    /// The column, from 1, that a column of the text that is run has in the script as it was.
    fn column(&self, line: usize, column: usize) -> usize {
        let mut left = column.saturating_sub(1);
        for insertion in self
            .insertions
            .iter()
            .filter(|insertion| insertion.line == line)
        {
            if left < insertion.column {
                break;
            }
            // A place within what was put in is told as the place where it was put in.
            let inside = (left - insertion.column).min(insertion.units);
            left -= inside;
        }
        left + 1
    }

    /// A line that the host shows as `12 | source`, and the mark below it, from the script as it was.
    fn frame(&self, shown: &str, (number, column): (usize, usize)) -> Option<(String, String)> {
        let gutter = format!("{number} | ");
        if !shown.starts_with(&gutter) {
            return None;
        }
        let source = self.original.lines().nth(number.checked_sub(1)?)?;
        let mut counted = 0;
        let before = source
            .chars()
            .take_while(|c| {
                counted += c.len_utf16();
                counted < column
            })
            .count();
        let skipped = before.saturating_sub(CONTEXT);
        let part: String = source.chars().skip(skipped).take(2 * CONTEXT).collect();
        let blank = " ".repeat(gutter.len() + before - skipped);
        Some((
            format!("{gutter}{}", part.replace('\t', " ")),
            format!("{blank}^"),
        ))
    }
}

fn is_mark(line: &str) -> bool {
    line.trim_start() == "^"
}

/// Reads `:LINE:COLUMN` and gives both with the length of the text.
fn place(text: &str) -> Option<(usize, usize, usize)> {
    let (line, rest) = number(text.strip_prefix(':')?)?;
    let (column, rest) = number(rest.strip_prefix(':')?)?;
    Some((line, column, text.len() - rest.len()))
}

fn number(text: &str) -> Option<(usize, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn an_unchanged_script_keeps_its_errors() {
        let error = "Error: x\n    at exec_main.mjs:1:7";
        assert_eq!(Edited::unchanged("throw x").restore(error), error);
    }

    #[test]
    fn columns_are_those_of_the_script_as_it_was() {
        let edited = Edited::new(
            "a();\nb(); c();",
            vec![(0, "one;".into()), (9, ";save();".into())],
            "",
        );
        assert_eq!(edited.text(), "one;a();\nb();;save(); c();");
        for (run, original) in [
            ("1:1", "1:1"),
            ("1:3", "1:1"),
            ("1:5", "1:1"),
            ("1:6", "1:2"),
            ("2:1", "2:1"),
            ("2:14", "2:6"),
        ] {
            let restored = edited.restore(&format!("    at f (exec_main.mjs:{run})"));
            assert_eq!(
                restored,
                format!("    at f (exec_main.mjs:{original})"),
                "{run}"
            );
        }
    }

    #[test]
    fn columns_count_utf_16_units() {
        let edited = Edited::new("'😀'; x", vec![(0, "é;".into())], "");
        assert_eq!(edited.restore("exec_main.mjs:1:9"), "exec_main.mjs:1:7");
    }

    #[test]
    fn a_shown_line_is_shown_as_it_was() {
        let edited = Edited::new("const x = ;", vec![(0, "globalThis.args=[];".into())], "");
        let error = "SyntaxError: Unexpected token ';'\n    at exec_main.mjs:1:30\n\n\
                     1 | globalThis.args=[];const x = ;\n                                 ^";
        let expected = "SyntaxError: Unexpected token ';'\n    at exec_main.mjs:1:11\n\n\
                        1 | const x = ;\n              ^";
        assert_eq!(edited.restore(error), expected);
    }

    #[test]
    fn what_lies_behind_the_script_is_left_out_of_a_stack() {
        let edited = Edited::new("f()", Vec::new(), "function $helper() {}");
        let error = "Error: x\n    at $helper (exec_main.mjs:2:1)\n    at exec_main.mjs:1:1";
        assert_eq!(edited.restore(error), "Error: x\n    at exec_main.mjs:1:1");
    }

    #[test]
    fn text_goes_in_between_characters_only() {
        let edited = Edited::new("é", vec![(1, "x".into()), (99, "y".into())], "");
        assert_eq!(edited.text(), "é");
    }
}
