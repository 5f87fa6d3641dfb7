// SPDX-License-Identifier: Apache-2.0
//! The modules that a script can import: `tools.js` and `@openai/code_mode`.

use std::rc::Rc;

use crate::callback::{Thrown, shielded, string};
use crate::script_state::ScriptState;
use crate::{globals, tools};

/// The name of the script's own module.
pub(crate) const MAIN: &str = "exec_main.mjs";
/// One export per tool.
const TOOLS: &str = "tools.js";
/// One export per helper.
const HELPERS: &str = "@openai/code_mode";

/// How the error for any other module begins; [`super::hints`] knows it.
pub(crate) const UNSUPPORTED: &str = "Unsupported import in exec: ";

/// Whether a script can import a module of this name.
pub(crate) fn is_supported(specifier: &str) -> bool {
    matches!(specifier, TOOLS | HELPERS)
}

/// Resolves a static import.
pub(crate) fn resolve<'s>(
    context: v8::Local<'s, v8::Context>,
    specifier: v8::Local<'s, v8::String>,
    _attributes: v8::Local<'s, v8::FixedArray>,
    _referrer: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Module>> {
    // SAFETY: V8 calls this on the isolate's thread with the context of the import.
    v8::callback_scope!(unsafe scope, context);
    shielded(scope, |scope| {
        let module = find(scope, specifier);
        throw_error(scope, module)
    })
}

/// Resolves a dynamic import.
pub(crate) fn import_dynamically<'s, 'i>(
    scope: &mut v8::PinScope<'s, 'i>,
    _options: v8::Local<'s, v8::Data>,
    _resource: v8::Local<'s, v8::Value>,
    specifier: v8::Local<'s, v8::String>,
    _attributes: v8::Local<'s, v8::FixedArray>,
) -> Option<v8::Local<'s, v8::Promise>> {
    shielded(scope, |scope| namespace_promise(scope, specifier))
}

/// The promise of a module's namespace.
fn namespace_promise<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    specifier: v8::Local<'s, v8::String>,
) -> Option<v8::Local<'s, v8::Promise>> {
    let resolver = v8::PromiseResolver::new(scope)?;
    let promise = resolver.get_promise(scope);
    v8::tc_scope!(let caught, scope);
    let namespace = find(caught, specifier);
    let namespace = throw_error(caught, namespace).and_then(|module| evaluated(caught, module));
    match namespace {
        Some(namespace) => {
            resolver.resolve(caught, namespace)?;
        }
        None => {
            if caught.has_terminated() {
                return None;
            }
            let error = caught.exception()?;
            caught.reset();
            resolver.reject(caught, error)?;
        }
    }
    Some(promise)
}

/// Instantiates and evaluates a synthetic module, and gives its namespace.
fn evaluated<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Value>> {
    if module.get_status() == v8::ModuleStatus::Uninstantiated {
        module.instantiate_module(scope, resolve)?;
    }
    if module.get_status() == v8::ModuleStatus::Instantiated {
        module.evaluate(scope)?;
    }
    Some(module.get_module_namespace())
}

/// The module of this name, made at its first import.
fn find<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    specifier: v8::Local<'s, v8::String>,
) -> Result<v8::Local<'s, v8::Module>, Thrown> {
    let name = specifier.to_rust_string_lossy(scope);
    let Some(state) = ScriptState::of(scope) else {
        return Err(Thrown::Type(format!("{UNSUPPORTED}{name}")));
    };
    if let Some(module) = state.modules.borrow().get(&name) {
        return Ok(v8::Local::new(scope, module));
    }
    let module_name = string(scope, &name)?;
    let module = match name.as_str() {
        TOOLS => {
            let mut exports = Vec::new();
            for name in tools::callable_names(&state) {
                exports.push(string(scope, name)?);
            }
            v8::Module::create_synthetic_module(scope, module_name, &exports, export_tools)
        }
        HELPERS => {
            let mut exports = Vec::new();
            for helper in globals::helper_names() {
                exports.push(string(scope, helper)?);
            }
            v8::Module::create_synthetic_module(scope, module_name, &exports, export_helpers)
        }
        _ => return Err(Thrown::Type(format!("{UNSUPPORTED}{name}"))),
    };
    state
        .modules
        .borrow_mut()
        .insert(name, v8::Global::new(scope, module));
    Ok(module)
}

/// Turns a Rust error into a pending exception.
fn throw_error<T>(scope: &mut v8::PinScope<'_, '_>, result: Result<T, Thrown>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Thrown::Type(message) | Thrown::Range(message)) => {
            let message = v8::String::new(scope, &message)?;
            let error = v8::Exception::error(scope, message);
            scope.throw_exception(error);
            None
        }
        Err(Thrown::Pending | Thrown::Stop(_)) => None,
    }
}

fn export_tools<'s>(
    context: v8::Local<'s, v8::Context>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Value>> {
    // SAFETY: V8 calls this on the isolate's thread with the module's context.
    v8::callback_scope!(unsafe scope, context);
    shielded(scope, |scope| {
        let state = ScriptState::of(scope)?;
        for name in tools::callable_names(&state) {
            let function = tools::named_function(scope, &state, name);
            let function = throw_error(scope, function)??;
            let name = v8::String::new(scope, name)?;
            module.set_synthetic_module_export(scope, name, function.into())?;
        }
        done(scope)
    })
}

fn export_helpers<'s>(
    context: v8::Local<'s, v8::Context>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Value>> {
    // SAFETY: as in `export_tools`.
    v8::callback_scope!(unsafe scope, context);
    shielded(scope, |scope| {
        let state: Rc<ScriptState> = ScriptState::of(scope)?;
        for helper in globals::helper_names() {
            let value = globals::helper(scope, &state, helper);
            let value = throw_error(scope, value)?;
            let name = v8::String::new(scope, helper)?;
            module.set_synthetic_module_export(scope, name, value)?;
        }
        done(scope)
    })
}

fn done<'s>(scope: &mut v8::PinScope<'s, '_>) -> Option<v8::Local<'s, v8::Value>> {
    let resolver = v8::PromiseResolver::new(scope)?;
    let undefined = v8::undefined(scope);
    resolver.resolve(scope, undefined.into())?;
    Some(resolver.get_promise(scope).into())
}
