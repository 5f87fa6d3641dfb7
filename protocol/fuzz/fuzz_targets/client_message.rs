// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a message from a client.

#![no_main]

#[path = "../../tests/support/oracle.rs"]
mod oracle;
#[path = "../../tests/support/mod.rs"]
mod support;

use code_mode_protocol::ClientMessage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    oracle::payload::<ClientMessage>(input);
});
