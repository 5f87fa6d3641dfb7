// SPDX-License-Identifier: Apache-2.0
//! Promises that were rejected and that nobody handles.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::limits::MAX_TRACKED_REJECTIONS;
use crate::panic_message;
use crate::script_state::ScriptState;
use crate::world::StopCause;

/// Rejected promises without a handler, in the order of their rejection.
#[derive(Default)]
pub(crate) struct Rejections {
    unhandled: Vec<(v8::Global<v8::Promise>, v8::Global<v8::Value>)>,
}

impl Rejections {
    /// The first rejection that is still unhandled, and the number of the others.
    pub(crate) fn first<'s>(
        &self,
        scope: &mut v8::PinScope<'s, '_>,
    ) -> Option<(v8::Local<'s, v8::Value>, usize)> {
        let (_, value) = self.unhandled.first()?;
        Some((v8::Local::new(scope, value), self.unhandled.len() - 1))
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
    let noted = catch_unwind(AssertUnwindSafe(|| note(scope, &state, &message)));
    if let Err(panic) = noted {
        state.stop(StopCause::Panic(panic_message(&*panic)));
    }
}

fn note(scope: &mut v8::PinScope<'_, '_>, state: &ScriptState, message: &v8::PromiseRejectMessage) {
    let promise = message.get_promise();
    let mut rejections = state.rejections.borrow_mut();
    match message.get_event() {
        v8::PromiseRejectEvent::PromiseRejectWithNoHandler => {
            if let Some(value) = message.get_value()
                && rejections.unhandled.len() < MAX_TRACKED_REJECTIONS
            {
                let promise = v8::Global::new(scope, promise);
                let value = v8::Global::new(scope, value);
                rejections.unhandled.push((promise, value));
            }
        }
        v8::PromiseRejectEvent::PromiseHandlerAddedAfterReject => {
            // Handlers come soon after the rejection as a rule, so the search begins at the end.
            let handled = rejections
                .unhandled
                .iter()
                .rposition(|(other, _)| *other == promise);
            if let Some(index) = handled {
                rejections.unhandled.remove(index);
            }
        }
        v8::PromiseRejectEvent::PromiseRejectAfterResolved
        | v8::PromiseRejectEvent::PromiseResolveAfterResolved => {}
    }
}
