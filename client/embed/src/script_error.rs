// SPDX-License-Identifier: Apache-2.0
//! How a script failed, read from the text that its host gives.
//!
//! The text is what the script made of it: a script can throw whatever text it likes. What is read
//! here is for people and models to look at, not to decide by.

use std::fmt;

use crate::Output;

/// The name of a cell's source in stacks.
const MAIN: &str = "exec_main.mjs:";

const UNHANDLED: &str = "Unhandled rejection: ";

const HINT: &str = "\nHint: ";

const FRAME: &str = "\n    at ";

/// A script that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptError {
    /// The error's name, such as `TypeError`; `None` when the script threw something else than an
    /// error. A limit that ended the cell is a `LimitError`.
    pub name: Option<String>,
    /// The message without name, stack and hint.
    pub message: String,
    /// The innermost place in the script's own source, if the text names one.
    pub position: Option<Position>,
    /// What to do about it, where the host knows.
    pub hint: Option<String>,
    /// The stack, and for a syntax error the line with a mark; as the host wrote them.
    pub stack: Option<String>,
    /// Whether the error is a rejection that nobody handled, so that the script ran on to its end.
    pub unhandled_rejection: bool,
    /// The whole text as the host gave it.
    pub text: String,
    /// What the script had put out.
    pub output: Output,
}

/// A place in a script's source; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, in UTF-16 units.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ScriptError {}

impl ScriptError {
    /// Reads an error text.
    pub(crate) fn read(text: String, output: Output) -> Self {
        let (rest, hint) = match text.rsplit_once(HINT) {
            Some((rest, hint)) => (rest, Some(hint.to_owned())),
            None => (text.as_str(), None),
        };
        let (rest, unhandled_rejection) = match rest.strip_prefix(UNHANDLED) {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (head, stack) = match rest.find(FRAME) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (name, message) = match head.split_once(": ") {
            Some((name, message)) if is_error_name(name) => (Some(name), message),
            None if is_error_name(head) => (Some(head), ""),
            _ => (None, head),
        };
        Self {
            name: name.map(str::to_owned),
            message: message.to_owned(),
            position: position(stack),
            hint,
            stack: (!stack.is_empty()).then(|| stack.trim_start_matches('\n').to_owned()),
            unhandled_rejection,
            output,
            text,
        }
    }
}

/// Whether this is the name of an error and not the beginning of a sentence.
fn is_error_name(name: &str) -> bool {
    name.ends_with("Error")
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '$')
}

fn position(stack: &str) -> Option<Position> {
    let (_, place) = stack.split_once(MAIN)?;
    let (line, rest) = place.split_once(':')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Some(Position {
        line: line.parse().ok()?,
        column: rest.get(..end)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ScriptError {
        ScriptError::read(text.to_owned(), Output::default())
    }

    fn at(line: u32, column: u32) -> Option<Position> {
        Some(Position { line, column })
    }

    #[test]
    fn an_error_is_read_into_its_parts() {
        let error = read(
            "TypeError: Cannot read properties of null (reading 'x')\n    \
             at inner (exec_main.mjs:2:8)\n    at exec_main.mjs:4:10\nHint: look at null",
        );
        assert_eq!(error.name.as_deref(), Some("TypeError"));
        assert_eq!(
            error.message,
            "Cannot read properties of null (reading 'x')"
        );
        assert_eq!(error.position, at(2, 8));
        assert_eq!(error.hint.as_deref(), Some("look at null"));
        assert_eq!(
            error.stack.as_deref(),
            Some("    at inner (exec_main.mjs:2:8)\n    at exec_main.mjs:4:10")
        );
        assert!(!error.unhandled_rejection);
    }

    #[test]
    fn a_syntax_error_keeps_the_line_with_its_mark() {
        let error = read(
            "SyntaxError: Missing initializer in const declaration\n    at exec_main.mjs:2:7\n\n\
             2 | const answer\n          ^",
        );
        assert_eq!(error.message, "Missing initializer in const declaration");
        assert_eq!(error.position, at(2, 7));
        assert!(
            error
                .stack
                .unwrap()
                .ends_with("2 | const answer\n          ^")
        );
    }

    #[test]
    fn what_is_no_error_is_a_message_alone() {
        for text in ["just so", "{\"code\":7}", "note: the door is open", ""] {
            let error = read(text);
            assert_eq!(error.name, None, "{text}");
            assert_eq!(error.message, text);
            assert_eq!(error.position, None);
            assert_eq!(error.stack, None);
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn a_rejection_that_nobody_handled_is_told_apart() {
        let error =
            read("Unhandled rejection: Error: lost\n    at exec_main.mjs:1:16\n(and 1 more)");
        assert!(error.unhandled_rejection);
        assert_eq!(error.message, "lost");
        assert_eq!(error.position, at(1, 16));
    }

    #[test]
    fn a_limit_is_an_error_with_a_name() {
        let error = read("LimitError: the limit of 5 timers is reached; the cell was ended");
        assert_eq!(error.name.as_deref(), Some("LimitError"));
        assert_eq!(
            error.message,
            "the limit of 5 timers is reached; the cell was ended"
        );
    }

    #[test]
    fn strange_places_are_no_position() {
        for stack in ["x:1", "", "99999999999:1", "1:", "1:99999999999"] {
            let error = read(&format!("Error: e\n    at exec_main.mjs:{stack}"));
            assert_eq!(error.position, None, "{stack}");
        }
    }
}
