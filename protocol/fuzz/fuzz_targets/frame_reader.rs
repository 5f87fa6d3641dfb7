// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a stream of frames.

#![no_main]

#[path = "../../tests/support/oracle.rs"]
mod oracle;
#[path = "../../tests/support/mod.rs"]
mod support;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    oracle::frames(input);
});
