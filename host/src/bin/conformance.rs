// SPDX-License-Identifier: Apache-2.0
//! Holds any V1 host to the wire contract and prints a table.
//!
//! `conformance --host PATH [--rule PREFIX] [--bare] [-- HOST-ARGUMENT …]`

#![forbid(unsafe_code)]

use std::process::{ExitCode, Stdio};
use std::time::Instant;

use code_mode_host::checker::{self, Args};
use code_mode_host::conformance::{End, Host, Mismatch, Tolerance, Transcript, play, rules};
use tokio::process::{Child, Command};

const USAGE: &str = "\
Holds any V1 host to the wire contract, one process per rule, and prints a table.

Usage: conformance --host PATH [--rule PREFIX] [--bare] [-- HOST-ARGUMENT ...]

Some rules bring arguments for the host; --bare leaves these out, for hosts that do not know them.

Exit status: 0 when every rule holds, 1 when one does not, 2 for a wrong command line.
";

fn main() -> ExitCode {
    checker::main(USAGE, run)
}

/// Plays every rule; true when all hold.
fn run(args: &Args) -> Result<bool, String> {
    let rules = rules().map_err(|error| error.to_string())?;
    let heads = ["rule", "verdict", "ms", "what differs"];
    args.table(
        heads,
        &rules,
        |rule| &rule.rule,
        |tokio, rule| {
            let start = Instant::now();
            let outcome = tokio.block_on(check(rule, args))?;
            let time = start.elapsed().as_millis().to_string();
            let (verdict, difference) = checker::verdict(&outcome);
            let row = [rule.rule.to_string(), verdict, time, difference];
            Ok((outcome.is_ok(), row))
        },
    )
}

async fn check(rule: &Transcript, args: &Args) -> Result<Result<(), Mismatch>, String> {
    let mut host = Command::new(&args.host)
        .args(args.host_arguments(&rule.arguments))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("Failed to start {}: {error}", args.host))?;
    let (Some(input), Some(output)) = (host.stdin.take(), host.stdout.take()) else {
        return Err("the host has no pipes".to_owned());
    };
    let id = host.id();
    let host = Host {
        reader: output,
        writer: input,
        terminate: || checker::terminate(id),
        end: end_of(&mut host),
    };
    Ok(play(rule, host, Tolerance::Timings).await)
}

async fn end_of(host: &mut Child) -> End {
    match host.wait().await {
        Ok(status) if status.success() => End::Clean,
        Ok(status) => End::Failed(status.to_string()),
        Err(error) => End::Failed(error.to_string()),
    }
}
