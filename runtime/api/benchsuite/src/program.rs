// SPDX-License-Identifier: Apache-2.0
//! What the programs that measure have in common: from the command line to the printed table.

use std::ffi::OsString;
use std::io::Write;

use crate::instance::Subject;
use crate::json;
use crate::options::{Options, Parsed, Program};
use crate::report::Report;
use crate::table;
use crate::task::Failure;

/// Runs a program that measures, and gives its exit status: 0 after a run in which nothing failed,
/// 1 when something did (the table says what), 2 for a command line that cannot be understood.
///
/// `subjects` makes the subjects, in the order of their turns.
///
/// # Errors
/// When tokio cannot be started, or `out` or `err` takes no more.
pub fn run(
    program: &Program,
    arguments: impl IntoIterator<Item = OsString>,
    subjects: impl FnOnce(&Options) -> Vec<Box<dyn Subject>>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let options = match program.parse(arguments) {
        Ok(Parsed::Measure(options)) => options,
        Ok(Parsed::Help) => {
            out.write_all(program.usage().as_bytes())?;
            return Ok(0);
        }
        Err(error) => {
            write!(err, "exec_overhead: {error}\n\n{}", program.usage())?;
            return Ok(2);
        }
    };
    let subjects = subjects(&options);
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let measuring = tokio.spawn(async move {
        let report = Report::measure(&options, &subjects).await;
        (options, report)
    });
    let (options, report) = tokio.block_on(measuring)?;
    if options.json {
        writeln!(out, "{}", json::report(&options, &report))?;
    } else {
        out.write_all(table::table(&report).as_bytes())?;
    }
    Ok(u8::from(report.has_failed()))
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
