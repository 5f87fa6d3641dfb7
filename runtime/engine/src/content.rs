// SPDX-License-Identifier: Apache-2.0
//! The helper `content`: blocks as MCP tools give them.

use std::rc::Rc;

use code_mode_api::LimitName;

use crate::audio::Audio;
use crate::callback::{Thrown, guarded, string};
use crate::json;
use crate::output::{Image, add_text, printed, property};
use crate::script_state::ScriptState;
use crate::world::StopCause;

const CONTENT_MISUSE: &str = "content expects one MCP ContentBlock";

pub(crate) fn content<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    _result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        // Nothing is put out before all of it is known to be right.
        let blocks = blocks(scope, state, args.get(0))?;
        blocks.into_iter().try_for_each(|block| block.add(state))
    });
}

/// What one block puts out.
enum Block {
    Text(String),
    Image(Image),
    Audio(Audio),
}

impl Block {
    fn add(self, state: &Rc<ScriptState>) -> Result<(), Thrown> {
        match self {
            Self::Text(text) => add_text(state, text),
            Self::Image(image) => image.add(state),
            Self::Audio(audio) => audio.add(state),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Image(image) => image.size(),
            Self::Audio(audio) => audio.size(),
        }
    }
}

fn misuse() -> Thrown {
    Thrown::Type(CONTENT_MISUSE.to_owned())
}

/// The blocks of a value: one, or an iterable of them.
fn blocks<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    value: v8::Local<'s, v8::Value>,
) -> Result<Vec<Block>, Thrown> {
    let object = v8::Local::<v8::Object>::try_from(value).map_err(|_| misuse())?;
    let method = object
        .get(scope, v8::Symbol::get_iterator(scope).into())
        .ok_or(Thrown::Pending)?;
    let Ok(method) = v8::Local::<v8::Function>::try_from(method) else {
        return Ok(vec![block(scope, state, value)?]);
    };
    let iterator = method
        .call(scope, object.into(), &[])
        .ok_or(Thrown::Pending)?;
    let iterator = v8::Local::<v8::Object>::try_from(iterator).map_err(|_| misuse())?;
    let next = property(scope, iterator, "next")?;
    let next = v8::Local::<v8::Function>::try_from(next).map_err(|_| misuse())?;
    let limits = state.world.limits();
    let mut blocks = Vec::new();
    let mut bytes = 0;
    loop {
        v8::scope!(let scope, scope);
        let step = next
            .call(scope, iterator.into(), &[])
            .ok_or(Thrown::Pending)?;
        let step = v8::Local::<v8::Object>::try_from(step).map_err(|_| misuse())?;
        if property(scope, step, "done")?.boolean_value(scope) {
            return Ok(blocks);
        }
        let value = property(scope, step, "value")?;
        match block(scope, state, value) {
            Ok(block) => {
                bytes += block.size() as u64;
                blocks.push(block);
            }
            Err(thrown) => {
                close(scope, iterator, &thrown)?;
                return Err(thrown);
            }
        }
        // What the output would not take need not be collected; the cell ends either way.
        if blocks.len() as u64 > limits.output_items {
            let limit = StopCause::Limit(LimitName::OutputItems, limits.output_items);
            return Err(Thrown::Stop(limit));
        }
        if bytes > limits.output_bytes {
            let limit = StopCause::Limit(LimitName::OutputBytes, limits.output_bytes);
            return Err(Thrown::Stop(limit));
        }
    }
}

/// Tells an iterator that it is not read to its end, as a loop of the language does.
fn close<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    iterator: v8::Local<'s, v8::Object>,
    thrown: &Thrown,
) -> Result<(), Thrown> {
    // With an exception pending, or a script that is to stop, nothing more can be called.
    if !matches!(thrown, Thrown::Type(_) | Thrown::Range(_)) {
        return Ok(());
    }
    let method = property(scope, iterator, "return")?;
    if let Ok(method) = v8::Local::<v8::Function>::try_from(method) {
        method
            .call(scope, iterator.into(), &[])
            .ok_or(Thrown::Pending)?;
    }
    Ok(())
}

/// One block.
fn block<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    state: &ScriptState,
    value: v8::Local<'s, v8::Value>,
) -> Result<Block, Thrown> {
    let object = v8::Local::<v8::Object>::try_from(value).map_err(|_| misuse())?;
    let kind = property(scope, object, "type")?;
    if !kind.is_string() {
        return Err(misuse());
    }
    let limit = state.world.limits().output_bytes;
    match kind.to_rust_string_lossy(scope).as_str() {
        "text" => {
            let text = property(scope, object, "text")?;
            if !text.is_string() {
                return Err(misuse());
            }
            printed(scope, text, LimitName::OutputBytes, limit).map(Block::Text)
        }
        "image" => {
            require_data(scope, object)?;
            Image::of(scope, value, CONTENT_MISUSE).map(Block::Image)
        }
        "audio" => {
            require_data(scope, object)?;
            Audio::of(scope, value, CONTENT_MISUSE).map(Block::Audio)
        }
        "resource" | "resource_link" => {
            let maximum = usize::try_from(limit).unwrap_or(usize::MAX);
            let text = json::to_text(scope, value, LimitName::OutputBytes, maximum)?;
            text.map(Block::Text).ok_or_else(misuse)
        }
        _ => Err(misuse()),
    }
}

/// A block of data has that and no address, which the helpers take as well.
fn require_data<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    object: v8::Local<'s, v8::Object>,
) -> Result<(), Thrown> {
    for name in ["data", "mimeType"] {
        let name = string(scope, name)?;
        let value = object.get(scope, name.into()).ok_or(Thrown::Pending)?;
        if !value.is_string() {
            return Err(misuse());
        }
    }
    Ok(())
}
