// SPDX-License-Identifier: Apache-2.0
//! A program that is confined as a host is and then tries what a host must not: for the escape suite.
//!
//! `hostile_host none|best-effort stdio|sockets ATTEMPT SURROUNDINGS [TIMES]` prints what came of it, the last time.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use code_mode_fork::attempts::{ATTEMPTS, Surroundings};
use code_mode_fork::{Confinement, HostNeeds, confine_host};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [confinement, listening, name, surroundings, times @ ..] = arguments.as_slice() else {
        return ExitCode::from(2);
    };
    let times = times.first().map_or(Ok(1), |times| times.parse::<usize>());
    let confinement = match confinement.as_str() {
        "none" => Confinement::None,
        _ => Confinement::BestEffort,
    };
    let around = Surroundings::decode(surroundings);
    let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == name);
    let (Some(around), Some(attempt), Ok(times)) = (around, attempt, times) else {
        return ExitCode::from(2);
    };
    let needs = match listening.as_str() {
        "sockets" => HostNeeds {
            accepts: true,
            reads: vec!["/nonexistent/token".into()],
            removes: vec!["/nonexistent/socket".into()],
        },
        _ => HostNeeds::default(),
    };
    if confine_host(confinement, &needs).is_err() {
        return ExitCode::from(3);
    }
    for _ in 1..times {
        // What comes of the last one is told.
        let _ = (attempt.run)(&around);
    }
    let word = match (attempt.run)(&around) {
        Ok(()) => "done".to_owned(),
        Err(error) => format!("refused: {error}"),
    };
    match std::io::stdout().write_all(word.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(4),
    }
}
