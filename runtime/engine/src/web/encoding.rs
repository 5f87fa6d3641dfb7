// SPDX-License-Identifier: Apache-2.0
//! Text and bytes for `TextEncoder` and `TextDecoder`, as the crate `encoding_rs` reads them.

use encoding_rs::{Decoder, DecoderResult, Encoding, REPLACEMENT};

use super::values::{check_length, text_of};
use crate::callback::{Thrown, guarded, string};
use crate::limits::MAX_OPEN_DECODERS;

/// `encodingOf(label)`: the encoding's name, or null.
pub(super) fn name_of<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let label = text_of(scope, state, args.get(0))?;
        match encoding(&label) {
            Some(encoding) => {
                let name = encoding.name().to_ascii_lowercase();
                result.set(string(scope, &name)?.into());
            }
            None => result.set_null(),
        }
        Ok(())
    });
}

fn encoding(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).filter(|encoding| *encoding != REPLACEMENT)
}

/// `openDecoder(label, ignoreBOM)`: its number.
pub(super) fn open<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let label = text_of(scope, state, args.get(0))?;
        let encoding = encoding(&label)
            .ok_or_else(|| Thrown::Range(format!("there is no encoding {label:?}")))?;
        let decoder = if args.get(1).is_true() {
            encoding.new_decoder_without_bom_handling()
        } else {
            encoding.new_decoder_with_bom_removal()
        };
        let mut decoders = state.web.decoders.borrow_mut();
        if decoders.open.len() >= MAX_OPEN_DECODERS {
            return Err(Thrown::Range(format!(
                "more than {MAX_OPEN_DECODERS} decoders are within their input"
            )));
        }
        decoders.last += 1;
        let number = decoders.last;
        decoders.open.insert(number, decoder);
        // A number holds every integer up to 2^53 exactly, which no counter reaches.
        result.set_double(number as f64);
        Ok(())
    });
}

/// `decode(decoder, bytes, fatal, last)`: the text, or null when the bytes are none and that is fatal.
pub(super) fn decode<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let number = args.get(0).number_value(scope).unwrap_or(0.0) as u64;
        let is_last = args.get(3).is_true();
        let mut decoders = state.web.decoders.borrow_mut();
        let Some(decoder) = decoders.open.get_mut(&number) else {
            result.set_null();
            return Ok(());
        };
        let text = bytes_of(scope, args.get(1)).and_then(|bytes| {
            check_length(state, bytes.len())?;
            Ok(decoded(decoder, &bytes, args.get(2).is_true(), is_last))
        });
        if is_last || !matches!(text, Ok(Some(_))) {
            decoders.open.remove(&number);
        }
        drop(decoders);
        match text? {
            Some(text) => result.set(string(scope, &text)?.into()),
            None => result.set_null(),
        }
        Ok(())
    });
}

fn decoded(decoder: &mut Decoder, bytes: &[u8], is_fatal: bool, is_last: bool) -> Option<String> {
    if is_fatal {
        let room = decoder.max_utf8_buffer_length_without_replacement(bytes.len())?;
        let mut text = String::with_capacity(room);
        let (how, _) = decoder.decode_to_string_without_replacement(bytes, &mut text, is_last);
        matches!(how, DecoderResult::InputEmpty).then_some(text)
    } else {
        let mut text = String::with_capacity(decoder.max_utf8_buffer_length(bytes.len())?);
        let _ = decoder.decode_to_string(bytes, &mut text, is_last);
        Some(text)
    }
}

/// A copy of what an ArrayBuffer or a view of one holds; undefined holds nothing.
fn bytes_of<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    value: v8::Local<'s, v8::Value>,
) -> Result<Vec<u8>, Thrown> {
    if value.is_undefined() {
        return Ok(Vec::new());
    }
    if let Ok(view) = v8::Local::<v8::ArrayBufferView>::try_from(value) {
        let mut bytes = vec![0; view.byte_length()];
        let copied = view.copy_contents(&mut bytes);
        bytes.truncate(copied);
        return Ok(bytes);
    }
    let buffer = v8::Local::<v8::ArrayBuffer>::try_from(value);
    let buffer = buffer.map_err(|_| Thrown::Type("no bytes".to_owned()))?;
    let view = v8::Uint8Array::new(scope, buffer, 0, buffer.byte_length());
    let view = view.ok_or(Thrown::Pending)?;
    bytes_of(scope, view.into())
}

/// `encodeInto(text, view)`: how many UTF-16 units were read, and how many bytes written.
pub(super) fn encode_into<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let text = text_of(scope, state, args.get(0))?;
        let view = v8::Local::<v8::ArrayBufferView>::try_from(args.get(1))
            .map_err(|_| Thrown::Type("no place for bytes".to_owned()))?;
        let end = text.floor_char_boundary(view.byte_length());
        let text = text.get(..end).unwrap_or_default();
        let written = write(scope, view, text.as_bytes());
        let read = text.encode_utf16().count();
        let numbers = [read, written].map(|number| v8::Number::new(scope, number as f64).into());
        result.set(v8::Array::new_with_elements(scope, &numbers).into());
        Ok(())
    });
}

/// `utf8Length(text)`: the bytes that it takes.
pub(super) fn utf8_length<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    args: v8::FunctionCallbackArguments<'s>,
    mut result: v8::ReturnValue<'s, v8::Value>,
) {
    guarded(scope, |scope, state| {
        let text = args.get(0).to_string(scope).ok_or(Thrown::Pending)?;
        check_length(state, text.length())?;
        result.set_double(text.utf8_length(scope) as f64);
        Ok(())
    });
}

/// Writes into a view from its start; gives how many bytes.
pub(super) fn write(
    scope: &mut v8::PinScope<'_, '_>,
    view: v8::Local<'_, v8::ArrayBufferView>,
    bytes: &[u8],
) -> usize {
    let Some(buffer) = view.buffer(scope) else {
        return 0;
    };
    let store = buffer.get_backing_store();
    let from = view.byte_offset();
    let to = from.saturating_add(view.byte_length());
    let place = store.get(from..to).unwrap_or_default();
    for (place, byte) in place.iter().zip(bytes) {
        place.set(*byte);
    }
    place.len().min(bytes.len())
}
