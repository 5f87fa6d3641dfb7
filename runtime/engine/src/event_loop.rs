// SPDX-License-Identifier: Apache-2.0
//! One script from its first statement to its end.
//!
//! The order of everything that a script can see, turn by turn:
//! 1. a macrotask: first the module's body, then, one at a time, each tool answer that has arrived,
//!    in the order of arrival, then each timer that was due when the turn began, by due time and
//!    then by creation; timers that these set wait for the next turn;
//! 2. after each macrotask, all promise jobs, and those that they make, until there are none;
//! 3. then the module's promise is looked at: once it has settled, the cell ends.
//!
//! Yields and observations do not take part: they happen on other threads and change nothing that
//! a script can see.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use crate::script_state::ScriptState;
use crate::{errors, modules, own_script, timing, tools};

/// Why a script did not run to its end.
pub(crate) enum Failed {
    /// It threw: the error text.
    Threw(String),
    /// It was stopped; the world knows why.
    Stopped,
}

/// Runs a script until its module has settled.
pub(crate) fn run(
    scope: &mut v8::PinScope<'_, '_>,
    state: &Rc<ScriptState>,
    source: &str,
) -> Result<(), Failed> {
    check(state)?;
    let source = match state.world.options().typescript {
        true => code_mode_api::without_fence(source),
        false => Cow::Borrowed(source),
    };
    let source = source.as_ref();
    let span = timing::run();
    let mut running = span.enter();
    let promise = evaluate(scope, state, source)?;
    loop {
        scope.perform_microtask_checkpoint();
        if settled(scope, state, source, promise)? {
            return report_unhandled(scope, state, source);
        }
        let due = state.timers.borrow().next_due();
        drop(running);
        let answers = state.world.inbox(due);
        running = span.enter();
        check(state)?;
        for answer in answers {
            v8::scope!(let scope, scope);
            tools::settle(scope, state, answer);
            scope.perform_microtask_checkpoint();
            check(state)?;
            if settled(scope, state, source, promise)? {
                return report_unhandled(scope, state, source);
            }
        }
        let (now, newest) = (Instant::now(), state.timers.borrow().newest());
        loop {
            let timer = state.timers.borrow_mut().take_due(now, newest);
            let Some(timer) = timer else { break };
            v8::scope!(let scope, scope);
            fire(scope, state, source, &timer)?;
            scope.perform_microtask_checkpoint();
            check(state)?;
            if settled(scope, state, source, promise)? {
                return report_unhandled(scope, state, source);
            }
        }
    }
}

fn check(state: &ScriptState) -> Result<(), Failed> {
    if state.is_stopping() {
        return Err(Failed::Stopped);
    }
    Ok(())
}

/// Compiles the module, resolves its imports and runs its body.
fn evaluate<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &Rc<ScriptState>,
    source: &str,
) -> Result<v8::Local<'s, v8::Promise>, Failed> {
    v8::tc_scope!(let caught, scope);
    // The span ends here, not with the block.
    let mut module = timing::compile(source).in_scope(|| compile(caught, source));
    if module.is_none()
        && state.world.options().typescript
        && let Some(exception) = caught.exception()
        && is_syntax_error(caught, exception)
    {
        let message = caught.message();
        let position = message.and_then(|message| errors::position(caught, message));
        let read = timing::typescript(source).in_scope(|| state.world.without_types(source));
        check(state)?;
        match read {
            Ok(text) if text != source => {
                caught.reset();
                module = compile(caught, &text);
            }
            // V8 refuses what has no types in it, and says why.
            Ok(_) => {}
            Err(error) => {
                if let Some(text) = errors::not_typescript(&error, source, position) {
                    return Err(Failed::Threw(text));
                }
            }
        }
    }
    if let Some(module) = module {
        if let Some(text) = unsupported_import(caught, module) {
            return Err(Failed::Threw(errors::with_hint(text, state, source, false)));
        }
        if let Some(promise) = start(caught, module) {
            return Ok(promise);
        }
    }
    check(state)?;
    let Some(exception) = caught.exception() else {
        return Err(Failed::Stopped);
    };
    let message = caught.message();
    caught.reset();
    Err(Failed::Threw(errors::uncaught(
        caught, state, source, exception, message,
    )))
}

/// Whether V8 could not make sense of a source, as against having no room for it. No script has run that
/// could have changed how errors look.
fn is_syntax_error(scope: &mut v8::PinScope<'_, '_>, exception: v8::Local<'_, v8::Value>) -> bool {
    v8::tc_scope!(let caught, scope);
    let text = exception.to_string(caught);
    text.is_some_and(|text| text.to_rust_string_lossy(caught).starts_with("SyntaxError"))
}

/// Compiles a source as the module of a cell. `None` when an exception is pending.
pub(crate) fn compile<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    source: &str,
) -> Option<v8::Local<'s, v8::Module>> {
    let name = v8::String::new(scope, modules::MAIN)?;
    let source = v8::String::new(scope, source)?;
    let origin = own_script::origin(scope, name, true);
    let mut source = v8::script_compiler::Source::new(source, Some(&origin));
    v8::script_compiler::compile_module(scope, &mut source)
}

/// The error for the first static import that cannot be had, with its place. V8 would resolve the
/// imports without saying where they stand.
fn unsupported_import(
    scope: &mut v8::PinScope<'_, '_>,
    module: v8::Local<'_, v8::Module>,
) -> Option<String> {
    let requests = module.get_module_requests();
    for index in 0..requests.length() {
        let request = requests.get(scope, index)?;
        let request = v8::Local::<v8::ModuleRequest>::try_from(request).ok()?;
        let specifier = request.get_specifier().to_rust_string_lossy(scope);
        if !modules::is_supported(&specifier) {
            let place = module.source_offset_to_location(request.get_source_offset());
            let (line, column) = (place.get_line_number() + 1, place.get_column_number() + 1);
            let (unsupported, main) = (modules::UNSUPPORTED, modules::MAIN);
            return Some(format!(
                "Error: {unsupported}{specifier}\n    at {main}:{line}:{column}"
            ));
        }
    }
    None
}

fn start<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    module: v8::Local<'s, v8::Module>,
) -> Option<v8::Local<'s, v8::Promise>> {
    module.instantiate_module(scope, modules::resolve)?;
    let promise = module.evaluate(scope)?;
    v8::Local::<v8::Promise>::try_from(promise).ok()
}

/// Whether the module has settled; its rejection is the cell's error.
fn settled(
    scope: &mut v8::PinScope<'_, '_>,
    state: &Rc<ScriptState>,
    source: &str,
    promise: v8::Local<'_, v8::Promise>,
) -> Result<bool, Failed> {
    check(state)?;
    match promise.state() {
        v8::PromiseState::Pending => Ok(false),
        v8::PromiseState::Fulfilled => Ok(true),
        v8::PromiseState::Rejected => {
            v8::scope!(let scope, scope);
            let error = promise.result(scope);
            let text = errors::uncaught(scope, state, source, error, None);
            check(state)?;
            Err(Failed::Threw(text))
        }
    }
}

fn fire(
    scope: &mut v8::PinScope<'_, '_>,
    state: &Rc<ScriptState>,
    source: &str,
    timer: &v8::Global<v8::Function>,
) -> Result<(), Failed> {
    v8::tc_scope!(let caught, scope);
    let callback = v8::Local::new(caught, timer);
    let undefined = v8::undefined(caught);
    if callback.call(caught, undefined.into(), &[]).is_some() {
        return Ok(());
    }
    check(state)?;
    let Some(exception) = caught.exception() else {
        return Err(Failed::Stopped);
    };
    let message = caught.message();
    caught.reset();
    Err(Failed::Threw(errors::uncaught(
        caught, state, source, exception, message,
    )))
}

/// A script that has ended well fails all the same when a rejection is left that nobody handles.
fn report_unhandled(
    scope: &mut v8::PinScope<'_, '_>,
    state: &Rc<ScriptState>,
    source: &str,
) -> Result<(), Failed> {
    v8::scope!(let scope, scope);
    let first = state.rejections.borrow().first(scope);
    let Some((error, others)) = first else {
        return Ok(());
    };
    let text = errors::uncaught(scope, state, source, error, None);
    check(state)?;
    Err(Failed::Threw(errors::unhandled(&text, others)))
}
