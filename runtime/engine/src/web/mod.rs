// SPDX-License-Identifier: Apache-2.0
//! The globals that the web has and the contract has not: `URL`, `TextEncoder`, `AbortController`,
//! `structuredClone`, `console` and their like.
//!
//! They are JavaScript of our own (`web.js`) over a few functions of Rust, which leave the reading of URLs and
//! of encoded text to crates made for it. They are installed in a context of their own, before there is a script;
//! whatever they make is within the bounds of the cell as the script's own values are.

mod encoding;
mod natives;
pub(crate) mod state;
mod url;
mod values;

use crate::callback::Thrown;
use crate::own_script;
use crate::script_state::ScriptState;

const SOURCE: &str = include_str!("web.js");

/// What stands for the source in stacks.
const NAME: &str = "code_mode:web";

/// Installs the globals in the entered context. Gives what looks at the second argument of a tool call.
pub(crate) fn install(scope: &mut v8::PinScope<'_, '_>) -> Option<v8::Global<v8::Function>> {
    let install = own_script::function(scope, NAME, SOURCE)?;
    let natives = natives::object(scope)?;
    let receiver = v8::undefined(scope).into();
    let on_call = install.call(scope, receiver, &[natives.into()])?;
    let on_call = v8::Local::<v8::Function>::try_from(on_call).ok()?;
    Some(v8::Global::new(scope, on_call))
}

/// What a tool call does with its second argument. Gives the reason when the call is not to be made.
pub(crate) fn before_call<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    options: v8::Local<'s, v8::Value>,
    call: u64,
) -> Result<Option<v8::Local<'s, v8::Value>>, Thrown> {
    if !options.is_object() {
        return Ok(None);
    }
    let Some(on_call) = state.web.on_call.borrow().clone() else {
        return Ok(None);
    };
    let on_call = v8::Local::new(scope, on_call);
    let call = v8::Number::new(scope, call as f64);
    let receiver = v8::undefined(scope).into();
    let answer = on_call
        .call(scope, receiver, &[options, call.into()])
        .ok_or(Thrown::Pending)?;
    match v8::Local::<v8::Array>::try_from(answer) {
        Ok(reason) => Ok(Some(reason.get_index(scope, 0).ok_or(Thrown::Pending)?)),
        Err(_) => Ok(None),
    }
}
