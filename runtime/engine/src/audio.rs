// SPDX-License-Identifier: Apache-2.0
//! The helper `audio`.

use std::rc::Rc;

use code_mode_api::ContentItem;

use crate::callback::{Thrown, guarded};
use crate::output::{add, block_url, has_prefix, property};
use crate::script_state::ScriptState;
use crate::strings;

const INVALID_AUDIO: &str =
    "Tool call failed: invalid audio output. Pass a base64 data URI instead";
const AUDIO_MISUSE: &str = "audio expects a non-empty audio URL string, an object with audio_url, \
                            or a raw MCP audio block";

pub(crate) fn audio<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        Audio::of(scope, args.get(0), AUDIO_MISUSE)?.add(state)
    });
}

/// Sound that a script gives.
pub(crate) struct Audio {
    url: String,
}

impl Audio {
    /// Takes sound in any of the forms that `audio` knows.
    pub(crate) fn of<'s>(
        scope: &mut v8::PinScope<'s, '_>,
        value: v8::Local<'s, v8::Value>,
        misuse: &str,
    ) -> Result<Self, Thrown> {
        let misuse = || Thrown::Type(misuse.to_owned());
        if let Ok(url) = v8::Local::<v8::String>::try_from(value) {
            return Self::checked(strings::text(scope, url), misuse);
        }
        let object = v8::Local::<v8::Object>::try_from(value).map_err(|_| misuse())?;
        let url = property(scope, object, "audio_url")?;
        if let Ok(url) = v8::Local::<v8::String>::try_from(url) {
            return Self::checked(strings::text(scope, url), misuse);
        }
        let url = block_url(scope, object, "audio")?.ok_or_else(misuse)?;
        Self::checked(url, misuse)
    }

    fn checked(url: String, misuse: impl Fn() -> Thrown) -> Result<Self, Thrown> {
        if url.is_empty() {
            return Err(misuse());
        }
        if !has_prefix(&url, "data:") {
            return Err(Thrown::Type(INVALID_AUDIO.to_owned()));
        }
        Ok(Self { url })
    }

    /// Bytes that the sound takes of the cell's output.
    pub(crate) fn size(&self) -> usize {
        self.url.len()
    }

    pub(crate) fn add(self, state: &Rc<ScriptState>) -> Result<(), Thrown> {
        let item = ContentItem::Audio {
            audio_url: self.url,
        };
        add(state, item)
    }
}
