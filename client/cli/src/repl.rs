// SPDX-License-Identifier: Apache-2.0
//! `code_mode repl`: type scripts and see what they give.

use std::time::{Duration, Instant};

use code_mode_api::script_name;
use code_mode_embed::{CellId, ExecError, SessionError};
use terminal_size::{Width, terminal_size};

use crate::args::ReplArgs;
use crate::background::Background;
use crate::cell_runner::{CellRun, CellRunner, Patience};
use crate::connect;
use crate::context::Context;
use crate::edited::Edited;
use crate::interrupts::Interrupts;
use crate::output::Stream;
use crate::progress;
use crate::repl_commands::{COMMANDS, help, table, tool_help, tools_table};
use crate::repl_complete::Words;
use crate::repl_lines::{Line, Lines, goes_on};
use crate::repl_scope::Scope;
use crate::reporter::{CellEnd, Report, Reporter, Termination};
use crate::session::{OpenSession, Plan, chosen};
use crate::set_up_error::SetUpError;
use crate::status::Status;
use crate::suggest::did_you_mean;

/// How long a cell may keep the prompt away, unless `--yield-after` says otherwise.
const DEFAULT_YIELD_AFTER: Duration = Duration::from_secs(10);

/// Characters of a background cell's source that `.cells` shows.
const SHOWN_SOURCE: usize = 60;

const PROMPT: &str = "> ";
const CONTINUED_PROMPT: &str = "... ";

/// Runs the prompt until the user leaves.
pub(crate) async fn run(
    args: ReplArgs,
    context: &Context,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Status {
    let reporter = match chosen(&args.session.images, &context.settings.images, context) {
        Some(folder) => &reporter.saving_images(folder),
        None => reporter,
    };
    let opened = tokio::select! {
        opened = open(&args, context, reporter) => opened,
        why = interrupts.next() => return Status::of_termination(why),
    };
    let (session, words, lines) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            reporter.problem(&error.message).await;
            return error.status;
        }
    };
    let configured = context.settings.yield_after.as_ref().map(|time| time.value);
    let yield_after = args
        .yield_after
        .or(configured)
        .unwrap_or(DEFAULT_YIELD_AFTER);
    let mut repl = Repl {
        session,
        scope: Scope::new(reporter.colors().stdout),
        words,
        reporter,
        interrupts,
        patience: Patience::LeaveAfter(yield_after),
        background: Vec::new(),
    };
    repl.converse(lines).await
}

async fn open(
    args: &ReplArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<(OpenSession, Words, Lines), SetUpError> {
    let plan = Plan {
        outlives_host: true,
        ..Plan::of(&args.session, context, reporter.colors().stderr)?
    };
    let provider = connect::provider(&args.session.host, context)?;
    let tools = plan.tools.iter();
    let words = Words::new(
        tools
            .map(|tool| script_name(&tool.definition.name))
            .collect(),
    );
    let session = OpenSession::open(provider, plan).await?;
    let lines = Lines::of_stdin(words.clone())
        .map_err(|error| SetUpError::new(format!("failed to read standard input: {error}")))?;
    Ok((session, words, lines))
}

/// A cell that the prompt did not wait for.
struct Left {
    cell: Background,
    entry: Entry,
    since: Instant,
}

/// What was typed, and what is run for it.
struct Entry {
    typed: String,
    run: Edited,
}

struct Repl<'a> {
    session: OpenSession,
    /// The names that carry over to the next entry.
    scope: Scope,
    words: Words,
    reporter: &'a Reporter,
    interrupts: &'a mut Interrupts,
    patience: Patience,
    background: Vec<Left>,
}

impl Repl<'_> {
    async fn converse(&mut self, mut lines: Lines) -> Status {
        let mut entry = String::new();
        let status = loop {
            self.reporter.printer().flush().await;
            let prompt = if entry.is_empty() {
                PROMPT
            } else {
                CONTINUED_PROMPT
            };
            let line = tokio::select! {
                line = lines.read(prompt) => line,
                why = self.interrupts.next() => break Status::of_termination(why),
                () = self.reporter.printer().broken() => break Status::SetUp,
            };
            match line {
                Line::End => break Status::Completed,
                Line::Failed(cause) => {
                    self.reporter
                        .problem(format!("failed to read standard input: {cause}"))
                        .await;
                    break Status::SetUp;
                }
                Line::Interrupted => {
                    if entry.is_empty() {
                        self.notice("(to leave, press Ctrl-D or type .exit)").await;
                    }
                    entry.clear();
                    continue;
                }
                Line::Text(text) if text.lines().next_back().is_some_and(is_clear) => {
                    entry.clear();
                    continue;
                }
                Line::Text(text) if entry.is_empty() => entry = text,
                Line::Text(text) => {
                    entry.push('\n');
                    entry.push_str(&text);
                }
            }
            if goes_on(&entry) {
                continue;
            }
            let whole = std::mem::take(&mut entry);
            if whole.trim().is_empty() {
                continue;
            }
            lines.remember(&whole);
            if let Some(status) = self.carry_out(&whole).await {
                break status;
            }
        };
        if !entry.trim().is_empty() && status == Status::Completed {
            self.notice("the last entry was not finished and was not run")
                .await;
        }
        let finishing = finish(&self.session, self.reporter);
        tokio::select! {
            () = finishing => status,
            why = self.interrupts.next() => Status::of_termination(why),
        }
    }

    /// Carries an entry out; a status ends the conversation.
    async fn carry_out(&mut self, entry: &str) -> Option<Status> {
        let trimmed = entry.trim();
        if !trimmed
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(char::is_alphabetic))
        {
            return self.execute(entry).await;
        }
        let (command, argument) = trimmed
            .split_once(char::is_whitespace)
            .unwrap_or((trimmed, ""));
        let argument = argument.trim();
        match (command, argument) {
            (".exit", "") => return Some(Status::Completed),
            (".help", "") => self.show(help()).await,
            (".help", tool) => self.tool_help(tool).await,
            (".names", "") => self.names().await,
            (".tools", "") => self.tools().await,
            (".store", "") => self.store().await,
            (".cells", "") => self.cells().await,
            (".wait" | ".kill", "") => {
                self.notice(&format!(
                    "{command} needs the id of a cell; .cells lists them"
                ))
                .await
            }
            (".wait", id) => return self.wait(CellId::new(id)).await,
            (".kill", id) => return self.kill(CellId::new(id)).await,
            _ => self.unknown_command(command).await,
        }
        None
    }

    async fn execute(&mut self, typed: &str) -> Option<Status> {
        let entry = Entry {
            typed: typed.to_owned(),
            run: self.scope.rewrite(typed),
        };
        let session = &self.session;
        let mut runner = CellRunner::new(self.reporter, self.interrupts);
        let source = entry.run.text();
        let came_to = tokio::select! {
            came_to = runner.run(&session.session, "entry", source, self.patience) => came_to,
            never = progress::show(self.reporter.printer(), "entry", Some(&session.calls)) => match never {},
        };
        let kept = runner.take_kept();
        self.after(came_to, entry, kept).await
    }

    async fn wait(&mut self, id: CellId) -> Option<Status> {
        let Some(left) = self.forget(&id) else {
            return self.no_such_cell(&id).await;
        };
        let (cell, before) = left.cell.take().await?;
        let calls = &self.session.calls;
        let mut runner = CellRunner::new(self.reporter, self.interrupts);
        let came_to = tokio::select! {
            came_to = runner.resume(cell, before, self.patience) => came_to,
            never = progress::show(self.reporter.printer(), id.as_str(), Some(calls)) => match never {},
        };
        let kept = runner.take_kept();
        self.after(came_to, left.entry, kept).await
    }

    async fn kill(&mut self, id: CellId) -> Option<Status> {
        let Some(left) = self.forget(&id) else {
            return self.no_such_cell(&id).await;
        };
        let (cell, before) = left.cell.take().await?;
        let mut runner = CellRunner::new(self.reporter, self.interrupts);
        let end = runner.terminate(cell, before, Termination::Elsewhere).await;
        let kept = runner.take_kept();
        self.after(CellRun::Ended(end), left.entry, kept).await
    }

    /// Takes a cell off the list of background cells.
    fn forget(&mut self, id: &CellId) -> Option<Left> {
        let mut cells = self.background.iter();
        let at = cells.position(|left| left.cell.id() == id)?;
        Some(self.background.swap_remove(at))
    }

    /// Says what the session says about a cell that is not in the background.
    async fn no_such_cell(&self, id: &CellId) -> Option<Status> {
        let error = match self.session.session.cell(id).await {
            Err(ExecError::Session(error)) => error,
            Err(ExecError::HostLost(lost)) => lost.source,
            _ => SessionError::MissingCell {
                cell_id: id.clone(),
            },
        };
        self.reporter.problem(error).await;
        None
    }

    async fn after(&mut self, came_to: CellRun, entry: Entry, kept: Vec<String>) -> Option<Status> {
        for written in kept {
            for notice in self.scope.keep(&written) {
                self.notice(&notice).await;
            }
        }
        let end = match came_to {
            CellRun::Left(cell) => {
                self.words.set_names(self.scope.names());
                let id = cell.id();
                self.notice(&format!(
                    "cell {id} runs on; .wait {id} follows it, .kill {id} ends it"
                ))
                .await;
                self.background.push(Left {
                    cell: Background::keep(cell, self.reporter.clone()),
                    entry,
                    since: Instant::now(),
                });
                return None;
            }
            CellRun::Ended(end) => end,
        };
        if end == CellEnd::Completed {
            self.scope.keep_imports(&entry.typed);
        }
        self.words.set_names(self.scope.names());
        match &end {
            CellEnd::Completed => {}
            CellEnd::Failed { error_text } => self.failure(&entry.run.restore(error_text)).await,
            CellEnd::Terminated(why) => self.notice(&why.to_string()).await,
            CellEnd::Error(error) => self.error(error).await,
        }
        match end {
            CellEnd::Terminated(
                why @ (Termination::Killed
                | Termination::Sigterm
                | Termination::Sighup
                | Termination::OutputClosed),
            ) => return Some(Status::of_termination(why)),
            CellEnd::Error(_) => {}
            // The values count as saved when their cell has ended, not only when the user leaves.
            _ => self.save_store().await,
        }
        None
    }

    async fn error(&mut self, error: &SessionError) {
        self.reporter.problem(error).await;
        if matches!(error, SessionError::RuntimeLost { .. }) {
            self.background.clear();
            self.notice(
                "running cells are gone; the next entry starts a fresh host with the stored values",
            )
            .await;
        }
    }

    async fn save_store(&self) {
        save(&self.session, self.reporter).await;
    }

    async fn tool_help(&self, name: &str) {
        let tools = self.session.tools();
        if let Some(declaration) = tool_help(name, &tools) {
            return self.show(declaration).await;
        }
        let names: Vec<String> = tools.iter().map(|tool| script_name(&tool.name)).collect();
        let hint = match did_you_mean(name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => ".tools lists them".to_owned(),
        };
        self.notice(&format!("there is no tool {name}; {hint}"))
            .await;
    }

    async fn names(&self) {
        let names: Vec<&str> = self.scope.names().collect();
        self.show(if names.is_empty() {
            "no names carry over yet".into()
        } else {
            names.join(", ")
        })
        .await;
    }

    async fn tools(&self) {
        let tools = self.session.tools();
        self.show(if tools.is_empty() {
            "no tools; start with --tools FILE".into()
        } else {
            tools_table(&tools, width())
        })
        .await;
    }

    async fn store(&mut self) {
        match self.session.session.stored_values().await {
            Err(error) => self.error(&error).await,
            Ok(values) if values.is_empty() => self.show("nothing is stored".into()).await,
            Ok(values) => {
                let lines: Vec<String> = values
                    .iter()
                    .map(|(key, value)| format!("{key}: {}", value.get()))
                    .collect();
                self.show(lines.join("\n")).await;
            }
        }
    }

    async fn cells(&self) {
        if self.background.is_empty() {
            return self.show("no cells in the background".into()).await;
        }
        let row = |left: &Left| {
            let state = if left.cell.has_ended() {
                "ended, .wait shows its result"
            } else {
                "runs"
            };
            let line = left.entry.typed.lines().next().unwrap_or_default();
            let shown: String = line.chars().take(SHOWN_SOURCE).collect();
            vec![
                left.cell.id().to_string(),
                state.to_owned(),
                format!("{} s", left.since.elapsed().as_secs()),
                shown,
            ]
        };
        let rows = self.background.iter().map(row).collect();
        self.show(table(rows, width())).await;
    }

    async fn unknown_command(&self, command: &str) {
        let names = COMMANDS
            .iter()
            .filter_map(|(usage, _)| usage.split(' ').next());
        let hint = match did_you_mean(command, names) {
            Some(name) => format!("did you mean {name}?"),
            None => ".help lists them".to_owned(),
        };
        self.notice(&format!("no such command {command}; {hint}"))
            .await;
    }

    async fn show(&self, text: String) {
        self.reporter.printer().line(Stream::Stdout, text).await;
    }

    /// Shows why an entry has failed; unlike a notice, also where only errors are wanted.
    async fn failure(&self, text: &str) {
        let text = text.to_owned();
        self.reporter.printer().line(Stream::Stderr, text).await;
    }

    async fn notice(&self, text: &str) {
        self.reporter.report(Report::Notice(text.to_owned())).await;
    }
}

fn is_clear(line: &str) -> bool {
    line.trim() == ".clear"
}

/// How wide tables may be; on no terminal as wide as they are.
fn width() -> Option<u16> {
    terminal_size().map(|(Width(width), _)| width)
}

async fn save(session: &OpenSession, reporter: &Reporter) {
    if let Err(error) = session.save_store().await {
        reporter.problem(&error.message).await;
    }
}

/// Saves the store and closes the session.
async fn finish(session: &OpenSession, reporter: &Reporter) {
    save(session, reporter).await;
    session.close(reporter).await;
}

#[cfg(test)]
#[path = "repl_tests.rs"]
mod tests;
