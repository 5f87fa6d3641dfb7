// SPDX-License-Identifier: Apache-2.0
//! Measures what an exec costs in process, without a host and a client, in the scenarios of
//! `code_mode_benchsuite`.
//!
//! Each round runs in a process of its own, which this program starts with `--round` as its first
//! argument: so memory grows from that of a fresh process, and no round is warmed by another.

use std::ffi::OsString;
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use code_mode_api::{BoxFuture, SessionOptions, SessionProvider};
use code_mode_benchsuite::{
    Failure, Instance, Options, Parsed, Program, Round, Subject, Task, delegate,
};
use code_mode_runtime::{Runtime, RuntimeConfig};
use tokio::process::Command;
use tokio::runtime::Handle;

/// What stands before the options of a process that carries out one round.
const ROUND: &str = "--round";

/// Cells that may be active, and results that may wait, at one time: as many as the largest scenario
/// parks, and some to spare.
const MAX_CELLS: usize = 1024;

/// The runtime with every default but [`MAX_CELLS`], in a process of its own.
struct InProcess;

impl Subject for InProcess {
    fn name(&self) -> String {
        "code_mode_runtime in process".to_owned()
    }

    fn measure<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Round> {
        Box::pin(async move { in_a_process(task).await.unwrap_or_else(Round::failed) })
    }
}

/// Has another process of this program carry out the task.
async fn in_a_process(task: &Task) -> Result<Round, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .arg(ROUND)
        .args(task.arguments())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("the process of a round ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(Round::from_json(&text).ok_or("the process of a round did not give one")?)
}

/// Carries out the one task that the options name, and gives what it prints.
fn round(arguments: Vec<OsString>) -> Result<String, Failure> {
    let Parsed::Measure(options) = Program::InProcess.parse(arguments)? else {
        return Err("a round has no help".into());
    };
    let task = options.only_task().ok_or("no scenario has this name")?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let round = tokio.block_on(tokio.spawn(async move {
        match start().await {
            Ok(instance) => task.run(instance).await,
            Err(failure) => Round::failed(failure),
        }
    }))?;
    Ok(round.to_json())
}

async fn start() -> Result<Instance, Failure> {
    let begun = Instant::now();
    let config = RuntimeConfig {
        max_active_cells: MAX_CELLS,
        max_stored_results: MAX_CELLS,
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config, Handle::current(), None)?;
    let (delegate, calls) = delegate();
    let session = runtime
        .open_session(SessionOptions::default(), delegate)
        .await?;
    let startup = begun.elapsed();
    Ok(Instance {
        session: session.clone(),
        calls,
        startup,
        process_id: Some(std::process::id()),
        shutdown: Box::pin(async move {
            // The process ends next, and with it whatever a failed shutdown leaves.
            drop(session.shutdown().await);
            drop(runtime);
        }),
    })
}

fn subjects(_: &Options) -> Vec<Box<dyn Subject>> {
    vec![Box::new(InProcess)]
}

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let arguments = std::env::args_os().skip(1);
    let mut arguments: Vec<OsString> = arguments.filter(|argument| argument != "--bench").collect();
    let status = if arguments.first().is_some_and(|first| first == ROUND) {
        arguments.remove(0);
        round(arguments).map(|round| {
            say(&round);
            0
        })
    } else {
        code_mode_benchsuite::run(
            &Program::InProcess,
            arguments,
            subjects,
            &mut std::io::stdout(),
            &mut std::io::stderr(),
        )
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            complain(&failure);
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard output.
fn say(line: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when standard output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes why the program failed to standard error.
fn complain(failure: &Failure) {
    use std::io::Write as _;
    // Where standard error is closed too, the exit status has to do.
    let _ = writeln!(std::io::stderr(), "exec_overhead: {failure}");
}
