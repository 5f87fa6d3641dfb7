// SPDX-License-Identifier: Apache-2.0
//! The helpers that make output: `text`, `image`, `generatedImage`, `notify`.
//!
//! Messages of misuse are those of `javascript-surface.md`, section *Output*.

use std::rc::Rc;

use code_mode_api::{ContentItem, ImageDetail, LimitName};

use crate::callback::{Thrown, guarded, string};
use crate::readable;
use crate::script_state::ScriptState;
use crate::strings;
use crate::world::StopCause;

const REMOTE_IMAGE: &str = "Tool call failed: remote image URLs are not supported in tool outputs. \
                            Pass a base64 data URI instead";
const INVALID_IMAGE: &str =
    "Tool call failed: invalid image output. Pass a base64 data URI instead";
const WRONG_DETAIL: &str = "image detail must be one of: auto, low, high, original";
const IMAGE_MISUSE: &str = "image expects a non-empty image URL string, an object with image_url \
                            and optional detail, or a raw MCP image block";
const GENERATED_IMAGE_MISUSE: &str =
    "generatedImage expects an object with image_url and optional output_hint";
const BLANK_NOTIFICATION: &str = "notify expects non-empty text";

pub(crate) fn text<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let limit = state.world.limits().output_bytes;
        let text = printed(scope, args.get(0), LimitName::OutputBytes, limit)?;
        let hint = state.changed.hint(&text);
        add_text(state, text)?;
        hint.map_or(Ok(()), |hint| add_text(state, hint))
    });
}

pub(crate) fn image<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let mut image = Image::of(scope, args.get(0), IMAGE_MISUSE)?;
        let override_ = args.get(1);
        if !override_.is_null_or_undefined() {
            image.detail = detail_of(scope, override_)?;
        }
        image.add(state)
    });
}

pub(crate) fn generated_image<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let misuse = || Thrown::Type(GENERATED_IMAGE_MISUSE.to_owned());
        let object = v8::Local::<v8::Object>::try_from(args.get(0)).map_err(|_| misuse())?;
        let url = property(scope, object, "image_url")?;
        if !url.is_string() {
            return Err(misuse());
        }
        let image = Image::of(scope, url, GENERATED_IMAGE_MISUSE)?;
        let hint = property(scope, object, "output_hint")?;
        if !hint.is_null_or_undefined() && !hint.is_string() {
            return Err(misuse());
        }
        image.add(state)?;
        if hint.is_string() {
            let limit = state.world.limits().output_bytes;
            let hint = printed(scope, hint, LimitName::OutputBytes, limit)?;
            if !hint.is_empty() {
                add_text(state, hint)?;
            }
        }
        Ok(())
    });
}

pub(crate) fn notify<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let maximum = state.world.limits().value_bytes;
        let text = printed(scope, args.get(0), LimitName::ValueBytes, maximum)?;
        if text.trim().is_empty() {
            return Err(Thrown::Type(BLANK_NOTIFICATION.to_owned()));
        }
        let sent = state.world.notify(state.next_call(), text);
        sent.map_err(|(limit, maximum)| Thrown::Stop(StopCause::Limit(limit, maximum)))
    });
}

/// A value as `text` shows it.
pub(super) fn printed<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
    limit: LimitName,
    maximum: u64,
) -> Result<String, Thrown> {
    let shown = readable::shown(scope, value)?;
    // This saves copying what is too long; the world has the last word.
    if shown.length() as u64 > maximum {
        return Err(Thrown::Stop(StopCause::Limit(limit, maximum)));
    }
    let text = strings::text(scope, shown);
    if text.len() as u64 > maximum {
        return Err(Thrown::Stop(StopCause::Limit(limit, maximum)));
    }
    Ok(text)
}

pub(super) fn add_text(state: &Rc<ScriptState>, text: String) -> Result<(), Thrown> {
    add(state, ContentItem::Text(text))
}

pub(super) fn add(state: &Rc<ScriptState>, item: ContentItem) -> Result<(), Thrown> {
    let added = state.world.output(item);
    added.map_err(|(limit, maximum)| Thrown::Stop(StopCause::Limit(limit, maximum)))
}

/// An image that a script gives.
pub(super) struct Image {
    url: String,
    detail: ImageDetail,
}

impl Image {
    /// Takes an image in any of the forms that `image` knows.
    pub(super) fn of<'s>(
        scope: &mut v8::PinScope<'s, '_>,
        value: v8::Local<'s, v8::Value>,
        misuse: &str,
    ) -> Result<Self, Thrown> {
        let misuse = || Thrown::Type(misuse.to_owned());
        if let Ok(url) = v8::Local::<v8::String>::try_from(value) {
            let url = strings::text(scope, url);
            return Self::checked(url, ImageDetail::High, misuse);
        }
        let object = v8::Local::<v8::Object>::try_from(value).map_err(|_| misuse())?;
        let url = property(scope, object, "image_url")?;
        if let Ok(url) = v8::Local::<v8::String>::try_from(url) {
            let detail = property(scope, object, "detail")?;
            let detail = if detail.is_null_or_undefined() {
                ImageDetail::High
            } else {
                detail_of(scope, detail)?
            };
            return Self::checked(strings::text(scope, url), detail, misuse);
        }
        let url = block_url(scope, object, "image")?.ok_or_else(misuse)?;
        Self::checked(url, ImageDetail::High, misuse)
    }

    fn checked(
        url: String,
        detail: ImageDetail,
        misuse: impl Fn() -> Thrown,
    ) -> Result<Self, Thrown> {
        if url.trim().is_empty() {
            return Err(misuse());
        }
        if has_prefix(&url, "http://") || has_prefix(&url, "https://") {
            return Err(Thrown::Type(REMOTE_IMAGE.to_owned()));
        }
        if !has_prefix(&url, "data:") {
            return Err(Thrown::Type(INVALID_IMAGE.to_owned()));
        }
        Ok(Self { url, detail })
    }

    /// Bytes that the image takes of the cell's output.
    pub(super) fn size(&self) -> usize {
        self.url.len()
    }

    pub(super) fn add(self, state: &Rc<ScriptState>) -> Result<(), Thrown> {
        add(
            state,
            ContentItem::Image {
                image_url: self.url,
                detail: Some(self.detail),
            },
        )
    }
}

/// The `data:` URI of an MCP block of this kind; `None` when the object is none.
pub(super) fn block_url<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'s, v8::Object>,
    expected: &str,
) -> Result<Option<String>, Thrown> {
    let kind = property(scope, object, "type")?;
    let data = property(scope, object, "data")?;
    let media_type = property(scope, object, "mimeType")?;
    let is_block = kind.is_string() && kind.to_rust_string_lossy(scope) == expected;
    if !is_block || !data.is_string() || !media_type.is_string() {
        return Ok(None);
    }
    let media_type = media_type.to_rust_string_lossy(scope);
    let data = data.to_rust_string_lossy(scope);
    if data.is_empty() || media_type.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!("data:{media_type};base64,{data}")))
}

/// Whether a URL begins with this, in upper or lower case.
pub(super) fn has_prefix(url: &str, prefix: &str) -> bool {
    url.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn detail_of<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
) -> Result<ImageDetail, Thrown> {
    let wrong = || Thrown::Type(WRONG_DETAIL.to_owned());
    if !value.is_string() {
        return Err(wrong());
    }
    match value.to_rust_string_lossy(scope).as_str() {
        "auto" => Ok(ImageDetail::Auto),
        "low" => Ok(ImageDetail::Low),
        "high" => Ok(ImageDetail::High),
        "original" => Ok(ImageDetail::Original),
        _ => Err(wrong()),
    }
}

pub(super) fn property<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'s, v8::Object>,
    name: &str,
) -> Result<v8::Local<'s, v8::Value>, Thrown> {
    let name = string(scope, name)?;
    object.get(scope, name.into()).ok_or(Thrown::Pending)
}
