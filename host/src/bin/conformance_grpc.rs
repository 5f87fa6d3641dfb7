//! Holds any host to the gRPC contract and prints a table.
//!
//! `conformance_grpc --host PATH [--rule PREFIX] [-- HOST-ARGUMENT …]`

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use code_mode_host::conformance_grpc::{GrpcHost, Mismatch, Transcript, play, rules};

const USAGE: &str = "\
Holds any host to the gRPC contract, one process per rule, over its standard input and output, and
prints a table.

Usage: conformance_grpc --host PATH [--rule PREFIX] [-- HOST-ARGUMENT ...]

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
    print("| rule | what it says | verdict | what differs |\n|---|---|---|---|\n")?;
    for rule in rules
        .iter()
        .filter(|rule| rule.rule.starts_with(&args.rule_prefix))
    {
        let verdict = tokio.block_on(async {
            let host = GrpcHost::start(&args.host, &args.host_arguments).await?;
            Ok::<_, String>(play(rule, &host).await)
        })?;
        print(&row(rule, &verdict))?;
        played += 1;
        failed += u32::from(verdict.is_err());
    }
    print(&format!("\n{played} rules, {failed} differ\n"))?;
    Ok(failed == 0)
}

fn row(rule: &Transcript, verdict: &Result<(), Mismatch>) -> String {
    let (verdict, difference) = match verdict {
        Ok(()) => ("holds", String::new()),
        // A bar would end the table's cell.
        Err(mismatch) => ("DIFFERS", mismatch.to_string().replace('|', "\\|")),
    };
    format!(
        "| `{}` | {} | {verdict} | {difference} |\n",
        rule.rule, rule.says
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
