// SPDX-License-Identifier: Apache-2.0
//! JSON of values that hold bigints.
//!
//! JSON has integers of any size, and a tool's ids are often larger than a number can be; but
//! JavaScript's own JSON refuses a bigint that has no `toJSON`. So one is lent to all bigints, which
//! gives the integer as raw JSON. With the option of exact integers they have it from the start, so
//! that a script's own `JSON.stringify` writes them too; else only while one value is written that V8
//! has refused.

use std::rc::Rc;

use crate::callback::{Thrown, guarded, string};
use crate::script_state::ScriptState;

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
    let state = ScriptState::of(scope).ok_or(Thrown::Pending)?;
    // V8 has refused a bigint, so the script has no `toJSON` here that would be overwritten.
    let (prototype, key) = lend(scope, &state)?;
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
    text.ok_or(Thrown::Pending)
}

/// Gives bigints a `toJSON` with which JSON writes them as integers, as other members of a prototype are: a
/// script may replace it.
pub(crate) fn lend<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &Rc<ScriptState>,
) -> Result<(v8::Local<'s, v8::Object>, v8::Local<'s, v8::String>), Thrown> {
    let key = string(scope, "toJSON")?;
    let writer = v8::Function::builder(to_json)
        .constructor_behavior(v8::ConstructorBehavior::Throw)
        .build(scope)
        .ok_or(Thrown::Pending)?;
    writer.set_name(key);
    let prototype = v8::Local::new(scope, &state.intrinsics.bigint_prototype);
    prototype
        .define_own_property(
            scope,
            key.into(),
            writer.into(),
            v8::PropertyAttribute::DONT_ENUM,
        )
        .ok_or(Thrown::Pending)?;
    Ok((prototype, key))
}

/// Whether the exception that was caught says that there is a bigint.
fn is_refusal<'s>(scope: &mut v8::PinScope<'s, '_>, error: v8::Local<'s, v8::Value>) -> bool {
    error.is_native_error()
        && v8::Exception::create_message(scope, error)
            .get(scope)
            .to_rust_string_lossy(scope)
            .ends_with(REFUSAL)
}

/// `BigInt.prototype.toJSON`.
fn to_json<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let to_string = v8::Local::new(scope, &state.intrinsics.bigint_to_string);
        let digits = to_string
            .call(scope, args.this().into(), &[])
            .ok_or(Thrown::Pending)?;
        let raw_json = v8::Local::new(scope, &state.intrinsics.raw_json);
        let receiver = v8::undefined(scope).into();
        let integer = raw_json
            .call(scope, receiver, &[digits])
            .ok_or(Thrown::Pending)?;
        result.set(integer);
        Ok(())
    });
}
