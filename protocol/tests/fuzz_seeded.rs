// SPDX-License-Identifier: Apache-2.0
//! The fuzz targets' oracles on a bounded number of inputs, the same ones every time.

#[path = "support/goldens.rs"]
mod goldens;
#[path = "support/oracle.rs"]
mod oracle;
mod support;

use code_mode_protocol::{ClientMessage, HostMessage};
use goldens::{CLIENT, Golden, HOST};
use oracle::Received;

/// Inputs that each test gives to its oracle.
const INPUTS: usize = 6_000;

/// A stream of pseudo-random numbers (xorshift64*), the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn pick<'a, T>(&mut self, entries: &'a [T]) -> &'a T {
        &entries[self.below(entries.len())]
    }
}

/// Parts of JSON and of the contract that a mutation may put anywhere.
const TOKENS: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "1.5",
    "\"\"",
    "{}",
    "[]",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\u{1F600}",
    " ",
    "\"type\":",
    "\"id\":",
    "\"status\":",
    "\"ok\"",
    "\"error\"",
    "\"message\":\"m\"",
    "\"limits\":{}",
    "\"code\":\"a\"",
    "\"values\":{}",
    "18446744073709551616",
];

/// Changes a few places of a text.
fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(4) {
        let at = random.below(text.len() + 1);
        match random.below(5) {
            0 if at < text.len() => text[at] = random.byte(),
            1 if at < text.len() => drop(text.remove(at)),
            2 => drop(text.splice(at..at, random.pick(TOKENS).bytes())),
            3 => text.truncate(at),
            _ => {
                let end = at + random.below(text.len() - at + 1).min(24);
                drop(text.splice(at..end, random.pick(TOKENS).bytes()));
            }
        }
        if text.is_empty() {
            return;
        }
    }
}

/// Runs an oracle on inputs that a generator makes, and checks that both kinds of inputs occur.
fn run(
    seed: u64,
    mut generate: impl FnMut(&mut Random) -> Vec<u8>,
    oracle: impl Fn(&[u8]) -> Received,
) {
    let mut random = Random(seed);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..INPUTS {
        match oracle(&generate(&mut random)) {
            Received::Accepted => accepted += 1,
            Received::Refused => refused += 1,
        }
    }
    assert!(
        accepted > INPUTS / 20 && refused > INPUTS / 20,
        "{accepted} and {refused}"
    );
}

fn mutated(goldens: &[Golden], random: &mut Random) -> Vec<u8> {
    let mut text = random.pick(goldens).json.as_bytes().to_vec();
    mutate(&mut text, random);
    text
}

#[test]
fn any_payload_from_a_client_is_a_stable_message_or_refused() {
    run(
        1,
        |random| mutated(CLIENT, random),
        oracle::payload::<ClientMessage>,
    );
}

#[test]
fn any_payload_from_a_host_is_a_stable_message_or_refused() {
    run(
        2,
        |random| mutated(HOST, random),
        oracle::payload::<HostMessage>,
    );
}

#[test]
fn any_stream_is_read_as_the_contract_says() {
    let stream = |random: &mut Random| {
        let mut stream = vec![random.byte()];
        for _ in 0..random.below(5) {
            let length = random.below(400);
            let payload: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            stream.extend(support::frame(&payload));
        }
        if random.below(2) == 0 {
            mutate(&mut stream, random);
        }
        stream
    };
    run(3, stream, oracle::frames);
}

/// Inputs that the fuzz targets once found, or that are easy to get wrong.
#[test]
fn known_inputs_hold() {
    for input in [
        b"".as_slice(),
        b"\0",
        b"\x01\0\0\0\0",
        b"\x01\xff\xff\xff\xff",
        b"\0\x01\0\0\0",
    ] {
        oracle::frames(input);
    }
    for input in [
        b"".as_slice(),
        b"\"",
        b"{\"type\":\"operation/cancel\",\"id\":-0}",
    ] {
        oracle::payload::<ClientMessage>(input);
        oracle::payload::<HostMessage>(input);
    }
}
