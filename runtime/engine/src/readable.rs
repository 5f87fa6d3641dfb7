//! Values as `text` and `notify` show them.

use crate::callback::{Thrown, string};
use crate::json;

/// How deeply collections within collections are shown.
const MAX_DEPTH: usize = 4;

/// Entries of one collection that are shown.
const MAX_ENTRIES: u32 = 1_000;

/// A value as text: `javascript-surface.md`, section *Output*.
pub(crate) fn shown<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
) -> Result<v8::Local<'s, v8::String>, Thrown> {
    if let Ok(text) = v8::Local::<v8::String>::try_from(value) {
        return Ok(text);
    }
    if value.is_symbol() {
        return string(scope, "undefined");
    }
    if !value.is_object() {
        return value.to_string(scope).ok_or(Thrown::Pending);
    }
    if value.is_native_error() {
        return error_text(scope, value);
    }
    match json::stringify(scope, value)? {
        None => string(scope, "undefined"),
        Some(text) if text.length() == 2 && text.to_rust_string_lossy(scope) == "{}" => {
            match described(scope, value, 0)? {
                Some(description) => string(scope, &description),
                None => Ok(text),
            }
        }
        Some(text) => Ok(text),
    }
}

/// An Error's stack, which begins with its name and message, or these two without a stack.
pub(crate) fn error_text<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    error: v8::Local<'s, v8::Value>,
) -> Result<v8::Local<'s, v8::String>, Thrown> {
    if let Ok(object) = v8::Local::<v8::Object>::try_from(error) {
        let key = string(scope, "stack")?;
        let stack = object.get(scope, key.into()).ok_or(Thrown::Pending)?;
        if let Ok(stack) = v8::Local::<v8::String>::try_from(stack)
            && stack.length() > 0
        {
            return Ok(stack);
        }
    }
    error.to_string(scope).ok_or(Thrown::Pending)
}

/// What JSON shows as `{}` though it holds something, in a form that people read.
fn described<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
    depth: usize,
) -> Result<Option<String>, Thrown> {
    if let Ok(map) = v8::Local::<v8::Map>::try_from(value) {
        let entries = map.as_array(scope);
        let size = map.size();
        return Ok(Some(collection(scope, "Map", size, entries, 2, depth)?));
    }
    if let Ok(set) = v8::Local::<v8::Set>::try_from(value) {
        let entries = set.as_array(scope);
        let size = set.size();
        return Ok(Some(collection(scope, "Set", size, entries, 1, depth)?));
    }
    if value.is_reg_exp() {
        let text = value.to_string(scope).ok_or(Thrown::Pending)?;
        return Ok(Some(text.to_rust_string_lossy(scope)));
    }
    if let Ok(promise) = v8::Local::<v8::Promise>::try_from(value) {
        let state = match promise.state() {
            v8::PromiseState::Pending => "pending; await it to get its value",
            v8::PromiseState::Fulfilled => "fulfilled; await it to get its value",
            v8::PromiseState::Rejected => "rejected; await it to get its error",
        };
        return Ok(Some(format!("Promise {{ <{state}> }}")));
    }
    if let Ok(buffer) = v8::Local::<v8::ArrayBuffer>::try_from(value) {
        return Ok(Some(format!("ArrayBuffer({})", buffer.byte_length())));
    }
    if let Ok(view) = v8::Local::<v8::DataView>::try_from(value) {
        return Ok(Some(format!("DataView({})", view.byte_length())));
    }
    Ok(None)
}

fn collection<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
    size: usize,
    parts: v8::Local<'s, v8::Array>,
    parts_per_entry: u32,
    depth: usize,
) -> Result<String, Thrown> {
    let length = parts.length();
    let mut entries = Vec::new();
    let mut index = 0;
    while index + parts_per_entry <= length && index / parts_per_entry < MAX_ENTRIES {
        let mut entry = Vec::new();
        for part in index..index + parts_per_entry {
            let part = parts.get_index(scope, part).ok_or(Thrown::Pending)?;
            entry.push(element(scope, part, depth + 1)?);
        }
        entries.push(entry.join(" => "));
        index += parts_per_entry;
    }
    if index < length {
        entries.push("…".to_owned());
    }
    Ok(format!("{name}({size}) {{{}}}", entries.join(", ")))
}

fn element<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
    depth: usize,
) -> Result<String, Thrown> {
    if value.is_big_int() || value.is_undefined() || value.is_number() {
        let text = value.to_string(scope).ok_or(Thrown::Pending)?;
        return Ok(text.to_rust_string_lossy(scope));
    }
    if depth <= MAX_DEPTH
        && let Some(description) = described(scope, value, depth)?
    {
        return Ok(description);
    }
    if value.is_native_error() {
        return Ok(error_text(scope, value)?.to_rust_string_lossy(scope));
    }
    let json = json::stringify(scope, value)?;
    Ok(json.map_or_else(
        || "undefined".to_owned(),
        |json| json.to_rust_string_lossy(scope),
    ))
}
