//! `code_mode run`: scripts in one session, one after the other.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::SessionProvider;
use tokio::time::{Instant, sleep};

use super::args::{RunOptions, Script};
use super::connect;
use super::delegate::CallCounts;
use super::drive::{Driven, Driver, Patience, STREAM_INTERVAL};
use super::events::{CellEnd, Event, Reporter, Termination};
use super::interrupts::Interrupts;
use super::output::Printer;
use super::paths::resolve;
use super::session::{OpenSession, SetUpError, load_tools};
use super::status::Status;
use super::tools_file::{FileTool, read_text, read_text_from};

/// A script shorter than this shows no progress line.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// How often the progress line is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Characters of the end of the script's name in the progress line.
const PROGRESS_NAME: usize = 30;

/// A script that was read.
#[derive(Debug)]
pub struct Source {
    /// Its name for people.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Runs the scripts that the command line names. Everything that can be wrong with its files is
/// found out before the host is started.
pub async fn run(
    options: RunOptions,
    folder: &Path,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Status {
    let (timeout, store) = (options.timeout, options.store.clone());
    // A script may come from a pipe or a terminal, so reading it may take as long as anything.
    let owned_folder = folder.to_path_buf();
    let preparing = tokio::task::spawn_blocking(move || prepare(&options, &owned_folder));
    let prepared = tokio::select! {
        prepared = preparing => prepared,
        why = interrupts.next() => return nothing_was_run(why, reporter).await,
    };
    let (scripts, tools, provider) =
        match prepared.unwrap_or_else(|error| Err(SetUpError::new(error))) {
            Ok(prepared) => prepared,
            Err(error) => {
                reporter.problem(&error.message).await;
                return error.status;
            }
        };
    let run = Run {
        scripts,
        tools,
        timeout,
        store: store.map(|path| resolve(folder, &path)),
    };
    run.with(provider, folder, reporter, interrupts).await
}

async fn nothing_was_run(why: Termination, reporter: &Reporter) -> Status {
    reporter
        .report(Event::Notice(format!("nothing was run: {why}")))
        .await;
    Status::of_termination(why)
}

type Prepared = (Vec<Source>, Vec<FileTool>, Arc<dyn SessionProvider>);

fn prepare(options: &RunOptions, folder: &Path) -> Result<Prepared, SetUpError> {
    let tools = load_tools(
        options
            .tools
            .as_ref()
            .map(|path| resolve(folder, path))
            .as_deref(),
    )?;
    let scripts = options
        .scripts
        .iter()
        .map(|script| read_script(script, folder))
        .collect::<Result<_, _>>()?;
    let provider = connect::provider(options.host.clone(), folder)?;
    Ok((scripts, tools, provider))
}

fn read_script(script: &Script, folder: &Path) -> Result<Source, SetUpError> {
    let (name, text) = match script {
        Script::Stdin => (
            "standard input".to_owned(),
            read_text_from(io::stdin().lock()),
        ),
        Script::File(path) => (
            path.display().to_string(),
            read_text(&resolve(folder, path)),
        ),
    };
    match text {
        Ok(text) => Ok(Source { name, text }),
        Err(cause) => Err(SetUpError::new(format!(
            "failed to read the script {name}: {cause}"
        ))),
    }
}

/// Scripts to run, with everything read.
pub struct Run {
    /// The scripts in order.
    pub scripts: Vec<Source>,
    /// The tools that they may call.
    pub tools: Vec<FileTool>,
    /// How long each script may run.
    pub timeout: Option<Duration>,
    /// Where stored values are loaded from and saved to.
    pub store: Option<PathBuf>,
}

impl Run {
    /// Runs the scripts in a session of `provider`, until one of them does not complete.
    pub async fn with(
        self,
        provider: Arc<dyn SessionProvider>,
        folder: &Path,
        reporter: &Reporter,
        interrupts: &mut Interrupts,
    ) -> Status {
        let opening = OpenSession::open(provider, &self.tools, folder, self.store, reporter);
        let opened = tokio::select! {
            opened = opening => opened,
            why = interrupts.next() => return nothing_was_run(why, reporter).await,
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => {
                reporter.problem(&error.message).await;
                return error.status;
            }
        };
        let patience = self
            .timeout
            .map_or(Patience::Endless, Patience::TerminateAfter);
        let mut status = Status::Completed;
        for script in self.scripts {
            let Ran {
                end,
                interrupted,
                state_lost,
            } = run_one(&mut session, script, patience, reporter, interrupts).await;
            status = match (&end, interrupted) {
                (CellEnd::Terminated(Termination::Killed), _) => return Status::Interrupted,
                // What earlier scripts had stored is gone; to go on would hide it.
                _ if state_lost => Status::HostLost,
                (_, Some(why)) => Status::of_termination(why),
                (end, None) => Status::of_end(end),
            };
            if status != Status::Completed {
                break;
            }
        }
        let finishing = finish(&session, status, reporter);
        tokio::select! {
            status = finishing => status,
            why = interrupts.next() => {
                let notice = format!("the session was not closed in order: {why}");
                reporter.report(Event::Notice(notice)).await;
                Status::of_termination(why)
            }
        }
    }
}

/// How one script went.
struct Ran {
    end: CellEnd,
    /// The signal that came meanwhile, if one did.
    interrupted: Option<Termination>,
    /// Whether the host that held the session was lost before the script.
    state_lost: bool,
}

async fn run_one(
    session: &mut OpenSession,
    script: Source,
    patience: Patience,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Ran {
    let mut request = session.request(script.text);
    request.yield_time = Some(STREAM_INTERVAL);
    let counts = session.delegate.counts();
    let mut driver = Driver::new(session.session.as_ref(), reporter, interrupts);
    let driven = tokio::select! {
        driven = driver.run(&script.name, request, patience) => driven,
        never = show_progress(reporter.printer(), &script.name, &counts) => match never {},
    };
    let (interrupted, state_lost) = (driver.interrupted(), driver.state_lost());
    // Only the repl keeps cells that run on; `run` has none to look after.
    drop(session.delegate.take_closed());
    let end = match driven {
        Driven::Ended(end) => end,
        Driven::Left(_) => CellEnd::Terminated(Termination::Elsewhere),
    };
    reporter
        .report(Event::Ended {
            script: script.name,
            end: end.clone(),
        })
        .await;
    Ran {
        end,
        interrupted,
        state_lost,
    }
}

/// Saves the store and closes the session, unless the host that held both is gone.
async fn finish(session: &OpenSession, status: Status, reporter: &Reporter) -> Status {
    if status == Status::HostLost {
        return status;
    }
    let saved = session.save_store().await;
    session.close(reporter).await;
    match saved {
        Ok(()) => status,
        Err(error) => {
            reporter.problem(&error.message).await;
            if status == Status::Completed {
                error.status
            } else {
                status
            }
        }
    }
}

async fn show_progress(printer: &Printer, script: &str, counts: &CallCounts) -> Infallible {
    if !printer.shows_progress() {
        return std::future::pending().await;
    }
    let begun = Instant::now();
    sleep(PROGRESS_AFTER).await;
    loop {
        let line = progress_line(script, begun.elapsed(), counts);
        printer.progress(line).await;
        sleep(PROGRESS_INTERVAL).await;
    }
}

/// A line that fits into a terminal, since only one line can be erased.
fn progress_line(script: &str, elapsed: Duration, counts: &CallCounts) -> String {
    let excess = script.chars().count().saturating_sub(PROGRESS_NAME);
    let script: String = script.chars().skip(excess).collect();
    let seconds = elapsed.as_secs();
    let (open, done) = (counts.open(), counts.done());
    format!("{script}: {seconds} s, tool calls: {open} open, {done} done")
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
