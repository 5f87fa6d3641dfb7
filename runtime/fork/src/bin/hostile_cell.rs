// SPDX-License-Identifier: Apache-2.0
//! A program whose cells try what they must not when their script asks for it: for the escape suite.
//!
//! A script that loads the key `attempt: NAME: SURROUNDINGS` has its process try that attempt, and gets
//! what came of it.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use code_mode_fork::attempts::{ATTEMPTS, MAKE_CODE, Surroundings};

fn main() -> ExitCode {
    code_mode_fork::entry_with_probe(probe);
    ExitCode::from(2)
}

fn probe(key: &str) -> Option<String> {
    let (name, surroundings) = key.strip_prefix("attempt: ")?.split_once(": ")?;
    let attempt = ATTEMPTS
        .iter()
        .chain([&MAKE_CODE])
        .find(|attempt| attempt.name == name);
    let answer = match (attempt, Surroundings::decode(surroundings)) {
        (Some(attempt), Some(around)) => match (attempt.run)(&around) {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("refused: {error}"),
        },
        _ => "there is no such attempt".to_owned(),
    };
    Some(format!("{answer:?}"))
}
