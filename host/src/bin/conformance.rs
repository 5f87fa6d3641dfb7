//! Holds any V1 host to the wire contract and prints a table.
//!
//! `conformance --host PATH [--rule PREFIX] [-- HOST-ARGUMENT …]`

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use code_mode_host::conformance::{End, Mismatch, Tolerance, Transcript, play, rules};
use tokio::process::{Child, Command};

const USAGE: &str = "\
Holds any V1 host to the wire contract, one process per rule, and prints a table.

Usage: conformance --host PATH [--rule PREFIX] [-- HOST-ARGUMENT ...]

Exit status: 0 when every rule holds, 1 when one does not, 2 for a wrong command line.
";

/// What the command line asks for.
struct Args {
    host: String,
    host_arguments: Vec<String>,
    rule_prefix: String,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => return finish(print(USAGE), ExitCode::SUCCESS),
        Err(message) => {
            return finish(
                complain(&format!("{message}\n\n{USAGE}")),
                ExitCode::from(2),
            );
        }
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => finish(complain(&format!("{message}\n")), ExitCode::from(2)),
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut arguments = arguments.peekable();
    let mut host = None;
    let mut rule_prefix = String::new();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--host" => host = Some(value()?),
            "--rule" => rule_prefix = value()?,
            "--help" | "-h" => return Ok(None),
            "--" => break,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    let host = host.ok_or("--host PATH says which program to check")?;
    Ok(Some(Args {
        host,
        host_arguments: arguments.collect(),
        rule_prefix,
    }))
}

/// Plays every rule; true when all hold.
fn run(args: &Args) -> Result<bool, String> {
    let rules = rules().map_err(|error| error.to_string())?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("Failed to start Tokio: {error}"))?;
    let mut failed = 0;
    let mut played = 0;
    print("| rule | verdict | ms | what differs |\n|---|---|---|---|\n")?;
    for rule in rules
        .iter()
        .filter(|rule| rule.rule.starts_with(&args.rule_prefix))
    {
        let start = Instant::now();
        let verdict = tokio.block_on(check(rule, args))?;
        print(&row(rule, &verdict, start.elapsed()))?;
        played += 1;
        failed += u32::from(verdict.is_err());
    }
    print(&format!("\n{played} rules, {failed} differ\n"))?;
    Ok(failed == 0)
}

async fn check(rule: &Transcript, args: &Args) -> Result<Result<(), Mismatch>, String> {
    let mut host = Command::new(&args.host)
        .args(&args.host_arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("Failed to start {}: {error}", args.host))?;
    let (Some(input), Some(output)) = (host.stdin.take(), host.stdout.take()) else {
        return Err("the host has no pipes".to_owned());
    };
    Ok(play(rule, output, input, Tolerance::Timings, end_of(&mut host)).await)
}

async fn end_of(host: &mut Child) -> End {
    match host.wait().await {
        Ok(status) if status.success() => End::Clean,
        Ok(status) => End::Failed(status.to_string()),
        Err(error) => End::Failed(error.to_string()),
    }
}

fn row(rule: &Transcript, verdict: &Result<(), Mismatch>, time: Duration) -> String {
    let (verdict, difference) = match verdict {
        Ok(()) => ("holds", String::new()),
        // A bar would end the table's cell.
        Err(mismatch) => ("DIFFERS", mismatch.to_string().replace('|', "\\|")),
    };
    format!(
        "| {} | {verdict} | {} | {difference} |\n",
        rule.rule,
        time.as_millis()
    )
}

fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout().lock();
    let printed = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    printed.map_err(|error| format!("Failed to write to standard output: {error}"))
}

fn complain(text: &str) -> Result<(), String> {
    io::stderr()
        .write_all(text.as_bytes())
        .map_err(|error| error.to_string())
}

/// The status, or a failure's when the text before it could not be printed.
fn finish(printed: Result<(), String>, status: ExitCode) -> ExitCode {
    if printed.is_ok() {
        status
    } else {
        ExitCode::FAILURE
    }
}
