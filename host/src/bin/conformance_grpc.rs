// SPDX-License-Identifier: Apache-2.0
//! Holds any host to the gRPC contract and prints a table.
//!
//! `conformance_grpc --host PATH [--rule PREFIX] [--bare] [-- HOST-ARGUMENT …]`

#![forbid(unsafe_code)]

use std::process::ExitCode;

use code_mode_host::checker::{self, Args};
use code_mode_host::conformance_grpc::{GrpcHost, play, rules};

const USAGE: &str = "\
Holds any host to the gRPC contract, one process per rule, over its standard input and output, and
prints a table.

Usage: conformance_grpc --host PATH [--rule PREFIX] [--bare] [-- HOST-ARGUMENT ...]

Some rules bring arguments for the host; --bare leaves these out, for hosts that do not know them.

Exit status: 0 when every rule holds, 1 when one does not, 2 for a wrong command line.
";

fn main() -> ExitCode {
    checker::main(USAGE, run)
}

/// Plays every rule; true when all hold.
fn run(args: &Args) -> Result<bool, String> {
    let rules = rules().map_err(|error| error.to_string())?;
    let heads = ["rule", "what it says", "verdict", "what differs"];
    args.table(
        heads,
        &rules,
        |rule| &rule.rule,
        |tokio, rule| {
            let outcome = tokio.block_on(async {
                let arguments = args.host_arguments(&rule.arguments);
                let mut host = GrpcHost::start(&args.host, &arguments).await?;
                Ok::<_, String>(play(rule, &mut host).await)
            })?;
            let (verdict, difference) = checker::verdict(&outcome);
            let name = format!("`{}`", rule.rule);
            let row = [name, rule.says.to_string(), verdict, difference];
            Ok((outcome.is_ok(), row))
        },
    )
}
