// SPDX-License-Identifier: Apache-2.0
//! URLs and queries for `URL` and `URLSearchParams`, as the crate `url` reads them.

use url::{Url, form_urlencoded, quirks};

use super::values::{check_length, set, text_of};
use crate::callback::{Thrown, guarded, string};

/// `urlParse(url, base)`: the parts, or null when it is no URL.
pub(super) fn parse<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let text = text_of(scope, state, args.get(0))?;
        let base = args.get(1);
        let url = if base.is_undefined() {
            Url::parse(&text).ok()
        } else {
            let base = text_of(scope, state, base)?;
            let base = Url::parse(&base).ok();
            base.and_then(|base| base.join(&text).ok())
        };
        result.set(parts(scope, url.as_ref())?);
        Ok(())
    });
}

/// `urlSet(href, part, value)`: the parts with one of them changed, as far as it can be.
pub(super) fn set_part<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let href = text_of(scope, state, args.get(0))?;
        let part = text_of(scope, state, args.get(1))?;
        let value = text_of(scope, state, args.get(2))?;
        let mut url = Url::parse(&href).ok();
        if let Some(url) = &mut url {
            // A part that cannot take the value stays as it is: the web's setters say nothing then.
            let _ = match part.as_str() {
                "protocol" => quirks::set_protocol(url, &value),
                "username" => quirks::set_username(url, &value),
                "password" => quirks::set_password(url, &value),
                "host" => quirks::set_host(url, &value),
                "hostname" => quirks::set_hostname(url, &value),
                "port" => quirks::set_port(url, &value),
                "pathname" => {
                    quirks::set_pathname(url, &value);
                    Ok(())
                }
                "search" => {
                    quirks::set_search(url, &value);
                    Ok(())
                }
                "hash" => {
                    quirks::set_hash(url, &value);
                    Ok(())
                }
                _ => Err(()),
            };
        }
        result.set(parts(scope, url.as_ref())?);
        Ok(())
    });
}

fn parts<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    url: Option<&Url>,
) -> Result<v8::Local<'s, v8::Value>, Thrown> {
    let Some(url) = url else {
        return Ok(v8::null(scope).into());
    };
    let object = v8::Object::new(scope);
    let origin = quirks::origin(url);
    for (name, part) in [
        ("href", quirks::href(url)),
        ("origin", origin.as_str()),
        ("protocol", quirks::protocol(url)),
        ("username", quirks::username(url)),
        ("password", quirks::password(url)),
        ("host", quirks::host(url)),
        ("hostname", quirks::hostname(url)),
        ("port", quirks::port(url)),
        ("pathname", quirks::pathname(url)),
        ("search", quirks::search(url)),
        ("hash", quirks::hash(url)),
    ] {
        let part = string(scope, part)?;
        set(scope, object, name, part.into())?;
    }
    Ok(object.into())
}

/// `formParse(query)`: pairs of name and value.
pub(super) fn parse_query<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let query = text_of(scope, state, args.get(0))?;
        let mut pairs: Vec<v8::Local<v8::Value>> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let pair = [string(scope, &name)?.into(), string(scope, &value)?.into()];
            pairs.push(v8::Array::new_with_elements(scope, &pair).into());
        }
        result.set(v8::Array::new_with_elements(scope, &pairs).into());
        Ok(())
    });
}

/// `formSerialize(pairs)`: the query.
pub(super) fn write_query<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let pairs = array(args.get(0))?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut length = 0_usize;
        for index in 0..pairs.length() {
            let pair = pairs.get_index(scope, index).ok_or(Thrown::Pending)?;
            let pair = array(pair)?;
            let name = pair.get_index(scope, 0).ok_or(Thrown::Pending)?;
            let name = text_of(scope, state, name)?;
            let value = pair.get_index(scope, 1).ok_or(Thrown::Pending)?;
            let value = text_of(scope, state, value)?;
            length = length
                .saturating_add(name.len())
                .saturating_add(value.len());
            check_length(state, length)?;
            query.append_pair(&name, &value);
        }
        let query = query.finish();
        result.set(string(scope, &query)?.into());
        Ok(())
    });
}

fn array(value: v8::Local<'_, v8::Value>) -> Result<v8::Local<'_, v8::Array>, Thrown> {
    v8::Local::<v8::Array>::try_from(value)
        .map_err(|_| Thrown::Type("pairs of name and value are expected".to_owned()))
}
