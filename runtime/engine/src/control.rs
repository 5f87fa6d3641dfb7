// SPDX-License-Identifier: Apache-2.0
//! The helpers that steer the cell: `exit`, `yield_control`, `setTimeout`, `clearTimeout`.

use code_mode_api::LimitName;

use crate::callback::{Thrown, guarded};
use crate::timers;
use crate::world::StopCause;

pub(crate) fn exit<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |_, _| Err(Thrown::Stop(StopCause::Exit)));
}

pub(crate) fn yield_control<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |_, state| {
        state.world.yield_control();
        Ok(())
    });
}

pub(crate) fn set_timeout<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let callback = v8::Local::<v8::Function>::try_from(args.get(0))
            .map_err(|_| Thrown::Type("setTimeout expects a function callback".to_owned()))?;
        let milliseconds = args.get(1).number_value(scope).ok_or(Thrown::Pending)?;
        let maximum = state.world.limits().timers;
        let mut timers = state.timers.borrow_mut();
        if timers.pending() as u64 >= maximum {
            return Err(Thrown::Stop(StopCause::Limit(LimitName::Timers, maximum)));
        }
        let callback = v8::Global::new(scope, callback);
        let timer = timers.add(timers::delay(milliseconds), callback);
        // A number holds every integer up to 2^53 exactly, which no counter reaches.
        result.set_double(timer as f64);
        Ok(())
    });
}

pub(crate) fn clear_timeout<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let timer = args.get(0);
        if timer.is_number() {
            // The cast takes what is no timer's number to one that is none either.
            let timer = timer.number_value(scope).unwrap_or(0.0) as u64;
            state.timers.borrow_mut().remove(timer);
        }
        Ok(())
    });
}
