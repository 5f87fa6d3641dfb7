// SPDX-License-Identifier: Apache-2.0
//! Values between V8 and JSON text, with bounds. V8's API offers nothing but text.

use code_mode_api::LimitName;

use crate::bigints;
use crate::callback::Thrown;
use crate::large_integers::after_string;
use crate::limits::MAX_JSON_DEPTH;
use crate::strings::{self, new_string};
use crate::world::StopCause;

/// `JSON.stringify` as the context had it before any script ran, except that a bigint is written as
/// the integer it is. `None` for what JSON leaves out.
pub(crate) fn stringify<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
) -> Result<Option<v8::Local<'s, v8::String>>, Thrown> {
    let text = bigints::stringify(scope, value)?;
    // V8 gives the text `undefined` where JavaScript's function gives the value; as JSON text it
    // cannot stand for anything else.
    const UNDEFINED: &str = "undefined";
    let left_out =
        text.length() == UNDEFINED.len() && text.to_rust_string_lossy(scope) == UNDEFINED;
    Ok((!left_out).then_some(text))
}

/// A value as JSON text of at most `maximum` bytes, or `None` for what JSON leaves out.
pub(crate) fn to_text<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
    limit: LimitName,
    maximum: usize,
) -> Result<Option<String>, Thrown> {
    let full = || Thrown::Stop(StopCause::Limit(limit, maximum as u64));
    if let Ok(string) = v8::Local::<v8::String>::try_from(value) {
        if string.length() > maximum {
            return Err(full());
        }
        let text = quoted(scope, string)?;
        return if text.len() > maximum {
            Err(full())
        } else {
            Ok(Some(text))
        };
    }
    let Some(text) = stringify(scope, value)? else {
        return Ok(None);
    };
    // UTF-8 never has fewer bytes than UTF-16 has units, so this saves copying what is too long.
    if text.length() > maximum {
        return Err(full());
    }
    let text = strings::text(scope, text);
    if text.len() > maximum {
        return Err(full());
    }
    if depth(&text) > MAX_JSON_DEPTH {
        return Err(Thrown::Range(format!(
            "the value is nested more than {MAX_JSON_DEPTH} levels deep"
        )));
    }
    Ok(Some(without_lone_surrogates(text)))
}

/// A string as JSON text; lone surrogates become U+FFFD.
///
/// Strings are what most tools take and give when it is much, and most need nothing but quotes.
fn quoted(
    scope: &v8::PinScope<'_, '_>,
    string: v8::Local<'_, v8::String>,
) -> Result<String, Thrown> {
    const QUOTES: usize = 2;
    let mut text = Vec::with_capacity(string.length() + QUOTES);
    text.push(b'"');
    if strings::append_one_byte(scope, string, &mut text)
        && !text.get(1..).is_some_and(needs_escapes)
    {
        text.push(b'"');
        if let Ok(text) = String::from_utf8(text) {
            return Ok(text);
        }
    }
    serde_json::to_string(&strings::text(scope, string))
        .map_err(|error| Thrown::Type(format!("the string cannot be written as JSON: {error}")))
}

/// Whether Latin-1 text is something else between the quotes of JSON than it is by itself.
fn needs_escapes(latin1: &[u8]) -> bool {
    // Looking at all of a block lets the compiler look at many bytes at once.
    const BLOCK_BYTES: usize = 4096;
    latin1.chunks(BLOCK_BYTES).any(|block| {
        block.iter().fold(false, |found, byte| {
            found | (*byte < 0x20) | (*byte >= 0x80) | (*byte == b'"') | (*byte == b'\\')
        })
    })
}

/// As [`to_text`], as the JSON of a tool's input: what JSON leaves out is null.
pub(crate) fn to_input<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
    maximum: usize,
) -> Result<String, Thrown> {
    let text = if value.is_undefined() {
        None
    } else {
        to_text(scope, value, LimitName::ValueBytes, maximum)?
    };
    Ok(text.unwrap_or_else(|| "null".to_owned()))
}

/// The value of JSON text. `None` when an exception is pending.
pub(crate) fn parse<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    text: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    if let Some(content) = plain_string(text) {
        return Some(new_string(scope, content)?.into());
    }
    let text = new_string(scope, text)?;
    v8::json::parse(scope, text)
}

/// What is between the quotes of JSON text that is one string without escapes.
fn plain_string(text: &str) -> Option<&str> {
    let content = text.strip_prefix('"')?.strip_suffix('"')?;
    memchr::memchr(b'\\', content.as_bytes())
        .is_none()
        .then_some(content)
}

/// How deeply JSON text is nested.
fn depth(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(rest),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// JSON text with each escaped lone surrogate replaced by U+FFFD, since readers that hold strings
/// as Unicode refuse the whole text otherwise.
///
/// V8 escapes surrogates only where they are lone, so every such escape is one.
fn without_lone_surrogates(text: String) -> String {
    if memchr::memmem::find(text.as_bytes(), b"\\ud").is_none() {
        return text;
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        result.push_str(before);
        let is_surrogate = escape
            .strip_prefix("\\ud")
            .and_then(|digits| digits.bytes().next())
            .is_some_and(|digit| matches!(digit, b'8'..=b'9' | b'a'..=b'f'));
        let length = if is_surrogate { 6 } else { 2 };
        let (escape, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        result.push_str(if is_surrogate { "\\ufffd" } else { escape });
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::{depth, needs_escapes, plain_string, without_lone_surrogates};

    #[test]
    fn exactly_the_bytes_that_json_or_utf8_changes_need_escapes() {
        for byte in 0..=u8::MAX {
            let mut text = vec![b'x'; 5000];
            text.push(byte);
            let character = char::from(byte).to_string();
            let same = serde_json::to_string(&character)
                .is_ok_and(|json| json.len() == 3 && json.as_bytes().get(1) == Some(&byte));
            assert_eq!(needs_escapes(&text), !same, "{byte:#04x}");
        }
    }

    #[test]
    fn a_plain_string_is_one_string_without_escapes() {
        for (text, expected) in [
            (r#""""#, Some("")),
            (r#""a ü""#, Some("a ü")),
            (r#""a\n""#, None),
            (r#""a\"""#, None),
            (r#"["a"]"#, None),
            ("1", None),
            ("", None),
            ("\"", None),
        ] {
            assert_eq!(plain_string(text), expected, "{text}");
        }
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings_only() {
        for (text, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[{"b":"]]["}]}"#, 3),
            (r#"["\"[[[", []]"#, 2),
        ] {
            assert_eq!(depth(text), expected, "{text}");
        }
    }

    #[test]
    fn lone_surrogates_are_replaced_and_everything_else_stays() {
        for (text, expected) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""a\udfffb\n\ud83d""#, r#""a\ufffdb\n\ufffd""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\u001f ü""#, r#""\u001f ü""#),
        ] {
            assert_eq!(without_lone_surrogates(text.to_owned()), expected, "{text}");
        }
    }
}
