//! `code_mode repl`: type scripts and see what they give.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use code_mode_api::{CellId, ExecuteRequest, SessionError, script_name};

use super::args::ReplOptions;
use super::connect;
use super::drive::{Driven, Driver, Patience, STREAM_INTERVAL};
use super::events::{CellEnd, Event, Reporter, Termination};
use super::interrupts::Interrupts;
use super::output::Stream;
use super::paths::resolve;
use super::repl_input::{continues, source};
use super::repl_lines::{Line, Lines};
use super::session::{OpenSession, SetUpError, load_tools};
use super::status::Status;
use super::suggest::nearest;

/// How long a cell may keep the prompt away, unless `--yield-after` says otherwise.
const DEFAULT_YIELD_AFTER: Duration = Duration::from_secs(10);

/// Characters of a background cell's source that `.cells` shows.
const SHOWN_SOURCE: usize = 60;

const PROMPT: &str = "> ";
const CONTINUED_PROMPT: &str = "... ";

const COMMANDS: [(&str, &str); 8] = [
    (".help", "this text"),
    (".tools", "the tools that scripts can call"),
    (".store", "the stored values, as store() left them"),
    (
        ".cells",
        "the cells that run on in the background or whose result was not read",
    ),
    (".wait ID", "follow a background cell"),
    (".kill ID", "terminate a background cell"),
    (
        ".clear",
        "forget the lines typed so far of an unfinished entry",
    ),
    (".exit", "leave (or Ctrl-D)"),
];

const NOTES: &str = "\
An entry is a script: await works at top level, and an open bracket or template asks for another line.
A single expression shows its value. Declarations do not carry over to the next entry: use store(key, value) and load(key).
A cell that takes long runs on in the background. Ctrl-C terminates the cell in the foreground, a second one leaves.";

/// Runs the prompt until the user leaves.
pub async fn run(
    options: ReplOptions,
    folder: &Path,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Status {
    let opened = tokio::select! {
        opened = open(&options, folder, reporter) => opened,
        why = interrupts.next() => return Status::of_termination(why),
    };
    let (session, lines) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            reporter.problem(&error.message).await;
            return error.status;
        }
    };
    let patience = Patience::LeaveAfter(options.yield_after.unwrap_or(DEFAULT_YIELD_AFTER));
    let mut repl = Repl {
        session,
        reporter,
        interrupts,
        patience,
        background: Vec::new(),
        host_lost: false,
    };
    repl.converse(lines).await
}

async fn open(
    options: &ReplOptions,
    folder: &Path,
    reporter: &Reporter,
) -> Result<(OpenSession, Lines), SetUpError> {
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| resolve(folder, path));
    let tools = load_tools(absolute(&options.tools).as_deref())?;
    let provider = connect::provider(options.host.clone(), folder)?;
    let store = absolute(&options.store);
    let session = OpenSession::open(provider, &tools, folder, store, reporter).await?;
    let lines = Lines::of_stdin()
        .map_err(|error| SetUpError::new(format!("failed to read standard input: {error}")))?;
    Ok((session, lines))
}

/// A cell that the prompt did not wait for.
struct Background {
    cell: CellId,
    source: String,
    since: Instant,
    ended: bool,
}

struct Repl<'a> {
    session: OpenSession,
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
                Line::Text(text) if text.trim() == ".clear" => {
                    entry.clear();
                    continue;
                }
                Line::Text(text) if entry.is_empty() => entry = text,
                Line::Text(text) => {
                    entry.push('\n');
                    entry.push_str(&text);
                }
            }
            if continues(&entry) {
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
            (".help", "") => self.help().await,
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

    async fn execute(&mut self, entry: &str) -> Option<Status> {
        self.recover_store().await;
        let mut request: ExecuteRequest = self.session.request(source(entry));
        request.yield_time = Some(STREAM_INTERVAL);
        let session = self.session.session.clone();
        let mut driver = Driver::new(session.as_ref(), self.reporter, self.interrupts);
        let driven = driver.run("entry", request, self.patience).await;
        self.host_lost |= driver.state_lost();
        self.after(driven, entry).await
    }

    async fn wait(&mut self, cell: CellId) -> Option<Status> {
        let source = self.forget(&cell).unwrap_or_default();
        let session = self.session.session.clone();
        let mut driver = Driver::new(session.as_ref(), self.reporter, self.interrupts);
        let driven = driver.resume(cell, self.patience).await;
        self.host_lost |= driver.state_lost();
        self.after(driven, &source).await
    }

    async fn kill(&mut self, cell: CellId) -> Option<Status> {
        self.forget(&cell);
        let session = self.session.session.clone();
        let mut driver = Driver::new(session.as_ref(), self.reporter, self.interrupts);
        let end = driver.terminate(cell, Termination::Elsewhere).await;
        self.after(Driven::Ended(end), "").await
    }

    /// Takes a cell off the list of background cells and gives its source.
    fn forget(&mut self, cell: &CellId) -> Option<String> {
        let at = self
            .background
            .iter()
            .position(|background| background.cell == *cell)?;
        Some(self.background.swap_remove(at).source)
    }

    async fn after(&mut self, driven: Driven, source: &str) -> Option<Status> {
        let end = match driven {
            Driven::Left(cell) => {
                self.notice(&format!(
                    "cell {cell} runs on; .wait {cell} follows it, .kill {cell} ends it"
                ))
                .await;
                let source = source.to_owned();
                self.background.push(Background {
                    cell,
                    source,
                    since: Instant::now(),
                    ended: false,
                });
                return None;
            }
            Driven::Ended(end) => end,
        };
        match &end {
            CellEnd::Completed => {}
            CellEnd::Failed { error_text } => self.notice(error_text).await,
            CellEnd::Terminated(why) => self.notice(&why.to_string()).await,
            CellEnd::Error(error) => self.error(error).await,
        }
        match end {
            CellEnd::Terminated(
                why @ (Termination::Killed | Termination::Sigterm | Termination::OutputClosed),
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

    async fn help(&self) {
        let mut text = String::new();
        for (command, help) in COMMANDS {
            text.push_str(&format!("{command:<10}{help}\n"));
        }
        text.push_str(NOTES);
        self.show(text).await;
    }

    async fn tools(&self) {
        let lines: Vec<String> = self
            .session
            .tools()
            .iter()
            .map(|tool| {
                let first = tool.description.lines().next().unwrap_or_default();
                format!("tools.{}: {first}", script_name(&tool.name))
            })
            .collect();
        self.show(if lines.is_empty() {
            "no tools; start with --tools FILE".into()
        } else {
            lines.join("\n")
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
        let mut lines = Vec::new();
        for Background {
            cell,
            source,
            since,
            ended,
        } in &self.background
        {
            let state = if *ended {
                "ended, .wait shows its result"
            } else {
                "runs"
            };
            let line = source.lines().next().unwrap_or_default();
            let shown: String = line.chars().take(SHOWN_SOURCE).collect();
            lines.push(format!(
                "{cell}: {state}, {} s, {shown}",
                since.elapsed().as_secs()
            ));
        }
        self.show(lines.join("\n")).await;
    }

    async fn unknown_command(&self, command: &str) {
        let names = COMMANDS
            .iter()
            .filter_map(|(usage, _)| usage.split(' ').next());
        let hint = match nearest(command, names) {
            Some(name) => format!("did you mean {name}?"),
            None => ".help lists them".to_owned(),
        };
        self.notice(&format!("no such command {command}; {hint}"))
            .await;
    }

    async fn show(&self, text: String) {
        self.reporter.printer().line(Stream::Stdout, text).await;
    }

    async fn notice(&self, text: &str) {
        self.reporter.report(Event::Notice(text.to_owned())).await;
    }
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
