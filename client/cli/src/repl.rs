// SPDX-License-Identifier: Apache-2.0
//! `code_mode repl`: type scripts and see what they give.

use std::time::{Duration, Instant};

use code_mode_api::{CellId, SessionError, script_name};
use terminal_size::{Width, terminal_size};

use crate::args::ReplArgs;
use crate::connect;
use crate::context::Context;
use crate::drive::{Driven, Driver, Patience};
use crate::edited::Edited;
use crate::events::{CellEnd, Event, Reporter, Termination};
use crate::interrupts::Interrupts;
use crate::output::Stream;
use crate::progress;
use crate::repl_commands::{COMMANDS, help, table, tool_help, tools_table};
use crate::repl_complete::Words;
use crate::repl_lines::{Line, Lines, goes_on};
use crate::repl_scope::Scope;
use crate::session::{OpenSession, Plan, chosen, host_choice};
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
        host_lost: false,
    };
    repl.converse(lines).await
}

async fn open(
    args: &ReplArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<(OpenSession, Words, Lines), SetUpError> {
    let plan = Plan::of(&args.session, context, reporter.colors().stderr)?;
    let choice = host_choice(&args.session.host.host, context);
    let host = connect::find_host(&choice, &context.folder)?;
    let tools = plan.tools.iter();
    let words = Words::new(
        tools
            .map(|tool| script_name(&tool.definition.name))
            .collect(),
    );
    let session = OpenSession::open(connect::provider(host), plan, reporter).await?;
    let lines = Lines::of_stdin(words.clone())
        .map_err(|error| SetUpError::new(format!("failed to read standard input: {error}")))?;
    Ok((session, words, lines))
}

/// A cell that the prompt did not wait for.
struct Background {
    cell: CellId,
    entry: Entry,
    since: Instant,
    ended: bool,
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
    background: Vec<Background>,
    /// The host was lost and its stored values are not yet loaded into the next one.
    host_lost: bool,
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
            self.note_closed();
            if let Some(status) = self.carry_out(&whole).await {
                break status;
            }
        };
        if !entry.trim().is_empty() && status == Status::Completed {
            self.notice("the last entry was not finished and was not run")
                .await;
        }
        let finishing = finish(&self.session, !self.host_lost, self.reporter);
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
        self.recover_store().await;
        let entry = Entry {
            typed: typed.to_owned(),
            run: self.scope.rewrite(typed),
        };
        let request = self.session.request(entry.run.text().to_owned());
        let (session, calls) = (self.session.session.clone(), self.session.delegate.calls());
        let order = self.session.delegate.order();
        let mut driver = Driver::new(session.as_ref(), self.reporter, self.interrupts, order);
        let driven = tokio::select! {
            driven = driver.run("entry", request, self.patience) => driven,
            never = progress::show(self.reporter.printer(), "entry", Some(&calls)) => match never {},
        };
        let (lost, kept) = (driver.state_lost(), driver.take_kept());
        self.after(driven, entry, lost, kept).await
    }

    async fn wait(&mut self, cell: CellId) -> Option<Status> {
        let entry = self.forget(&cell);
        let (session, calls) = (self.session.session.clone(), self.session.delegate.calls());
        let order = self.session.delegate.order();
        let mut driver = Driver::new(session.as_ref(), self.reporter, self.interrupts, order);
        let name = cell.to_string();
        let driven = tokio::select! {
            driven = driver.resume(cell, self.patience) => driven,
            never = progress::show(self.reporter.printer(), &name, Some(&calls)) => match never {},
        };
        let (lost, kept) = (driver.state_lost(), driver.take_kept());
        self.after(driven, entry, lost, kept).await
    }

    async fn kill(&mut self, cell: CellId) -> Option<Status> {
        let entry = self.forget(&cell);
        let session = self.session.session.clone();
        let order = self.session.delegate.order();
        let mut driver = Driver::new(session.as_ref(), self.reporter, self.interrupts, order);
        let end = driver.terminate(cell, Termination::Elsewhere).await;
        let (lost, kept) = (driver.state_lost(), driver.take_kept());
        self.after(Driven::Ended(end), entry, lost, kept).await
    }

    /// Takes a cell off the list of background cells and gives what was typed for it.
    fn forget(&mut self, cell: &CellId) -> Entry {
        let at = self
            .background
            .iter()
            .position(|background| background.cell == *cell);
        match at {
            Some(at) => self.background.swap_remove(at).entry,
            None => Entry {
                typed: String::new(),
                run: Edited::unchanged(""),
            },
        }
    }

    async fn after(
        &mut self,
        driven: Driven,
        entry: Entry,
        state_lost: bool,
        kept: Vec<String>,
    ) -> Option<Status> {
        self.host_lost |= state_lost;
        for written in kept {
            for notice in self.scope.keep(&written) {
                self.notice(&notice).await;
            }
        }
        let end = match driven {
            Driven::Left(cell) => {
                self.words.set_names(self.scope.names());
                self.notice(&format!(
                    "cell {cell} runs on; .wait {cell} follows it, .kill {cell} ends it"
                ))
                .await;
                self.background.push(Background {
                    cell,
                    entry,
                    since: Instant::now(),
                    ended: false,
                });
                return None;
            }
            Driven::Ended(end) => end,
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
            self.host_lost = true;
            self.notice(
                "stored values and running cells are gone; the next entry starts a fresh host",
            )
            .await;
        }
    }

    /// Brings the values of the store file into the host that replaces a lost one. Without this, the
    /// next save would replace them by what little the fresh host holds.
    async fn recover_store(&mut self) {
        if !self.host_lost {
            return;
        }
        match self.session.recover_store().await {
            Ok(()) => self.host_lost = false,
            Err(error) => self.reporter.problem(&error.message).await,
        }
    }

    async fn save_store(&mut self) {
        self.recover_store().await;
        if !self.host_lost {
            save(&self.session, self.reporter).await;
        }
    }

    async fn tool_help(&self, name: &str) {
        let tools = self.session.tools();
        if let Some(declaration) = tool_help(name, tools) {
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
            tools_table(tools, width())
        })
        .await;
    }

    async fn store(&mut self) {
        match self.session.session.export_store().await {
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

    fn note_closed(&mut self) {
        for closed in self.session.delegate.take_closed() {
            for background in &mut self.background {
                background.ended |= background.cell == closed;
            }
        }
    }

    async fn cells(&mut self) {
        if self.background.is_empty() {
            return self.show("no cells in the background".into()).await;
        }
        let row = |background: &Background| {
            let state = if background.ended {
                "ended, .wait shows its result"
            } else {
                "runs"
            };
            let line = background.entry.typed.lines().next().unwrap_or_default();
            let shown: String = line.chars().take(SHOWN_SOURCE).collect();
            vec![
                background.cell.to_string(),
                state.to_owned(),
                format!("{} s", background.since.elapsed().as_secs()),
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
        self.reporter.report(Event::Notice(text.to_owned())).await;
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

/// Closes the session, and saves its store if the session still holds it.
async fn finish(session: &OpenSession, holds_store: bool, reporter: &Reporter) {
    if holds_store {
        save(session, reporter).await;
    }
    session.close(reporter).await;
}

#[cfg(test)]
#[path = "repl_tests.rs"]
mod tests;
