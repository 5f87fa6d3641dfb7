// SPDX-License-Identifier: Apache-2.0
//! The globals that the web has and the contract has not: `URL`, `TextEncoder`, `AbortController`,
//! `structuredClone`, `console` and their like.
//!
//! They are JavaScript of our own (`web.js`) over a few functions of Rust, which leave the reading of URLs and
//! of encoded text to crates made for it. They are installed in a context of their own, before there is a script;
//! whatever they make is within the bounds of the cell as the script's own values are.

mod encoding;
mod natives;
mod url;

use std::cell::{OnceCell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::callback::{Thrown, string};
use crate::script_state::ScriptState;

const SOURCE: &str = include_str!("web.js");

/// What stands for the source in stacks.
const NAME: &str = "code_mode:web";

/// What the globals of one script keep in Rust.
#[derive(Default)]
pub(crate) struct WebState {
    /// What looks at the second argument of a tool call; set where the script has the web's globals.
    on_call: RefCell<Option<v8::Global<v8::Function>>>,
    decoders: RefCell<encoding::Decoders>,
    /// When the script began, in milliseconds since 1970, once it has asked.
    started: OnceCell<f64>,
}

impl WebState {
    /// Has tool calls look at their second argument.
    pub(crate) fn look_at_calls(&self, on_call: v8::Global<v8::Function>) {
        // The clock of the page begins with the script.
        self.started.get_or_init(now);
        *self.on_call.borrow_mut() = Some(on_call);
    }

    /// When the script began, in milliseconds since 1970: no finer than `Date`.
    fn started(&self) -> f64 {
        *self.started.get_or_init(now)
    }

    /// Drops every handle into the isolate.
    pub(crate) fn drop_handles(&self) {
        self.on_call.take();
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_millis() as f64)
}

/// Installs the globals in the entered context. Gives what looks at the second argument of a tool call.
pub(crate) fn install(scope: &mut v8::PinScope<'_, '_>) -> Option<v8::Global<v8::Function>> {
    let source = v8::String::new(scope, SOURCE)?;
    let name = v8::String::new(scope, NAME)?;
    let origin = v8::ScriptOrigin::new(
        scope,
        name.into(),
        0,
        0,
        false,
        0,
        None,
        false,
        false,
        false,
        None,
    );
    let script = v8::Script::compile(scope, source, Some(&origin))?;
    let install = v8::Local::<v8::Function>::try_from(script.run(scope)?).ok()?;
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

/// An argument as text, at most as long as one value that crosses from a script may be.
fn text_of<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    value: v8::Local<'s, v8::Value>,
) -> Result<String, Thrown> {
    let text = value.to_string(scope).ok_or(Thrown::Pending)?;
    check_length(state, text.length())?;
    Ok(text.to_rust_string_lossy(scope))
}

fn check_length(state: &ScriptState, length: usize) -> Result<(), Thrown> {
    let maximum = state.world.limits().value_bytes;
    if length as u64 > maximum {
        return Err(Thrown::Range(format!(
            "a value of {length} units is too long here; {maximum} are taken at most"
        )));
    }
    Ok(())
}

fn set<'s>(
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
