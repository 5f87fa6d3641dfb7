// SPDX-License-Identifier: Apache-2.0
//! Values as `text` and `notify` show them.

use crate::callback::{Thrown, string};
use crate::json;

/// How deeply collections within collections are shown.
const MAX_DEPTH: usize = 4;

/// Entries of one collection that are shown.
const MAX_ENTRIES: usize = 1_000;

/// Bytes of one description: what would make it longer is left out.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;

/// Errors that are shown of one error: its causes, theirs, and those that it gathers.
const MAX_ERRORS: usize = 16;

/// Takes the first entries of a collection of which a whole copy would be too large. It is a
/// collection's own iterator that gives them.
const FIRST_ENTRIES: &str = r#"((collection, count) => {
  const entries = [];
  let taken = 0;
  for (const entry of collection) {
    if (taken === count) break;
    entries[taken] = entry;
    taken += 1;
  }
  return entries;
})"#;

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

/// An Error's own text, and those of the errors that caused it and that it gathers.
pub(crate) fn error_text<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    error: v8::Local<'s, v8::Value>,
) -> Result<v8::Local<'s, v8::String>, Thrown> {
    let own = own_error_text(scope, error)?;
    let mut rest = String::new();
    let mut left = MAX_ERRORS;
    add_related(scope, error, 1, &mut left, &mut rest)?;
    if rest.is_empty() {
        return Ok(own);
    }
    let own = own.to_rust_string_lossy(scope);
    string(scope, &(own + &rest))
}

/// Adds an error's cause and, of an AggregateError, its errors.
fn add_related<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    error: v8::Local<'s, v8::Value>,
    depth: usize,
    left: &mut usize,
    text: &mut String,
) -> Result<(), Thrown> {
    let Ok(object) = v8::Local::<v8::Object>::try_from(error) else {
        return Ok(());
    };
    let key = string(scope, "errors")?;
    if object.has_own_property(scope, key.into()) == Some(true) {
        let errors = object.get(scope, key.into()).ok_or(Thrown::Pending)?;
        if let Ok(errors) = v8::Local::<v8::Array>::try_from(errors) {
            for index in 0..errors.length() {
                if *left == 0 {
                    break;
                }
                let one = errors.get_index(scope, index).ok_or(Thrown::Pending)?;
                let label = format!("[{index}]");
                add_error(scope, one, &label, depth, left, text)?;
            }
        }
    }
    let key = string(scope, "cause")?;
    if object.has_own_property(scope, key.into()) == Some(true) {
        let cause = object.get(scope, key.into()).ok_or(Thrown::Pending)?;
        add_error(scope, cause, "Caused by", depth, left, text)?;
    }
    Ok(())
}

fn add_error<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    error: v8::Local<'s, v8::Value>,
    label: &str,
    depth: usize,
    left: &mut usize,
    text: &mut String,
) -> Result<(), Thrown> {
    if *left == 0 || depth > MAX_DEPTH || text.len() > MAX_DESCRIPTION_BYTES {
        return Ok(());
    }
    *left -= 1;
    let is_error = error.is_native_error();
    let own = if is_error {
        own_error_text(scope, error)?
    } else {
        shown(scope, error)?
    };
    let own = own.to_rust_string_lossy(scope);
    text.push_str(&format!("\n{label}: {own}"));
    if is_error {
        add_related(scope, error, depth + 1, left, text)?;
    }
    Ok(())
}

/// An Error's stack, which begins with its name and message, or these two without a stack.
fn own_error_text<'s>(
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
        let size = map.size();
        if size > MAX_ENTRIES {
            return Ok(Some(large_collection(scope, "Map", size, value, depth)?));
        }
        let entries = map.as_array(scope);
        return Ok(Some(collection(scope, "Map", size, entries, 2, depth)?));
    }
    if let Ok(set) = v8::Local::<v8::Set>::try_from(value) {
        let size = set.size();
        if size > MAX_ENTRIES {
            return Ok(Some(large_collection(scope, "Set", size, value, depth)?));
        }
        let entries = set.as_array(scope);
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

/// A collection that is copied whole: `parts_per_entry` values of it make an entry.
fn collection<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
    size: usize,
    parts: v8::Local<'s, v8::Array>,
    parts_per_entry: u32,
    depth: usize,
) -> Result<String, Thrown> {
    let mut text = Entries::new(name, size);
    let mut index = 0;
    while index < parts.length() && text.has_room() {
        let mut entry = Vec::new();
        for part in index..index + parts_per_entry {
            let part = parts.get_index(scope, part).ok_or(Thrown::Pending)?;
            entry.push(element(scope, part, depth + 1)?);
        }
        text.add(&entry);
        index += parts_per_entry;
    }
    Ok(text.finish())
}

/// A collection of which only the first entries are taken, each with its parts if it has several.
fn large_collection<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
    size: usize,
    value: v8::Local<'s, v8::Value>,
    depth: usize,
) -> Result<String, Thrown> {
    let mut text = Entries::new(name, size);
    let source = string(scope, FIRST_ENTRIES)?;
    let script = v8::Script::compile(scope, source, None).ok_or(Thrown::Pending)?;
    let first = script.run(scope).ok_or(Thrown::Pending)?;
    let first = v8::Local::<v8::Function>::try_from(first).map_err(|_| Thrown::Pending)?;
    let count = v8::Number::new(scope, MAX_ENTRIES as f64);
    let receiver = v8::undefined(scope).into();
    let entries = first
        .call(scope, receiver, &[value, count.into()])
        .ok_or(Thrown::Pending)?;
    let Ok(entries) = v8::Local::<v8::Array>::try_from(entries) else {
        return Ok(text.finish());
    };
    let has_pairs = value.is_map();
    for index in 0..entries.length() {
        if !text.has_room() {
            break;
        }
        let entry = entries.get_index(scope, index).ok_or(Thrown::Pending)?;
        let pair = v8::Local::<v8::Array>::try_from(entry).ok();
        let mut parts = Vec::new();
        match pair.filter(|_| has_pairs) {
            Some(pair) => {
                for part in 0..pair.length().min(2) {
                    let part = pair.get_index(scope, part).ok_or(Thrown::Pending)?;
                    parts.push(element(scope, part, depth + 1)?);
                }
            }
            None => parts.push(element(scope, entry, depth + 1)?),
        }
        text.add(&parts);
    }
    Ok(text.finish())
}

/// The text of a collection, within its bounds.
struct Entries {
    text: String,
    size: usize,
    count: usize,
}

impl Entries {
    fn new(name: &str, size: usize) -> Self {
        Self {
            text: format!("{name}({size}) {{"),
            size,
            count: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.count < MAX_ENTRIES && self.text.len() < MAX_DESCRIPTION_BYTES
    }

    fn add(&mut self, parts: &[String]) {
        if self.count > 0 {
            self.text.push_str(", ");
        }
        self.text.push_str(&parts.join(" => "));
        self.count += 1;
    }

    fn finish(mut self) -> String {
        if self.count < self.size {
            self.text.push_str(if self.count > 0 { ", …" } else { "…" });
        }
        self.text.push('}');
        self.text
    }
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
