// SPDX-License-Identifier: Apache-2.0
//! What must hold for any bytes that come in over the link between the host and a cell, in either
//! direction. An oracle panics when it does not; that bytes are refused is no failure.

#![allow(dead_code, reason = "each target takes one direction")]

use std::fmt::Debug;

use code_mode_fork::{FromCell, Nonsense, Received, ToCell};

/// Memory that a reader keeps for its next message, bytes: little, so that giving it back is tried too.
const KEPT_BYTES: usize = 16;

/// The messages of one direction.
trait Message: Debug + Sized {
    /// Reads a message without its header.
    fn decode(body: &[u8]) -> Result<Self, Nonsense>;
    /// The same of bytes that are given away.
    fn decode_own(body: Vec<u8>) -> Result<Self, Nonsense>;
    /// Appends the message.
    fn encode(&self, to: &mut Vec<u8>);
}

impl Message for FromCell {
    fn decode(body: &[u8]) -> Result<Self, Nonsense> {
        FromCell::decode(body)
    }

    fn decode_own(body: Vec<u8>) -> Result<Self, Nonsense> {
        FromCell::decode_own(body)
    }

    fn encode(&self, to: &mut Vec<u8>) {
        FromCell::encode(self, to);
    }
}

impl Message for ToCell {
    fn decode(body: &[u8]) -> Result<Self, Nonsense> {
        ToCell::decode(body)
    }

    fn decode_own(body: Vec<u8>) -> Result<Self, Nonsense> {
        ToCell::decode_own(body)
    }

    fn encode(&self, to: &mut Vec<u8>) {
        ToCell::encode(self, to);
    }
}

/// Reads a message without its header. A long one is read in another way, to the same end.
fn read<M: Message>(body: &[u8]) -> Result<M, Nonsense> {
    let message = M::decode(body);
    let own = M::decode_own(body.to_owned());
    let shown = body.escape_ascii();
    assert_eq!(format!("{own:?}"), format!("{message:?}"), "b\"{shown}\"");
    message
}

/// Any bytes as what a cell says to the host.
pub fn from_cell(input: &[u8]) {
    link::<FromCell>(input);
}

/// Any bytes as what the host says to a cell.
pub fn from_host(input: &[u8]) {
    link::<ToCell>(input);
}

/// The bytes are read as one message, and as a stream of them. The first byte of the input chooses the
/// size of the pieces in which the stream arrives.
fn link<M: Message>(input: &[u8]) {
    let Some((size, bytes)) = input.split_first() else {
        return;
    };
    one_message::<M>(bytes);
    let expected = expected_messages::<M>(bytes);
    for size in [usize::MAX, usize::from(*size).max(1)] {
        let found = read_messages::<M>(bytes, size);
        let shown = bytes.escape_ascii();
        assert!(
            found == expected,
            "pieces of {size}, {found:?}, not {expected:?}: b\"{shown}\""
        );
    }
}

/// What is a message encodes, and decodes to the same.
fn one_message<M: Message>(body: &[u8]) {
    let Ok(message) = read::<M>(body) else {
        return;
    };
    let shown = body.escape_ascii();
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    let Some((header, again)) = encoded.split_first_chunk::<4>() else {
        panic!("a message without a header: b\"{shown}\"");
    };
    assert_eq!(
        u32::from_le_bytes(*header) as usize,
        again.len(),
        "a length that is not the message's: b\"{shown}\""
    );
    match read::<M>(again) {
        Ok(again) => assert_eq!(
            format!("{again:?}"),
            format!("{message:?}"),
            "another message: b\"{shown}\""
        ),
        Err(error) => panic!("an encoded message does not decode ({error}): b\"{shown}\""),
    }
}

/// The messages of a stream, shown, and how many bytes are left behind the last; `None` when what comes
/// then is no message.
type Stream = (Vec<String>, Option<usize>);

/// A reading of the stream without regard to memory or speed.
fn expected_messages<M: Message>(mut stream: &[u8]) -> Stream {
    let mut messages = Vec::new();
    while let Some((header, rest)) = stream.split_first_chunk::<4>() {
        let Some((body, rest)) = rest.split_at_checked(u32::from_le_bytes(*header) as usize) else {
            break;
        };
        match read::<M>(body) {
            Ok(message) => messages.push(format!("{message:?}")),
            Err(_) => return (messages, None),
        }
        stream = rest;
    }
    (messages, Some(stream.len()))
}

fn read_messages<M: Message>(stream: &[u8], size: usize) -> Stream {
    let mut messages = Vec::new();
    let mut received = Received::default();
    for piece in stream.chunks(size) {
        received.rest().extend_from_slice(piece);
        loop {
            match received.take(KEPT_BYTES, read::<M>, M::decode_own) {
                Ok(Some(message)) => messages.push(format!("{message:?}")),
                Ok(None) => break,
                Err(_) => return (messages, None),
            }
        }
    }
    (messages, Some(received.rest().len()))
}
