// SPDX-License-Identifier: Apache-2.0
//! What the programs that hold a host to a contract share: their command line, their table, their exit
//! status.

use std::io::{self, Write};
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

/// What the command line asks for.
#[derive(Debug)]
pub struct Args {
    /// The program to check.
    pub host: String,
    host_arguments: Vec<String>,
    rule_prefix: String,
    bare: bool,
}

/// Checks what the command line asks for and prints what comes of it: success when `check` says that every
/// rule holds, 1 when one does not, 2 when the command line is wrong or nothing could be checked.
pub fn main(usage: &str, check: impl FnOnce(&Args) -> Result<bool, String>) -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => return finish(print(usage), ExitCode::SUCCESS),
        Err(message) => {
            return finish(
                complain(&format!("{message}\n\n{usage}")),
                ExitCode::from(2),
            );
        }
    };
    match check(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => finish(complain(&format!("{message}\n")), ExitCode::from(2)),
    }
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut arguments = arguments.peekable();
    let mut host = None;
    let mut rule_prefix = String::new();
    let mut bare = false;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--host" => host = Some(value()?),
            "--rule" => rule_prefix = value()?,
            "--bare" => bare = true,
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
        bare,
    }))
}

impl Args {
    /// What the host is started with for a rule that brings these arguments: those of the command line come
    /// later, so they count.
    pub fn host_arguments(&self, of_rule: &[String]) -> Vec<String> {
        let of_rule = if self.bare { &[] } else { of_rule };
        [of_rule, &self.host_arguments].concat()
    }

    /// Prints a table with a row of each rule that is asked for, below these heads of its columns. True when
    /// all rules hold. `check` gives whether one does, and its row.
    ///
    /// # Errors
    /// Of `check`, and when Tokio cannot be started or the table cannot be printed.
    pub fn table<'r, R>(
        &self,
        heads: [&str; 4],
        rules: &'r [R],
        name: impl Fn(&R) -> &str,
        mut check: impl FnMut(&Runtime, &'r R) -> Result<(bool, [String; 4]), String>,
    ) -> Result<bool, String> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("Failed to start Tokio: {error}"))?;
        let mut failed = 0;
        let mut played = 0;
        print(&format!("| {} |\n|---|---|---|---|\n", heads.join(" | ")))?;
        for rule in rules
            .iter()
            .filter(|rule| name(rule).starts_with(&self.rule_prefix))
        {
            let (holds, row) = check(&tokio, rule)?;
            print(&format!("| {} |\n", row.join(" | ")))?;
            played += 1;
            failed += u32::from(!holds);
        }
        print(&format!("\n{played} rules, {failed} differ\n"))?;
        Ok(failed == 0)
    }
}

/// Sends SIGTERM to a host with this id that nobody has waited for yet.
///
/// # Errors
/// When it has no id any more, or the signal cannot be sent.
pub fn terminate(id: Option<u32>) -> Result<(), String> {
    let id = id.and_then(|id| Pid::from_raw(id.cast_signed()));
    let id = id.ok_or("the host has ended before it was told to")?;
    kill_process(id, Signal::TERM)
        .map_err(|error| format!("Failed to send SIGTERM to the host: {error}"))
}

/// The verdict on a rule, and what differs.
pub fn verdict<M: ToString>(outcome: &Result<(), M>) -> (String, String) {
    match outcome {
        Ok(()) => ("holds".to_owned(), String::new()),
        // A bar would end the table's cell.
        Err(mismatch) => (
            "DIFFERS".to_owned(),
            mismatch.to_string().replace('|', "\\|"),
        ),
    }
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
