// SPDX-License-Identifier: Apache-2.0
//! `count_instructions`: measures a host program, or compares what was measured with the baseline.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use code_mode_instructions::{Figures, compare, measure};

const USAGE: &str = "\
Usage: count_instructions measure HOST FILE
       count_instructions compare BASELINE MEASURED

measure runs the program HOST under valgrind and writes its figures into FILE.
compare fails when a figure is not near the baseline's.

Exit status: 0 when all is well, 1 when a figure differs, 2 when nothing could be said.
";

/// Where the build root has it.
const VALGRIND: &str = "/usr/bin/valgrind";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["measure", host, file] => write_figures(host, file).map(|()| Vec::new()),
        ["compare", baseline, measured] => differences(baseline, measured),
        _ => Err(USAGE.to_owned()),
    };
    let (text, status) = match outcome {
        Ok(differences) if differences.is_empty() => return ExitCode::SUCCESS,
        Ok(differences) => (
            format!(
                "{}\nIf that is meant, renew the baseline: tools/bazel run //host/instructions:renew",
                differences.join("\n")
            ),
            1,
        ),
        Err(message) => (message, 2),
    };
    match writeln!(io::stderr(), "{}", text.trim_end()) {
        Ok(()) => ExitCode::from(status),
        Err(_) => ExitCode::FAILURE,
    }
}

fn write_figures(host: &str, file: &str) -> Result<(), String> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("Failed to start Tokio: {error}"))?;
    // Callgrind and the host start in this folder too, but valgrind looks a bare name up in PATH.
    let host = std::path::absolute(host)
        .map_err(|error| format!("Failed to make {host} absolute: {error}"))?;
    let profile = format!("{file}.callgrind");
    let measured = tokio.block_on(measure(Path::new(VALGRIND), &host, Path::new(&profile)));
    // There is none when valgrind has not run, and the reason for that is what to report.
    let removed = fs::remove_file(&profile);
    let measured = measured.map_err(|error| error.to_string())?;
    removed.map_err(|error| format!("Failed to remove {profile}: {error}"))?;
    fs::write(file, measured.to_string())
        .map_err(|error| format!("Failed to write {file}: {error}"))
}

fn differences(baseline: &str, measured: &str) -> Result<Vec<String>, String> {
    Ok(compare(&read(baseline)?, &read(measured)?))
}

fn read(path: &str) -> Result<Figures, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("Failed to read {path}: {error}"))?;
    Figures::parse(&text).map_err(|error| format!("{path}, {error}"))
}
