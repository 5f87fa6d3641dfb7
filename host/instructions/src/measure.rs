// SPDX-License-Identifier: Apache-2.0
//! Runs the host under callgrind.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::conversation::converse;
use crate::threads::Threads;
use crate::{Error, Figures, SCENARIOS, Scenario};

/// How long one run of a scenario may take: many times what it takes on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

const OPTIONS: [&str; 5] = [
    "--tool=callgrind",
    // Only what fails is said.
    "--quiet",
    // V8 writes code, and writes other code in its place.
    "--smc-check=all-non-file",
    // Threads take turns: which of them gets on first is not to be left to chance.
    "--fair-sched=yes",
    // Nobody attaches a debugger, and its pipes in /tmp would stay behind after a crash.
    "--vgdb=no",
];

/// A thread that waits awake for an answer spends instructions on time, which is the machine's affair:
/// on a busy one the figure of a tool call was 10 % lower.
const HOST_OPTIONS: [&str; 4] = ["--limit", "answer-spin=0", "--cells", "threads"];

/// Measures all of [`SCENARIOS`] on the program `host`; `profile` is where callgrind may write.
///
/// # Errors
/// When valgrind is missing, the host does not do what a scenario expects, or nothing was counted.
pub async fn measure(valgrind: &Path, host: &Path, profile: &Path) -> Result<Figures, Error> {
    let mut figures = Figures::default();
    for scenario in &SCENARIOS {
        let few = count(valgrind, host, profile, scenario, scenario.few).await?;
        let many = count(valgrind, host, profile, scenario, scenario.many).await?;
        figures.set(scenario.name, per_repetition(scenario, few, many)?);
    }
    Ok(figures)
}

fn per_repetition(scenario: &Scenario, few: u64, many: u64) -> Result<u64, Error> {
    let repetitions = u64::from(scenario.many - scenario.few);
    match many.checked_sub(few).map(|more| more / repetitions) {
        None | Some(0) => Err(Error::Backwards {
            scenario: scenario.name,
            few,
            many,
        }),
        Some(each) => Ok(each),
    }
}

/// The instructions of one process that repeats the work so many times.
async fn count(
    valgrind: &Path,
    host: &Path,
    profile: &Path,
    scenario: &Scenario,
    repetitions: u32,
) -> Result<u64, Error> {
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(profile);
    let mut child = Command::new(valgrind)
        .args(OPTIONS)
        .arg(out_file)
        .arg(host)
        .args(HOST_OPTIONS)
        // No variable of the caller's changes what the host does.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Valgrind {
            program: valgrind.to_owned(),
            source,
        })?;
    timeout(PATIENCE, run(&mut child, scenario, repetitions))
        .await
        .map_err(|_| Error::Stuck {
            scenario: scenario.name,
            seconds: PATIENCE.as_secs(),
        })??;
    let text = fs::read_to_string(profile).map_err(|source| Error::Profile {
        path: profile.to_owned(),
        source,
    })?;
    total(&text).ok_or_else(|| Error::NoTotal(profile.to_owned()))
}

async fn run(child: &mut Child, scenario: &Scenario, repetitions: u32) -> Result<(), Error> {
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Error::Unexpected("the host has no pipes".to_owned()));
    };
    let threads = child.id().map(Threads::of);
    let rest = async || match &threads {
        Some(threads) => threads.rest().await,
        None => Ok(()),
    };
    converse(&scenario.work.cells(repetitions), output, input, rest).await?;
    let status = child.wait().await?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Ended(status))
    }
}

/// The total of callgrind's file.
fn total(profile: &str) -> Option<u64> {
    let line = profile
        .lines()
        .find_map(|line| line.strip_prefix("summary:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
