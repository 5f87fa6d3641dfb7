// SPDX-License-Identifier: Apache-2.0
//! What comes in from tools and the store, read as the options of the script say.
//!
//! JSON has integers of any size, a number is exact only up to 2^53. With the option of exact integers
//! those beyond are read as bigints.

use crate::callback::{Thrown, guarded, string};
use crate::json;
use crate::large_integers::{
    MAX_SAFE_INTEGER, is_integer, large_integers, may_have_large_integers,
};
use crate::script_state::ScriptState;
use crate::strings::new_string;

/// The value of JSON text from a tool or the store. `None` when an exception is pending.
pub(crate) fn parse<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    text: &str,
) -> Option<v8::Local<'s, v8::Value>> {
    if !state.world.options().exact_integers {
        state.changed.look_into(text);
        return json::parse(scope, text);
    }
    if !may_have_large_integers(text) || large_integers(text).next().is_none() {
        return json::parse(scope, text);
    }
    let text = new_string(scope, text)?;
    let reviver = v8::Function::builder(revived).build(scope)?;
    let parse = v8::Local::new(scope, &state.intrinsics.parse);
    let receiver = v8::undefined(scope).into();
    parse.call(scope, receiver, &[text.into(), reviver.into()])
}

/// What `JSON.parse` asks for each value: key, value, and a context with the text that it was read from.
fn revived<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let value = args.get(1);
        result.set(value);
        let is_safe =
            |number: v8::Local<v8::Number>| number.value().abs() <= MAX_SAFE_INTEGER as f64;
        if v8::Local::<v8::Number>::try_from(value).map_or(true, is_safe) {
            return Ok(());
        }
        let Ok(context) = v8::Local::<v8::Object>::try_from(args.get(2)) else {
            return Ok(());
        };
        let key = string(scope, "source")?;
        let source = context.get(scope, key.into()).ok_or(Thrown::Pending)?;
        if !is_integer(&source.to_rust_string_lossy(scope)) {
            return Ok(());
        }
        let bigint = v8::Local::new(scope, &state.intrinsics.bigint);
        let receiver = v8::undefined(scope).into();
        result.set(
            bigint
                .call(scope, receiver, &[source])
                .ok_or(Thrown::Pending)?,
        );
        Ok(())
    });
}
