// SPDX-License-Identifier: Apache-2.0
//! Promises that were rejected and that nobody handles.

use crate::limits::MAX_TRACKED_REJECTIONS;

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

    /// Takes note of what V8 tells: a rejection without a handler, or a handler that came later.
    pub(crate) fn note(
        &mut self,
        scope: &mut v8::PinScope<'_, '_>,
        message: &v8::PromiseRejectMessage,
    ) {
        let promise = message.get_promise();
        match message.get_event() {
            v8::PromiseRejectEvent::PromiseRejectWithNoHandler => {
                if let Some(value) = message.get_value()
                    && self.unhandled.len() < MAX_TRACKED_REJECTIONS
                {
                    let promise = v8::Global::new(scope, promise);
                    let value = v8::Global::new(scope, value);
                    self.unhandled.push((promise, value));
                }
            }
            v8::PromiseRejectEvent::PromiseHandlerAddedAfterReject => {
                // Handlers come soon after the rejection as a rule, so the search begins at the end.
                let handled = self
                    .unhandled
                    .iter()
                    .rposition(|(other, _)| *other == promise);
                if let Some(index) = handled {
                    self.unhandled.remove(index);
                }
            }
            v8::PromiseRejectEvent::PromiseRejectAfterResolved
            | v8::PromiseRejectEvent::PromiseResolveAfterResolved => {}
        }
    }
}
