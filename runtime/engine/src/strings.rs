// SPDX-License-Identifier: Apache-2.0
//! Strings between V8 and Rust.
//!
//! V8's own way out reads flat strings only, and flattens those that a script has put together of
//! others (`+`, `repeat`, `join`) in new pages of its heap: for 1 MiB the faults of those pages
//! take longer than all the rest of a tool call. So one-byte strings are written out as they are.

/// The text of a string; lone surrogates become U+FFFD.
pub(crate) fn text(scope: &v8::PinScope<'_, '_>, string: v8::Local<'_, v8::String>) -> String {
    let mut bytes = Vec::new();
    if append_one_byte(scope, string, &mut bytes)
        && bytes.is_ascii()
        && let Ok(text) = String::from_utf8(bytes)
    {
        return text;
    }
    string.to_rust_string_lossy(scope)
}

/// Appends a string's characters as Latin-1. Gives false and appends nothing when V8 holds the
/// string in two bytes a character, whatever characters it has.
pub(crate) fn append_one_byte(
    scope: &v8::PinScope<'_, '_>,
    string: v8::Local<'_, v8::String>,
    bytes: &mut Vec<u8>,
) -> bool {
    if !string.is_onebyte() {
        return false;
    }
    let length = string.length();
    bytes.reserve(length);
    let Some(room) = bytes.spare_capacity_mut().get_mut(..length) else {
        return false;
    };
    string.write_one_byte_uninit_v2(scope, 0, room, v8::WriteFlags::empty());
    // SAFETY: `length` more bytes fit, as `room` shows, and V8 has written all of them: it writes as
    // many characters as the string has, or as fit into `room`, which here is the same number.
    unsafe { bytes.set_len(bytes.len() + length) };
    true
}

/// A string in the heap; `None` when it is longer than V8's strings can be.
///
/// V8 decodes UTF-8 byte by byte; ASCII, which is the rule, it has to copy only.
pub(crate) fn new_string<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    text: &str,
) -> Option<v8::Local<'s, v8::String>> {
    if text.is_ascii() {
        v8::String::new_from_one_byte(scope, text.as_bytes(), v8::NewStringType::Normal)
    } else {
        v8::String::new(scope, text)
    }
}
