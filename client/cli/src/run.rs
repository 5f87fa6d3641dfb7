// SPDX-License-Identifier: Apache-2.0
//! `code_mode run`: scripts in one session, one after the other.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use code_mode_embed::{RawJson, SessionProvider};

use crate::args::{RunArgs, Script};
use crate::cell_runner::{CellRun, CellRunner, Patience};
use crate::connect;
use crate::context::Context;
use crate::edited::Edited;
use crate::interrupts::Interrupts;
use crate::paths::resolve;
use crate::progress;
use crate::reporter::{CellEnd, Report, Reporter, Termination};
use crate::script_globals::Globals;
use crate::session::{OpenSession, Plan, chosen};
use crate::set_up_error::SetUpError;
use crate::snippet;
use crate::status::Status;
use crate::tools_file::{read_text, read_text_from};

/// A script that was read.
#[derive(Debug)]
pub struct Source {
    /// Its name for people.
    pub name: String,
    /// Its text, with what it is given.
    pub text: Edited,
}

/// Runs the scripts that the command line names. Everything that can be wrong with its files is
/// found out before the host is started.
pub(crate) async fn run(
    args: RunArgs,
    context: &Context,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Status {
    let reporter = match chosen(&args.session.images, &context.settings.images, context) {
        Some(folder) => &reporter.saving_images(folder),
        None => reporter,
    };
    let timeout = args.timeout;
    let timeout = timeout.or_else(|| context.settings.timeout.as_ref().map(|time| time.value));
    let colors = reporter.colors().stderr;
    // A script may come from a pipe or a terminal, so reading it may take as long as anything.
    let owned = Context {
        folder: context.folder.clone(),
        settings: context.settings.clone(),
        version: context.version,
    };
    let preparing = tokio::task::spawn_blocking(move || prepare(&args, &owned, colors));
    let prepared = tokio::select! {
        prepared = preparing => prepared,
        why = interrupts.next() => return nothing_was_run(why, reporter).await,
    };
    let prepared = prepared.unwrap_or_else(|error| Err(SetUpError::new(error)));
    let (scripts, plan, provider) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            reporter.problem(&error.message).await;
            return error.status;
        }
    };
    let run = Run {
        scripts,
        plan,
        timeout,
    };
    run.with(provider, reporter, interrupts).await
}

async fn nothing_was_run(why: Termination, reporter: &Reporter) -> Status {
    reporter
        .report(Report::Notice(format!("nothing was run: {why}")))
        .await;
    Status::of_termination(why)
}

type Prepared = (Vec<Source>, Plan, Arc<dyn SessionProvider>);

fn prepare(args: &RunArgs, context: &Context, colors: bool) -> Result<Prepared, SetUpError> {
    let (scripts, arguments) = args.scripts().map_err(SetUpError::new)?;
    let plan = Plan::of(&args.session, context, colors)?;
    let globals = Globals {
        args: arguments,
        input: read_input(args.input.as_deref(), &context.folder, colors)?,
    };
    let none = Globals::default();
    let last = scripts.len().saturating_sub(1);
    let scripts = scripts.iter().enumerate().map(|(at, script)| {
        let globals = if at == last { &globals } else { &none };
        read_script(script, &context.folder, globals)
    });
    let scripts = scripts.collect::<Result<_, _>>()?;
    let provider = connect::provider(&args.session.host, context)?;
    Ok((scripts, plan, provider))
}

/// The value of `--input`: JSON, or `@` and the name of a file with JSON.
fn read_input(
    given: Option<&str>,
    folder: &Path,
    colors: bool,
) -> Result<Option<RawJson>, SetUpError> {
    let Some(given) = given else { return Ok(None) };
    let (name, text) = match given.strip_prefix('@') {
        None => ("--input".to_owned(), Ok(given.to_owned())),
        Some("-") => (
            "standard input".to_owned(),
            read_text_from(io::stdin().lock()),
        ),
        Some(file) => (
            file.to_owned(),
            read_text(&resolve(folder, Path::new(file))),
        ),
    };
    let text =
        text.map_err(|cause| SetUpError::new(format!("failed to read the input {name}: {cause}")))?;
    let value = serde_json::from_str(&text).map_err(|error| {
        let shown = snippet::show_json_error(&name, &text, &error, colors);
        SetUpError::new(format!("the input {name} has a mistake\n{shown}"))
    })?;
    Ok(Some(value))
}

fn read_script(script: &Script, folder: &Path, globals: &Globals) -> Result<Source, SetUpError> {
    let (name, text) = match script {
        Script::Stdin => (
            "standard input".to_owned(),
            read_text_from(io::stdin().lock()),
        ),
        Script::File(path) => (
            path.display().to_string(),
            read_text(&resolve(folder, path)),
        ),
        Script::Code(code) => ("-e".to_owned(), Ok(code.clone())),
    };
    match text {
        Ok(text) => Ok(Source {
            name,
            text: globals.give_to(&text),
        }),
        Err(cause) => Err(SetUpError::new(format!(
            "failed to read the script {name}: {cause}"
        ))),
    }
}

/// Scripts to run, with everything read.
pub struct Run {
    /// The scripts in order.
    pub scripts: Vec<Source>,
    /// The session that they run in.
    pub plan: Plan,
    /// How long each script may run, from when it has started.
    pub timeout: Option<Duration>,
}

impl Run {
    /// Runs the scripts in a session of `provider`, until one of them does not complete.
    pub async fn with(
        self,
        provider: Arc<dyn SessionProvider>,
        reporter: &Reporter,
        interrupts: &mut Interrupts,
    ) -> Status {
        let opening = OpenSession::open(provider, self.plan);
        let opened = tokio::select! {
            opened = opening => opened,
            never = progress::show(reporter.printer(), "starting the host", None) => match never {},
            why = interrupts.next() => return nothing_was_run(why, reporter).await,
        };
        let session = match opened {
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
            } = run_one(&session, script, patience, reporter, interrupts).await;
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
                reporter.report(Report::Notice(notice)).await;
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
    session: &OpenSession,
    script: Source,
    patience: Patience,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Ran {
    let mut runner = CellRunner::new(reporter, interrupts);
    let source = script.text.text();
    let came_to = tokio::select! {
        came_to = runner.run(&session.session, &script.name, source, patience) => came_to,
        never = progress::show(reporter.printer(), &script.name, Some(&session.calls)) => match never {},
    };
    let (interrupted, state_lost) = (runner.interrupted(), runner.state_lost());
    let end = match came_to {
        CellRun::Ended(CellEnd::Failed { error_text }) => CellEnd::Failed {
            error_text: script.text.restore(&error_text),
        },
        CellRun::Ended(end) => end,
        CellRun::Left(_) => CellEnd::Terminated(Termination::Elsewhere),
    };
    reporter
        .report(Report::Ended {
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
        Ok(()) if reporter.has_lost_images() && status == Status::Completed => Status::SetUp,
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

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
