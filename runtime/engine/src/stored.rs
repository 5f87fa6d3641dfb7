// SPDX-License-Identifier: Apache-2.0
//! The helpers `store` and `load`.

use std::sync::Arc;

use code_mode_api::LimitName;

use crate::callback::{Thrown, guarded};
use crate::world::StopCause;
use crate::{integers, json};

pub(crate) fn store<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let key = key(scope, args.get(0))?;
        let maximum = state.world.limits().stored_value_bytes;
        let maximum = usize::try_from(maximum).unwrap_or(usize::MAX);
        let value = {
            v8::tc_scope!(let caught, scope);
            match json::to_text(caught, args.get(1), LimitName::StoredValueBytes, maximum) {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(None),
                Err(Thrown::Pending) if caught.has_terminated() => {
                    return Err(Thrown::Pending);
                }
                Err(Thrown::Pending) => {
                    let cause = caught.exception().and_then(|error| error.to_string(caught));
                    Err(cause.map(|cause| cause.to_rust_string_lossy(caught)))
                }
                Err(Thrown::Type(cause) | Thrown::Range(cause)) => Err(Some(cause)),
                Err(stop @ Thrown::Stop(_)) => return Err(stop),
            }
        };
        let value = value.map_err(|cause| {
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            Thrown::Type(format!(
                "store cannot hold the value of {key:?} as JSON{cause}"
            ))
        })?;
        let stored = state.world.save(key, Arc::from(value));
        stored.map_err(|(limit, maximum)| Thrown::Stop(StopCause::Limit(limit, maximum)))
    });
}

pub(crate) fn load<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let key = key(scope, args.get(0))?;
        if let Some(value) = state.world.load(&key) {
            result.set(integers::parse(scope, state, &value).ok_or(Thrown::Pending)?);
        }
        Ok(())
    });
}

fn key<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    key: v8::Local<'s, v8::Value>,
) -> Result<String, Thrown> {
    let key = key.to_string(scope).ok_or(Thrown::Pending)?;
    Ok(key.to_rust_string_lossy(scope))
}
