// SPDX-License-Identifier: Apache-2.0
//! Error texts: what went wrong, where, and what to do.

use code_mode_api::LimitName;

use crate::limits::MAX_ERROR_TEXT_BYTES;
use crate::script_state::ScriptState;
use crate::typescript::TypeScriptError;
use crate::{hints, modules, readable};

/// Characters of a source line that are shown to either side of an error.
const CONTEXT: usize = 60;

/// The text of an error that ended the script.
pub(crate) fn uncaught<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    source: &str,
    error: v8::Local<'s, v8::Value>,
    message: Option<v8::Local<'s, v8::Message>>,
) -> String {
    let position = message.and_then(|message| position(scope, message));
    let mut text = plain(scope, error);
    let is_syntax_error = text.starts_with("SyntaxError: ") && !text.contains("\n    at ");
    if is_syntax_error && let Some((line, column)) = position {
        text = with_frame(&text, source, line, column);
    }
    with_hint(text, state, source, is_syntax_error)
}

/// An error text, not too long, and with what to do about it where that is known.
pub(crate) fn with_hint(
    text: String,
    state: &ScriptState,
    source: &str,
    is_syntax_error: bool,
) -> String {
    // What a script throws may be long; the hint is looked for in what is left of it.
    let text = clipped(text);
    let hint = hints::hint(&text, source, state, is_syntax_error);
    match hint {
        Some(hint) => format!("{text}\nHint: {hint}"),
        None => text,
    }
}

/// The text of a source that is no JavaScript and cannot be read as TypeScript. `None` when V8's own error,
/// which is at `position`, tells more.
pub(crate) fn not_typescript(
    error: &TypeScriptError,
    source: &str,
    position: Option<(usize, usize)>,
) -> Option<String> {
    let offset = match error {
        TypeScriptError::MoreThanTypes { offset, .. } => *offset,
        // The parser that came further reads the language that the source is in.
        TypeScriptError::Syntax { offset, .. } => {
            let place = place(source, *offset);
            position.is_none_or(|v8| v8 < place).then_some(*offset)?
        }
        TypeScriptError::Unreadable { .. } => return Some(format!("SyntaxError: {error}")),
    };
    let (line, column) = place(source, offset);
    let text = with_frame(&format!("SyntaxError: {error}"), source, line, column);
    Some(match error {
        TypeScriptError::MoreThanTypes { what, .. } => {
            format!("{text}\nHint: {}", what.instead())
        }
        _ => text,
    })
}

/// The line and column, from 1 and in UTF-16 units, of what begins this many bytes from the start.
fn place(source: &str, offset: usize) -> (usize, usize) {
    let before = source
        .get(..source.floor_char_boundary(offset))
        .unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let in_line = before.get(line_start..).unwrap_or_default();
    let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
    (line, 1 + in_line.encode_utf16().count())
}

/// Line and column of a message of V8, from 1.
pub(crate) fn position(
    scope: &v8::PinScope<'_, '_>,
    message: v8::Local<'_, v8::Message>,
) -> Option<(usize, usize)> {
    let line = message.get_line_number(scope)?;
    Some((line, message.get_start_column().checked_add(1)?))
}

/// The text of a rejection that nobody handled.
pub(crate) fn unhandled(text: &str, others: usize) -> String {
    match others {
        0 => format!("Unhandled rejection: {text}"),
        1 => format!("Unhandled rejection: {text}\n(and 1 more)"),
        _ => format!("Unhandled rejection: {text}\n(and {others} more)"),
    }
}

/// The text of a bound that was reached.
pub fn limit_text(limit: LimitName, maximum: u64) -> String {
    format!("LimitError: the limit of {maximum} {limit} is reached; the cell was ended")
}

/// An error without position or hint: a stack, a thrown string itself, or the value as text.
fn plain<'s>(scope: &mut v8::PinScope<'s, '_>, error: v8::Local<'s, v8::Value>) -> String {
    v8::tc_scope!(let caught, scope);
    // A getter of the script may throw while its error is being described.
    match readable::shown(caught, error) {
        Ok(text) => text.to_rust_string_lossy(caught),
        Err(_) => "Error: the script threw a value that cannot be shown".to_owned(),
    }
}

/// A syntax error with its place, its line and a caret.
fn with_frame(text: &str, source: &str, line: usize, column: usize) -> String {
    let place = format!("{text}\n    at {}:{line}:{column}", modules::MAIN);
    let Some(source_line) = line
        .checked_sub(1)
        .and_then(|line| source.lines().nth(line))
    else {
        return place;
    };
    // V8 counts UTF-16 units; the caret stands under a character.
    let mut units = 0;
    let before = source_line
        .chars()
        .take_while(|c| {
            units += c.len_utf16();
            units < column
        })
        .count();
    let skipped = before.saturating_sub(CONTEXT);
    let shown: String = source_line
        .chars()
        .skip(skipped)
        .take(2 * CONTEXT)
        .map(|c| if c == '\t' { ' ' } else { c })
        .collect();
    let gutter = format!("{line} | ");
    let blank = " ".repeat(gutter.len() + before - skipped);
    format!("{place}\n\n{gutter}{shown}\n{blank}^")
}

/// A text without its middle when it is too long.
fn clipped(text: String) -> String {
    if text.len() <= MAX_ERROR_TEXT_BYTES {
        return text;
    }
    let half = MAX_ERROR_TEXT_BYTES / 2;
    let start = text.floor_char_boundary(half);
    let end = text.ceil_char_boundary(text.len() - half);
    let (head, tail) = (
        text.get(..start).unwrap_or(""),
        text.get(end..).unwrap_or(""),
    );
    format!("{head}\n… {} bytes left out …\n{tail}", end - start)
}
