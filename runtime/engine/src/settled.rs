// SPDX-License-Identifier: Apache-2.0
//! The helpers `as_settled` and `stream_settled`: promises in the order in which they settle.
//!
//! They are JavaScript of our own (`settled.js`), since an async generator is what scripts get.
//! It is compiled when a script first uses one of them, so that cells which do not pay nothing, and
//! V8 finds what it has compiled when it is used again.

use crate::callback::{Thrown, guarded, string};

const SOURCE: &str = include_str!("settled.js");
/// What stands for the source in stacks.
const NAME: &str = "code_mode:settled";

const NO_CALLBACK: &str = "stream_settled requires a callback";
const NOT_ITERABLE: &str = "promises is not iterable";

pub(crate) fn as_settled<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, _| {
        let none = v8::undefined(scope).into();
        let each = settled(scope, args.get(0), none)?;
        result.set(each);
        Ok(())
    });
}

/// Errors of use reject the promise that this gives, as they would of an async function.
pub(crate) fn stream_settled<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, _| {
        let error = if args.get(1).is_function() {
            v8::tc_scope!(let caught, scope);
            match settled(caught, args.get(0), args.get(1)) {
                Ok(done) => {
                    // A promise around this one would be settled through `then`, which a script may
                    // have replaced.
                    result.set(done);
                    return Ok(());
                }
                Err(Thrown::Type(message)) => {
                    let message = string(caught, &message)?;
                    v8::Exception::type_error(caught, message)
                }
                Err(Thrown::Pending) if !caught.has_terminated() => {
                    let error = caught.exception().ok_or(Thrown::Pending)?;
                    caught.reset();
                    error
                }
                Err(thrown) => return Err(thrown),
            }
        } else {
            let message = string(scope, NO_CALLBACK)?;
            v8::Exception::type_error(scope, message)
        };
        let resolver = v8::PromiseResolver::new(scope).ok_or(Thrown::Pending)?;
        resolver.reject(scope, error).ok_or(Thrown::Pending)?;
        result.set(resolver.get_promise(scope).into());
        Ok(())
    });
}

/// Calls our JavaScript: with a function for each result, or with undefined for a generator.
fn settled<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    promises: v8::Local<'s, v8::Value>,
    emit: v8::Local<'s, v8::Value>,
) -> Result<v8::Local<'s, v8::Value>, Thrown> {
    if !promises.is_object() && !promises.is_string() {
        return Err(Thrown::Type(NOT_ITERABLE.to_owned()));
    }
    let pairs = match v8::Local::<v8::Map>::try_from(promises) {
        Ok(map) => map.as_array(scope).into(),
        Err(_) => v8::undefined(scope).into(),
    };
    let run = compiled(scope)?;
    let receiver = v8::undefined(scope).into();
    run.call(scope, receiver, &[promises, pairs, emit])
        .ok_or(Thrown::Pending)
}

fn compiled<'s>(scope: &mut v8::PinScope<'s, '_>) -> Result<v8::Local<'s, v8::Function>, Thrown> {
    let source = string(scope, SOURCE)?;
    let name = string(scope, NAME)?;
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
    let script = v8::Script::compile(scope, source, Some(&origin)).ok_or(Thrown::Pending)?;
    let run = script.run(scope).ok_or(Thrown::Pending)?;
    v8::Local::<v8::Function>::try_from(run).map_err(|_| Thrown::Pending)
}
