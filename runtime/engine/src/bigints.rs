// SPDX-License-Identifier: Apache-2.0
//! JSON of values that hold bigints.
//!
//! JSON has integers of any size, and a tool's ids are often larger than a number can be; but
//! JavaScript's own JSON refuses a bigint. V8 offers no way to write one, so it writes a string in
//! its place that is recognised and taken out of its quotes. This takes a second pass over the
//! value, and is done only when V8 has refused it.

use crate::callback::{Thrown, guarded, string};

/// How the string begins that stands for a bigint. A script that writes such a string by itself gets
/// the integer, which harms nobody.
const MARK: &str = "code_mode bigint \u{1}";
/// [`MARK`] as JSON has it.
const MARK_IN_JSON: &str = "\"code_mode bigint \\u0001";

/// What V8 says of a bigint.
const REFUSAL: &str = "Do not know how to serialize a BigInt";

/// The JSON text of a value as V8 gives it, with bigints as integers.
pub(crate) fn stringify<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
) -> Result<v8::Local<'s, v8::String>, Thrown> {
    {
        v8::tc_scope!(let caught, scope);
        if let Some(text) = v8::json::stringify(caught, value) {
            return Ok(text);
        }
        let error = caught.exception();
        let refused = error.is_some_and(|error| is_refusal(caught, error));
        if caught.has_terminated() || !refused {
            caught.rethrow();
            return Err(Thrown::Pending);
        }
    }
    let prototype = prototype(scope)?;
    let key = string(scope, "toJSON")?;
    let writer = v8::Function::builder(marked)
        .constructor_behavior(v8::ConstructorBehavior::Throw)
        .build(scope)
        .ok_or(Thrown::Pending)?;
    // V8 has refused a bigint, so the script has no `toJSON` here that would be overwritten.
    prototype
        .create_data_property(scope, key.into(), writer.into())
        .ok_or(Thrown::Pending)?;
    let text = {
        v8::tc_scope!(let caught, scope);
        let text = v8::json::stringify(caught, value);
        if text.is_none() {
            caught.rethrow();
        }
        text
    };
    // Deleting fails only while the script is being terminated.
    let _ = prototype.delete(scope, key.into());
    let text = text.ok_or(Thrown::Pending)?;
    string(scope, &unmarked(&text.to_rust_string_lossy(scope)))
}

/// Whether the exception that was caught says that there is a bigint.
fn is_refusal<'s>(scope: &mut v8::PinScope<'s, '_>, error: v8::Local<'s, v8::Value>) -> bool {
    error.is_native_error()
        && v8::Exception::create_message(scope, error)
            .get(scope)
            .to_rust_string_lossy(scope)
            .ends_with(REFUSAL)
}

/// The prototype of bigints, whatever the script has done to its globals.
fn prototype<'s>(scope: &mut v8::PinScope<'s, '_>) -> Result<v8::Local<'s, v8::Object>, Thrown> {
    let zero = v8::BigInt::new_from_i64(scope, 0);
    let object = v8::Local::<v8::Value>::from(zero)
        .to_object(scope)
        .ok_or(Thrown::Pending)?;
    let prototype = object.get_prototype(scope).ok_or(Thrown::Pending)?;
    v8::Local::<v8::Object>::try_from(prototype).map_err(|_| Thrown::Pending)
}

/// `BigInt.prototype.toJSON` for as long as one value is written.
fn marked<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, _| {
        let value: v8::Local<v8::Value> = args.this().into();
        let digits = value.to_string(scope).ok_or(Thrown::Pending)?;
        let digits = digits.to_rust_string_lossy(scope);
        result.set(string(scope, &format!("{MARK}{digits}"))?.into());
        Ok(())
    });
}

/// JSON text with the integers taken out of their quotes.
fn unmarked(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK_IN_JSON) {
        let (before, marked) = rest.split_at(at);
        let digits = marked.get(MARK_IN_JSON.len()..).unwrap_or_default();
        let length = usize::from(digits.starts_with('-'));
        let count = digits
            .bytes()
            .skip(length)
            .take_while(u8::is_ascii_digit)
            .count();
        let (integer, after) = digits.split_at(length + count);
        result.push_str(before);
        match after.strip_prefix('"') {
            Some(after) if count > 0 => {
                result.push_str(integer);
                rest = after;
            }
            _ => {
                result.push_str(MARK_IN_JSON);
                rest = digits;
            }
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::{MARK, MARK_IN_JSON, unmarked};

    #[test]
    fn exactly_the_marked_integers_lose_their_quotes() {
        let json = serde_json::to_string(MARK).unwrap();
        assert_eq!(json, format!("{MARK_IN_JSON}\""));
        for (digits, expected) in [
            ("1", "1"),
            ("-12345678901234567890", "-12345678901234567890"),
        ] {
            let text = format!("[{MARK_IN_JSON}{digits}\",\"x\"]");
            assert_eq!(unmarked(&text), format!("[{expected},\"x\"]"));
        }
        for kept in ["", "-", "1x", "x"] {
            let text = format!("[{MARK_IN_JSON}{kept}\"]");
            assert_eq!(unmarked(&text), text);
        }
    }
}
