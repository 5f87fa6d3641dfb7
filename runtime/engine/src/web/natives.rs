// SPDX-License-Identifier: Apache-2.0
//! What `web.js` has only Rust do.

use super::values::text_of;
use super::{encoding, url};
use crate::callback::{Thrown, guarded, string};
use crate::{control, output, platform, readable};

/// The object with all of them.
pub(super) fn object<'s>(scope: &mut v8::PinScope<'s, '_>) -> Option<v8::Local<'s, v8::Object>> {
    let object = v8::Object::new(scope);
    let null = v8::null(scope);
    object.set_prototype(scope, null.into())?;
    for (name, builder) in [
        ("abandon", v8::Function::builder(abandon)),
        (
            "clearTimeout",
            v8::Function::builder(control::clear_timeout),
        ),
        ("decode", v8::Function::builder(encoding::decode)),
        ("encodeInto", v8::Function::builder(encoding::encode_into)),
        ("encodingOf", v8::Function::builder(encoding::name_of)),
        ("fillRandom", v8::Function::builder(fill_random)),
        ("formParse", v8::Function::builder(url::parse_query)),
        ("formSerialize", v8::Function::builder(url::write_query)),
        ("kind", v8::Function::builder(kind)),
        ("openDecoder", v8::Function::builder(encoding::open)),
        ("setTimeout", v8::Function::builder(control::set_timeout)),
        ("show", v8::Function::builder(show)),
        ("startedAt", v8::Function::builder(started_at)),
        ("text", v8::Function::builder(output::text)),
        ("urlParse", v8::Function::builder(url::parse)),
        ("urlSet", v8::Function::builder(url::set_part)),
        ("utf8Length", v8::Function::builder(encoding::utf8_length)),
    ] {
        let function = builder
            .constructor_behavior(v8::ConstructorBehavior::Throw)
            .build(scope)?;
        let name = v8::String::new(scope, name)?;
        object.create_data_property(scope, name.into(), function.into())?;
    }
    Some(object)
}

/// `kind(value)`: how `structuredClone` takes a value.
fn kind<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, _| {
        result.set(string(scope, kind_of(args.get(0)))?.into());
        Ok(())
    });
}

fn kind_of(value: v8::Local<'_, v8::Value>) -> &'static str {
    if !value.is_object() || value.is_function() {
        return "other";
    }
    let kinds = [
        (value.is_array(), "Array"),
        (value.is_array_buffer(), "ArrayBuffer"),
        (value.is_array_buffer_view(), "View"),
        (value.is_big_int_object(), "BigInt"),
        (value.is_boolean_object(), "Boolean"),
        (value.is_date(), "Date"),
        (value.is_map(), "Map"),
        (value.is_native_error(), "Error"),
        (value.is_number_object(), "Number"),
        (value.is_reg_exp(), "RegExp"),
        (value.is_set(), "Set"),
        (value.is_string_object(), "String"),
    ];
    let is_other = value.is_external()
        || value.is_generator_object()
        || value.is_map_iterator()
        || value.is_module_namespace_object()
        || value.is_promise()
        || value.is_proxy()
        || value.is_set_iterator()
        || value.is_shared_array_buffer()
        || value.is_symbol_object()
        || value.is_weak_map()
        || value.is_weak_set();
    let kind = kinds.into_iter().find(|(is_so, _)| *is_so);
    kind.map_or(if is_other { "other" } else { "Object" }, |(_, kind)| kind)
}

/// `show(value)`: as `text` shows it.
fn show<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, _| {
        result.set(readable::shown(scope, args.get(0))?.into());
        Ok(())
    });
}

/// `startedAt()`: when the script began.
fn started_at<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    _args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |_, state| {
        result.set_double(state.web.started());
        Ok(())
    });
}

/// `fillRandom(view)`: from the kernel's own generator, so forked cells share nothing.
fn fill_random<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, _| {
        let view = v8::Local::<v8::ArrayBufferView>::try_from(args.get(0))
            .map_err(|_| Thrown::Type("no place for bytes".to_owned()))?;
        let mut bytes = vec![0; view.byte_length()];
        platform::fill_random(&mut bytes)
            .map_err(|error| Thrown::Type(format!("no random numbers: {error}")))?;
        encoding::write(scope, view, &bytes);
        Ok(())
    });
}

/// `abandon(call, reason)`: the call's promise is rejected now, and its tool is told. An answer that comes all the
/// same is dropped.
fn abandon<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let call = text_of(scope, state, args.get(0))?;
        let call: u64 = call.parse().unwrap_or(0);
        let pending = state.calls.borrow_mut().remove(&call);
        if let Some(pending) = pending {
            state.world.abandon(call);
            let resolver = v8::Local::new(scope, &pending.resolver);
            resolver.reject(scope, args.get(1)).ok_or(Thrown::Pending)?;
        }
        Ok(())
    });
}
