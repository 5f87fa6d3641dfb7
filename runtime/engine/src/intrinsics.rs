// SPDX-License-Identifier: Apache-2.0
//! Functions of the language as a context had them before any script ran.

/// Those that V8's interface does not offer.
pub(crate) struct Intrinsics {
    /// `JSON.parse`.
    pub(crate) parse: v8::Global<v8::Function>,
    /// `JSON.rawJSON`.
    pub(crate) raw_json: v8::Global<v8::Function>,
    /// `BigInt`.
    pub(crate) bigint: v8::Global<v8::Function>,
    /// `BigInt.prototype`.
    pub(crate) bigint_prototype: v8::Global<v8::Object>,
    /// `BigInt.prototype.toString`.
    pub(crate) bigint_to_string: v8::Global<v8::Function>,
}

impl Intrinsics {
    /// Takes them from a fresh context, which is entered.
    pub(crate) fn of(
        scope: &mut v8::PinScope<'_, '_>,
        context: v8::Local<'_, v8::Context>,
    ) -> Option<Self> {
        let global = context.global(scope);
        let json: v8::Local<v8::Object> = member(scope, global, "JSON")?;
        let bigint: v8::Local<v8::Function> = member(scope, global, "BigInt")?;
        let prototype: v8::Local<v8::Object> = member(scope, bigint.into(), "prototype")?;
        let parse: v8::Local<v8::Function> = member(scope, json, "parse")?;
        let raw_json: v8::Local<v8::Function> = member(scope, json, "rawJSON")?;
        let to_string: v8::Local<v8::Function> = member(scope, prototype, "toString")?;
        Some(Self {
            parse: v8::Global::new(scope, parse),
            raw_json: v8::Global::new(scope, raw_json),
            bigint: v8::Global::new(scope, bigint),
            bigint_prototype: v8::Global::new(scope, prototype),
            bigint_to_string: v8::Global::new(scope, to_string),
        })
    }
}

fn member<'s, T>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'s, v8::Object>,
    name: &str,
) -> Option<v8::Local<'s, T>>
where
    v8::Local<'s, T>: TryFrom<v8::Local<'s, v8::Value>>,
{
    let name = v8::String::new(scope, name)?;
    let value = object.get(scope, name.into())?;
    v8::Local::<T>::try_from(value).ok()
}
