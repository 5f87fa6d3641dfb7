// SPDX-License-Identifier: Apache-2.0
//! Scripts against the helpers, in an isolate: any text as a script, or bytes as the choices of one that is written for
//! them.

#![no_main]

#[path = "support/generator.rs"]
mod generator;
#[path = "support/trial.rs"]
mod trial;

/// Inputs that begin with such a byte are choices, all others are a source.
const FIRST_OF_CHOICES: u8 = 0x80;

code_mode_fuzz::fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((&first, choices)) if first >= FIRST_OF_CHOICES => {
            trial::run(&generator::script(choices), first);
        }
        Some((&first, _)) => trial::run(&String::from_utf8_lossy(input), first),
        None => {}
    }
});
