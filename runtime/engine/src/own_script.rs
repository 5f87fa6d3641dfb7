// SPDX-License-Identifier: Apache-2.0
//! JavaScript of our own, and what stands for a source in stacks.

/// Where a source comes from: its name in stacks, and whether it is a module.
pub(crate) fn origin<'s>(
    scope: &v8::PinScope<'s, '_>,
    name: v8::Local<'s, v8::String>,
    is_module: bool,
) -> v8::ScriptOrigin<'s> {
    let (line, column, script_id) = (0, 0, 0);
    let (is_shared_cross_origin, is_opaque, is_wasm) = (false, false, false);
    v8::ScriptOrigin::new(
        scope,
        name.into(),
        line,
        column,
        is_shared_cross_origin,
        script_id,
        None,
        is_opaque,
        is_wasm,
        is_module,
        None,
    )
}

/// Runs a source that is one function, and gives that. `None` when an exception is pending.
pub(crate) fn function<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    name: &str,
    source: &str,
) -> Option<v8::Local<'s, v8::Function>> {
    let source = v8::String::new(scope, source)?;
    let name = v8::String::new(scope, name)?;
    let origin = origin(scope, name, false);
    let script = v8::Script::compile(scope, source, Some(&origin))?;
    v8::Local::<v8::Function>::try_from(script.run(scope)?).ok()
}
