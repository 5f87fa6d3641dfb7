// SPDX-License-Identifier: Apache-2.0
//! The command line of the program `soak`.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use code_mode_client::ProviderConfig;

use crate::default_host::default_host;
use crate::soak::{SoakOptions, soak};

const USAGE: &str = "Usage: soak [--host PROGRAM] [--host-arg ARGUMENT]... [--seconds N] [--sample SECONDS] [--workers N]
       soak --help

Has clients do mixed work on one host for N seconds (600) and prints memory, descriptors, threads and
processes of the host and the times of short answers as CSV, one line for each sample (10 s).
Status 1: an answer was wrong, or the host has kept what it should have given back; standard error says what.
";

/// Carries out the command line of this process, and gives its exit status.
pub fn soak_main() -> ExitCode {
    let mut errors = std::io::stderr();
    if std::env::args_os()
        .skip(1)
        .any(|argument| argument == "--help")
    {
        return match std::io::stdout().write_all(USAGE.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let options = match parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            // Where standard error is closed too, the exit status has to do.
            let _ = write!(errors, "soak: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let wrong = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(soak(&options, &mut std::io::stdout())),
        Err(error) => {
            let _ = writeln!(errors, "soak: Failed to start a runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match wrong {
        Ok(wrong) if wrong.is_empty() => ExitCode::SUCCESS,
        Ok(wrong) => {
            for one in wrong {
                let _ = writeln!(errors, "soak: {one}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            let _ = writeln!(errors, "soak: the host was lost: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<SoakOptions, String> {
    let mut host = default_host();
    let mut host_arguments = Vec::new();
    let (mut seconds, mut sample, mut workers) = (600, 10, 4);
    let mut arguments = arguments.into_iter();
    while let Some(name) = arguments.next() {
        let name = name.to_string_lossy().into_owned();
        let value = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--host" => host = Some(value),
            "--host-arg" => host_arguments.push(value),
            "--seconds" => seconds = number(&name, &value)?,
            "--sample" => sample = number(&name, &value)?,
            "--workers" => workers = number(&name, &value)?,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    let host = host.ok_or("there is no host program; name one with --host")?;
    let mut config = ProviderConfig::new(host);
    config.arguments = host_arguments;
    Ok(SoakOptions {
        host: config,
        duration: Duration::from_secs(seconds),
        sample: Duration::from_secs(sample),
        workers,
    })
}

fn number(name: &str, value: &OsStr) -> Result<u64, String> {
    let number = value.to_str().and_then(|value| value.parse().ok());
    number
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("{name} needs a whole number above 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<SoakOptions, String> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn arguments_choose_host_and_times() {
        let options = parsed(&[
            "--host",
            "h",
            "--host-arg",
            "--timings",
            "--seconds",
            "7",
            "--workers",
            "2",
        ])
        .unwrap();
        assert_eq!(options.host.program, std::path::Path::new("h"));
        assert_eq!(options.host.arguments, ["--timings"]);
        assert_eq!(options.duration, Duration::from_secs(7));
        assert_eq!(options.sample, Duration::from_secs(10));
        assert_eq!(options.workers, 2);
    }

    #[test]
    fn wrong_arguments_say_what_is_wrong() {
        for (arguments, message) in [
            (
                &["--seconds", "0"][..],
                "--seconds needs a whole number above 0",
            ),
            (&["--seconds"], "--seconds needs a value"),
            (&["--what", "1"], "unknown argument \"--what\""),
        ] {
            assert_eq!(parsed(arguments).unwrap_err(), message);
        }
    }
}
