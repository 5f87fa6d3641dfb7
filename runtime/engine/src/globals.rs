// SPDX-License-Identifier: Apache-2.0
//! What every context has before any script runs.

use std::rc::Rc;

use code_mode_api::Globals;

use crate::callback::Thrown;
use crate::intrinsics::Intrinsics;
use crate::script_state::ScriptState;
use crate::{audio, content, control, output, settled, stored, tools, web};

/// Globals of V8 that scripts do not get: no shared memory, no WebAssembly, no console.
const REMOVED: [&str; 4] = ["console", "Atomics", "SharedArrayBuffer", "WebAssembly"];

const TOOLS: &str = "tools";
const ALL_TOOLS: &str = "ALL_TOOLS";

/// The names of all helpers.
pub(crate) fn helper_names() -> impl Iterator<Item = &'static str> {
    FUNCTION_NAMES.into_iter().chain([TOOLS, ALL_TOOLS])
}

const FUNCTION_NAMES: [&str; 14] = [
    "text",
    "image",
    "audio",
    "content",
    "generatedImage",
    "store",
    "load",
    "notify",
    "yield_control",
    "exit",
    "as_settled",
    "stream_settled",
    "setTimeout",
    "clearTimeout",
];

fn make_function<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
) -> Option<v8::Local<'s, v8::Function>> {
    let builder = match name {
        "text" => v8::Function::builder(output::text).length(1),
        "image" => v8::Function::builder(output::image).length(2),
        "audio" => v8::Function::builder(audio::audio).length(1),
        "content" => v8::Function::builder(content::content).length(1),
        "generatedImage" => v8::Function::builder(output::generated_image).length(1),
        "store" => v8::Function::builder(stored::store).length(2),
        "load" => v8::Function::builder(stored::load).length(1),
        "notify" => v8::Function::builder(output::notify).length(1),
        "yield_control" => v8::Function::builder(control::yield_control),
        "exit" => v8::Function::builder(control::exit),
        "as_settled" => v8::Function::builder(settled::as_settled).length(1),
        "stream_settled" => v8::Function::builder(settled::stream_settled).length(2),
        "setTimeout" => v8::Function::builder(control::set_timeout).length(2),
        "clearTimeout" => v8::Function::builder(control::clear_timeout).length(1),
        _ => return None,
    };
    let function = builder
        .constructor_behavior(v8::ConstructorBehavior::Throw)
        .build(scope)?;
    let name = v8::String::new(scope, name)?;
    function.set_name(name);
    Some(function)
}

/// A context for scripts.
pub(crate) struct ScriptContext {
    pub(crate) context: v8::Global<v8::Context>,
    /// What looks at the second argument of a tool call, where the context has the web's globals.
    pub(crate) on_call: Option<v8::Global<v8::Function>>,
    pub(crate) intrinsics: Rc<Intrinsics>,
}

/// Makes a context with everything that scripts see and nothing else. Gives none when V8 cannot make it: its
/// heap is too small for that, or the isolate's script is being stopped already.
pub(crate) fn make_context(
    isolate: &mut v8::OwnedIsolate,
    globals: Globals,
) -> Option<ScriptContext> {
    v8::scope!(let scope, isolate);
    let context = v8::Context::new(scope, v8::ContextOptions::default());
    // V8 asks before it compiles a text, which bounds its length; see `isolate.rs`.
    context.set_allow_generation_from_strings(false);
    let scope = &mut v8::ContextScope::new(scope, context);
    install(scope, context)?;
    let intrinsics = Intrinsics::of(scope, context)?;
    let on_call = match globals {
        Globals::Contract => None,
        Globals::Web => Some(web::install(scope)?),
    };
    Some(ScriptContext {
        context: v8::Global::new(scope, context),
        on_call,
        intrinsics: Rc::new(intrinsics),
    })
}

fn install(scope: &mut v8::PinScope<'_, '_>, context: v8::Local<'_, v8::Context>) -> Option<()> {
    let global = context.global(scope);
    for name in REMOVED {
        let name = v8::String::new(scope, name)?;
        global.delete(scope, name.into())?;
    }
    for name in FUNCTION_NAMES {
        let function = make_function(scope, name)?;
        let name = v8::String::new(scope, name)?;
        define(scope, global, name, function.into())?;
    }
    let tools = tools::make_tools_object(scope)?;
    let name = v8::String::new(scope, TOOLS)?;
    define(scope, global, name, tools.into())?;
    let name = v8::String::new(scope, ALL_TOOLS)?;
    global.set_lazy_data_property(scope, name.into(), tools::all_tools)?;
    Some(())
}

fn define(
    scope: &mut v8::PinScope<'_, '_>,
    global: v8::Local<'_, v8::Object>,
    name: v8::Local<'_, v8::String>,
    value: v8::Local<'_, v8::Value>,
) -> Option<bool> {
    global.define_own_property(scope, name.into(), value, v8::PropertyAttribute::DONT_ENUM)
}

/// A helper by name, whatever the script has done to its globals.
pub(crate) fn helper<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    name: &str,
) -> Result<v8::Local<'s, v8::Value>, Thrown> {
    match name {
        TOOLS => Ok(tools::make_tools_object(scope)
            .ok_or(Thrown::Pending)?
            .into()),
        ALL_TOOLS => Ok(tools::all_tools_array(scope, state)?.into()),
        _ => Ok(make_function(scope, name).ok_or(Thrown::Pending)?.into()),
    }
}
