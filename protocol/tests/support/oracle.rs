// SPDX-License-Identifier: Apache-2.0
//! What must hold for any bytes at all, for the fuzz targets and for the seeded run.
//!
//! An oracle takes bytes, panics when the code under test is wrong, and otherwise says how the
//! bytes were received. That a payload is refused is no failure. Each panic prints the input as a
//! literal, ready for a regression test.

#![allow(dead_code, reason = "each fuzz target uses a part")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use code_mode_protocol::{
    AgreedCapabilities, DecodeError, EncodeError, EncodedFrame, Extension, FrameReader,
    MAX_DECODE_ERROR_BYTES, MAX_FRAME_BYTES, Message, ReadError, decode,
};

use super::support::Pieces;

/// How an oracle's input was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A message, or a stream with a clean end.
    Accepted,
    /// Neither.
    Refused,
}

/// A payload either is no message, or is one that encodes and decodes to the same for ever.
pub fn payload<M: Message>(input: &[u8]) -> Received {
    let all = AgreedCapabilities::new(Extension::all_capabilities());
    let none = AgreedCapabilities::none();
    let shown = input.escape_ascii();
    let message: M = match decode(input, &all) {
        Ok(message) => message,
        Err(error) => {
            assert!(
                !matches!(error, DecodeError::NotAgreed(_)),
                "all is agreed: b\"{shown}\""
            );
            let bounded = match &error {
                DecodeError::Malformed(text) => text.len() <= MAX_DECODE_ERROR_BYTES,
                _ => true,
            };
            assert!(bounded, "an error of unbounded length: b\"{shown}\"");
            assert!(
                decode::<M>(input, &none).is_err(),
                "less agreed, more taken: b\"{shown}\""
            );
            return Received::Refused;
        }
    };
    let frame = match EncodedFrame::encode(&message, &all) {
        Ok(frame) => frame,
        Err(error) => panic!("a decoded message does not encode ({error}): b\"{shown}\""),
    };
    match decode::<M>(frame.payload(), &all) {
        Ok(again) => {
            let same = EncodedFrame::encode(&again, &all).is_ok_and(|again| again == frame);
            assert!(same, "encoding is not stable: b\"{shown}\"");
        }
        Err(error) => panic!("an encoded message does not decode ({error}): b\"{shown}\""),
    }
    // Without an agreement both doors say the same.
    match (
        EncodedFrame::encode(&message, &none),
        decode::<M>(input, &none),
    ) {
        (Ok(plain), Ok(_)) => assert!(plain == frame, "the agreement shows: b\"{shown}\""),
        (Err(EncodeError::NotAgreed(sent)), Err(DecodeError::NotAgreed(received))) => {
            assert!(
                sent == received,
                "the doors name two extensions: b\"{shown}\""
            );
        }
        // A field that says nothing is left out, so it is refused on the way in only.
        (Ok(plain), Err(DecodeError::NotAgreed(_))) if plain == frame => {}
        _ => panic!("one door is open and one is closed: b\"{shown}\""),
    }
    Received::Accepted
}

/// How a stream of frames ends.
#[derive(Debug, PartialEq)]
enum End {
    Clean,
    Truncated {
        received: usize,
        expected: Option<usize>,
    },
    TooLong(usize),
}

/// The frame reader finds what a plain reading of the contract finds, in whatever pieces the bytes
/// arrive. The first byte of the input chooses the size of the pieces.
pub fn frames(input: &[u8]) -> Received {
    let Some((size, stream)) = input.split_first() else {
        return Received::Refused;
    };
    let expected = expected_frames(stream);
    for size in [usize::MAX, usize::from(*size)] {
        let found = at_once(read_frames(stream, size));
        let shown = stream.escape_ascii();
        assert!(
            found == expected,
            "pieces of {size}, {found:?}, not {expected:?}: b\"{shown}\""
        );
    }
    if expected.1 == End::Clean {
        Received::Accepted
    } else {
        Received::Refused
    }
}

/// What the contract says about a stream, read without regard to memory or speed.
fn expected_frames(mut stream: &[u8]) -> (Vec<Vec<u8>>, End) {
    let mut payloads = Vec::new();
    while let Some((header, rest)) = stream.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_FRAME_BYTES {
            return (payloads, End::TooLong(length));
        }
        if rest.len() < length {
            let (received, expected) = (stream.len(), Some(4 + length));
            return (payloads, End::Truncated { received, expected });
        }
        let (payload, rest) = rest.split_at(length);
        payloads.push(payload.to_vec());
        stream = rest;
    }
    let end = match stream.len() {
        0 => End::Clean,
        received => End::Truncated {
            received,
            expected: None,
        },
    };
    (payloads, end)
}

/// The result of a future that never waits: a fuzzer has no time for a runtime around each input.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("an input that is always ready makes its reader wait"),
    }
}

async fn read_frames(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, End) {
    let mut reader = FrameReader::new(Pieces::new(stream, &[size]));
    let mut payloads = Vec::new();
    loop {
        let end = match reader.next_payload().await {
            Ok(Some(payload)) => {
                payloads.push(payload.to_vec());
                continue;
            }
            Ok(None) => End::Clean,
            Err(ReadError::Truncated { received, expected }) => {
                End::Truncated { received, expected }
            }
            Err(ReadError::TooLong { length }) => End::TooLong(length),
            Err(error) => panic!("an input that does not fail gives {error}"),
        };
        return (payloads, end);
    }
}
