// SPDX-License-Identifier: Apache-2.0
//! The frame around every native function that a script can call: no panic crosses V8's frames, a
//! stopped script gets nothing more done, and Rust errors become exceptions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::panic_message;
use crate::script_state::ScriptState;
use crate::world::StopCause;

/// Why a native function does not return a value.
pub(crate) enum Thrown {
    /// An exception is pending in V8 already.
    Pending,
    /// To be thrown as a TypeError with this message.
    Type(String),
    /// To be thrown as a RangeError with this message.
    Range(String),
    /// The script ends here and cannot catch that.
    Stop(StopCause),
}

/// Runs the body of a native function.
pub(crate) fn guarded<'s, 'i>(
    scope: &mut v8::PinScope<'s, 'i>,
    body: impl FnOnce(&mut v8::PinScope<'s, 'i>, &Rc<ScriptState>) -> Result<(), Thrown>,
) {
    let Some(state) = ScriptState::of(scope) else {
        return;
    };
    if state.is_stopping() {
        halt(scope);
        return;
    }
    let thrown = match catch_unwind(AssertUnwindSafe(|| body(scope, &state))) {
        Ok(Ok(())) => return,
        Ok(Err(thrown)) => thrown,
        Err(panic) => Thrown::Stop(StopCause::Panic(panic_message(&*panic))),
    };
    match thrown {
        Thrown::Pending => {}
        Thrown::Type(message) => throw(scope, &message, v8::Exception::type_error),
        Thrown::Range(message) => throw(scope, &message, v8::Exception::range_error),
        Thrown::Stop(cause) => {
            state.stop(cause);
            halt(scope);
        }
    }
}

/// Runs the body of a callback of V8's own that fails by giving nothing. A panic stops the script.
pub(crate) fn shielded<'s, 'i, T>(
    scope: &mut v8::PinScope<'s, 'i>,
    body: impl FnOnce(&mut v8::PinScope<'s, 'i>) -> Option<T>,
) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(|| body(scope))) {
        Ok(given) => given,
        Err(panic) => {
            if let Some(state) = ScriptState::of(scope) {
                state.stop(StopCause::Panic(panic_message(&*panic)));
            }
            scope.terminate_execution();
            // V8 expects an exception of whoever gives nothing; no script catches it any more.
            let nothing = v8::undefined(scope);
            scope.throw_exception(nothing.into());
            None
        }
    }
}

/// V8 tells of a rejection without a handler, or of a handler that came later.
pub(crate) unsafe extern "C" fn promise_rejected(message: v8::PromiseRejectMessage) {
    // SAFETY: V8 calls this on the isolate's thread within a context, which is what a callback
    // scope needs; the scope ends with this function.
    v8::callback_scope!(unsafe scope, &message);
    let Some(state) = ScriptState::of(scope) else {
        return;
    };
    let noted = catch_unwind(AssertUnwindSafe(|| {
        state.rejections.borrow_mut().note(scope, &message);
    }));
    if let Err(panic) = noted {
        state.stop(StopCause::Panic(panic_message(&*panic)));
    }
}

type MakeError =
    for<'s, 'i> fn(&v8::PinScope<'s, 'i>, v8::Local<'_, v8::String>) -> v8::Local<'s, v8::Value>;

fn throw(scope: &mut v8::PinScope<'_, '_>, message: &str, make: MakeError) {
    // Without memory for the message V8 has thrown its own error already.
    if let Some(message) = v8::String::new(scope, message) {
        let error = make(scope, message);
        scope.throw_exception(error);
    }
}

/// Makes the termination of the script take effect in this very call. V8 looks for a request to
/// terminate at loops and calls of script functions only, so native code has to enter a loop.
fn halt(scope: &mut v8::PinScope<'_, '_>) {
    scope.terminate_execution();
    if let Some(source) = v8::String::new(scope, "for(;;);")
        && let Some(script) = v8::Script::compile(scope, source, None)
    {
        script.run(scope);
    }
}

/// A string for V8. The error says that V8 could not hold it and has thrown why.
pub(crate) fn string<'s>(
    scope: &v8::PinScope<'s, '_>,
    text: &str,
) -> Result<v8::Local<'s, v8::String>, Thrown> {
    v8::String::new(scope, text)
        .ok_or_else(|| Thrown::Range(format!("a string of {} bytes is too long", text.len())))
}
