// SPDX-License-Identifier: Apache-2.0
//! Holds any V1 host to the wire contract and prints a table.
//!
//! `conformance --host PATH [--rule PREFIX] [-- HOST-ARGUMENT …]`

#![forbid(unsafe_code)]

use std::process::{ExitCode, Stdio};
use std::time::Instant;

use code_mode_host::checker::{self, Args};
use code_mode_host::conformance::{End, Mismatch, Tolerance, Transcript, play, rules};
use tokio::process::{Child, Command};

const USAGE: &str = "\
Holds any V1 host to the wire contract, one process per rule, and prints a table.

Usage: conformance --host PATH [--rule PREFIX] [-- HOST-ARGUMENT ...]

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
