//! The helper `audio`.

use std::rc::Rc;

use code_mode_api::ContentItem;

use super::callback::{Thrown, guarded};
use super::output::{add, property};
use super::state::ScriptState;
use super::strings;

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
        let kind = property(scope, object, "type")?;
        let data = property(scope, object, "data")?;
        let media_type = property(scope, object, "mimeType")?;
        let is_block = kind.is_string() && kind.to_rust_string_lossy(scope) == "audio";
        if !is_block || !data.is_string() || !media_type.is_string() {
            return Err(misuse());
        }
        let media_type = media_type.to_rust_string_lossy(scope);
        let data = data.to_rust_string_lossy(scope);
        if data.is_empty() || media_type.is_empty() {
            return Err(misuse());
        }
        Self::checked(format!("data:{media_type};base64,{data}"), misuse)
    }

    fn checked(url: String, misuse: impl Fn() -> Thrown) -> Result<Self, Thrown> {
        if url.is_empty() {
            return Err(misuse());
        }
        let is_data = url
            .get(..5)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
        if !is_data {
            return Err(Thrown::Type(INVALID_AUDIO.to_owned()));
        }
        Ok(Self { url })
    }

    /// Bytes that the sound takes of the cell's output.
    pub(crate) fn size(&self) -> usize {
        self.url.len()
    }

    pub(crate) fn add(self, state: &Rc<ScriptState>) -> Result<(), Thrown> {
        let size = self.size();
        let item = ContentItem::Audio {
            audio_url: self.url,
        };
        add(state, item, size)
    }
}
