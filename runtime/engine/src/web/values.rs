// SPDX-License-Identifier: Apache-2.0
//! What crosses between the web's JavaScript and its natives.

use crate::callback::{Thrown, string};
use crate::script_state::ScriptState;

/// An argument as text, at most as long as one value that crosses from a script may be.
pub(super) fn text_of<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    value: v8::Local<'s, v8::Value>,
) -> Result<String, Thrown> {
    let text = value.to_string(scope).ok_or(Thrown::Pending)?;
    check_length(state, text.length())?;
    Ok(text.to_rust_string_lossy(scope))
}

/// Refuses what is longer than one value that crosses from a script may be.
pub(super) fn check_length(state: &ScriptState, length: usize) -> Result<(), Thrown> {
    let maximum = state.world.limits().value_bytes;
    if length as u64 > maximum {
        return Err(Thrown::Range(format!(
            "a value of {length} units is too long here; {maximum} are taken at most"
        )));
    }
    Ok(())
}

/// Gives an object a property of its own.
pub(super) fn set<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'s, v8::Object>,
    name: &str,
    value: v8::Local<'s, v8::Value>,
) -> Result<(), Thrown> {
    let name = string(scope, name)?;
    object
        .create_data_property(scope, name.into(), value)
        .map(drop)
        .ok_or(Thrown::Pending)
}
