// SPDX-License-Identifier: Apache-2.0
//! Lone surrogates in JSON text.
//!
//! JavaScript's strings may hold half of a surrogate pair, and its JSON writes it as an escape.
//! Unicode text cannot hold it, so a reader of texts refuses the whole message. One bad string
//! must not end a connection with all its sessions: it is read as U+FFFD, which is also what our
//! host makes of it on the way out (wire contract, section *Violations are fatal*).

use std::borrow::Cow;

use memchr::memmem;

/// Bytes of an escape such as `\ud800`.
const ESCAPE_BYTES: usize = 6;

/// JSON text with every escaped lone surrogate replaced by the escape of U+FFFD.
///
/// Nothing is copied unless there is one. Text that is no JSON stays no JSON.
pub(crate) fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if memmem::find(bytes, b"\\ud").is_none() && memmem::find(bytes, b"\\uD").is_none() {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::new();
    // What stands before this index is in `replaced` already.
    let mut copied = 0;
    let mut at = 0;
    while let Some(backslash) = memchr::memchr(b'\\', &bytes[at..]) {
        let start = at + backslash;
        at = match surrogate(bytes, start) {
            None => (start + 2).min(bytes.len()),
            Some(Half::High) if surrogate(bytes, start + ESCAPE_BYTES) == Some(Half::Low) => {
                start + 2 * ESCAPE_BYTES
            }
            Some(_) => {
                replaced.push_str(&text[copied..start]);
                replaced.push_str("\\ufffd");
                copied = start + ESCAPE_BYTES;
                copied
            }
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[copied..]);
    Cow::Owned(replaced)
}

#[derive(PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// Which half of a pair the escape at this index is, if it is one.
fn surrogate(bytes: &[u8], at: usize) -> Option<Half> {
    let escape = bytes.get(at..at + ESCAPE_BYTES)?;
    if !escape.starts_with(b"\\u") || !matches!(escape[2], b'd' | b'D') {
        return None;
    }
    if !escape[4..].iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    match escape[3] {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
        b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_and_everything_else_stays() {
        for (text, expected) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\uDfFf x""#, r#""\ufffd x""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\\ud800""#, r#""\\ud800""#),
            (r#""\\\ud800""#, r#""\\\ufffd""#),
            (r#""\ud7ff\ue000 ü""#, r#""\ud7ff\ue000 ü""#),
            (r#""\ud8zz""#, r#""\ud8zz""#),
            (r#""\ud8"#, r#""\ud8"#),
            ("\\", "\\"),
        ] {
            let result = without_lone_surrogates(text);
            assert_eq!(result, expected, "{text}");
            let same = matches!(result, Cow::Borrowed(_));
            assert_eq!(same, text == expected, "{text} was copied for nothing");
        }
    }
}
