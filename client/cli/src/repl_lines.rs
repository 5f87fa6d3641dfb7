// SPDX-License-Identifier: Apache-2.0
//! Reads lines at the prompt, with editing and history on a terminal.
//!
//! A thread of its own does the blocking reads. It is never joined: a read that nobody ends must
//! not keep the program from ending.

use std::env;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::{FileHistory, History};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::sync::mpsc;

use crate::repl_complete::Words;
use crate::repl_entry::{Reading, read};
use crate::terminal::SavedTerminal;

/// Entries that the history keeps.
pub const MAX_HISTORY: usize = 10_000;

/// Bytes of one line that does not come from a terminal.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Whether more lines must come before an entry can be carried out.
pub fn goes_on(entry: &str) -> bool {
    let command = entry.trim_start().strip_prefix('.');
    !command.is_some_and(|rest| rest.starts_with(char::is_alphabetic))
        && read(entry) == Reading::Unfinished
}

/// What helps at the prompt: completion, and entries of several lines.
struct Prompt(Words);

impl Helper for Prompt {}

impl Highlighter for Prompt {}

impl Hinter for Prompt {
    type Hint = String;
}

impl Completer for Prompt {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.0.complete(line.get(..position).unwrap_or_default()))
    }
}

impl Validator for Prompt {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let entry = context.input();
        let cleared = entry
            .lines()
            .next_back()
            .is_some_and(|line| line.trim() == ".clear");
        Ok(match goes_on(entry) && !cleared {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its line break; on a terminal a whole entry, which may have several.
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the input.
    End,
    /// The input cannot be read.
    Failed(String),
}

enum Request {
    Read(&'static str),
    Remember(String),
}

/// The lines of standard input.
pub struct Lines {
    requests: blocking::Sender<Request>,
    answers: mpsc::UnboundedReceiver<Line>,
    _terminal: Option<SavedTerminal>,
}

impl Lines {
    /// Lines of standard input: edited, with a prompt and a history, if it is a terminal.
    ///
    /// # Errors
    /// When the reading thread cannot be started.
    pub fn of_stdin(words: Words) -> io::Result<Self> {
        let terminal = io::stdin().is_terminal();
        let saved = if terminal {
            SavedTerminal::of_stdin()
        } else {
            None
        };
        let mut lines = Self::over(move |requests, answers| {
            if terminal {
                read_terminal(words, &requests, &answers);
            } else {
                read_plain(io::stdin().lock(), &requests, &answers);
            }
        })?;
        lines._terminal = saved;
        Ok(lines)
    }

    /// Lines of a text, as if piped in.
    #[cfg(test)]
    pub fn of_text(text: String) -> io::Result<Self> {
        Self::over(move |requests, answers| {
            read_plain(io::Cursor::new(text), &requests, &answers);
        })
    }

    fn over(
        reader: impl FnOnce(blocking::Receiver<Request>, mpsc::UnboundedSender<Line>) + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = blocking::channel();
        // Each answer belongs to a request, so that there is at most one.
        let (answer, answers) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("prompt".into())
            .spawn(move || reader(asked, answer))?;
        Ok(Self {
            requests,
            answers,
            _terminal: None,
        })
    }

    /// Reads one line. If this is dropped, the line goes to the next read.
    pub async fn read(&mut self, prompt: &'static str) -> Line {
        // A thread that has ended gives `None` below.
        let _ = self.requests.send(Request::Read(prompt));
        self.answers.recv().await.unwrap_or(Line::End)
    }

    /// Adds an entry to the history.
    pub fn remember(&self, entry: &str) {
        // A thread that has ended needs no history.
        let _ = self.requests.send(Request::Remember(entry.to_owned()));
    }
}

fn read_plain(
    mut input: impl BufRead,
    requests: &blocking::Receiver<Request>,
    answers: &mpsc::UnboundedSender<Line>,
) {
    while let Ok(request) = requests.recv() {
        let Request::Read(_) = request else { continue };
        let line = read_plain_line(&mut input);
        let last = !matches!(line, Line::Text(_));
        if answers.send(line).is_err() || last {
            return;
        }
    }
}

fn read_plain_line(input: &mut impl BufRead) -> Line {
    let mut bytes = Vec::new();
    match input.take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes) {
        Err(error) => return Line::Failed(error.to_string()),
        Ok(0) => return Line::End,
        Ok(_) => {}
    }
    if bytes.len() as u64 > MAX_LINE_BYTES {
        return Line::Failed(format!("a line is longer than {MAX_LINE_BYTES} bytes"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Line::Text(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(_) => Line::Failed("the input is not UTF-8 text".into()),
    }
}

fn config() -> rustyline::Result<Config> {
    let config = Config::builder().completion_type(CompletionType::List);
    Ok(config.max_history_size(MAX_HISTORY)?.build())
}

fn read_terminal(
    words: Words,
    requests: &blocking::Receiver<Request>,
    answers: &mpsc::UnboundedSender<Line>,
) {
    let config = match config() {
        Ok(config) => config,
        Err(error) => {
            // Nobody waits any more where this cannot be sent.
            let _ = answers.send(Line::Failed(error.to_string()));
            return;
        }
    };
    let mut history = FileHistory::with_config(&config);
    let file = history_file();
    if let Some(path) = &file {
        // There is none before the first use; without one, the history begins empty.
        let _ = history.load(path);
    }
    while let Ok(request) = requests.recv() {
        match request {
            Request::Read(prompt) => {
                let line = read_terminal_line(prompt, &config, &words, &mut history);
                if answers.send(line).is_err() {
                    return;
                }
            }
            Request::Remember(entry) => {
                let remembered = history.add(&entry);
                if let (Ok(true), Some(path)) = (remembered, &file) {
                    save_history(&mut history, path);
                }
            }
        }
    }
}

/// Reads with an editor made for this line: an editor takes over SIGINT for as long as it exists, but
/// between two prompts the signal is the running cell's.
fn read_terminal_line(
    prompt: &str,
    config: &Config,
    words: &Words,
    history: &mut FileHistory,
) -> Line {
    let known = std::mem::replace(history, FileHistory::with_config(config));
    let mut editor: Editor<Prompt, FileHistory> = match Editor::with_history(config.clone(), known)
    {
        Ok(editor) => editor,
        Err(error) => return Line::Failed(error.to_string()),
    };
    editor.set_helper(Some(Prompt(words.clone())));
    let line = match editor.readline(prompt) {
        Ok(text) => Line::Text(text),
        Err(ReadlineError::Interrupted) => Line::Interrupted,
        Err(ReadlineError::Eof) => Line::End,
        Err(error) => Line::Failed(error.to_string()),
    };
    *history = std::mem::replace(editor.history_mut(), FileHistory::with_config(config));
    line
}

/// Saved after each entry, since the thread is not waited for at the end. A history that cannot be
/// saved is no reason to disturb the user at each entry.
fn save_history(history: &mut FileHistory, path: &Path) {
    if let Some(folder) = path.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let _ = history.append(path);
}

/// `$XDG_STATE_HOME/code_mode/history`, by default in `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state
        .or_else(home)
        .map(|folder| folder.join("code_mode/history"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use pretty_assertions::assert_eq;

    use super::*;

    fn lines(text: &'static [u8]) -> Lines {
        Lines::over(move |requests, answers| read_plain(Cursor::new(text), &requests, &answers))
            .unwrap()
    }

    #[tokio::test]
    async fn plain_input_is_read_line_by_line() {
        let mut lines = lines(b"one\r\n\nthree");
        assert_eq!(lines.read("> ").await, Line::Text("one".into()));
        lines.remember("one");
        assert_eq!(lines.read("> ").await, Line::Text(String::new()));
        assert_eq!(lines.read("> ").await, Line::Text("three".into()));
        assert_eq!(lines.read("> ").await, Line::End);
        assert_eq!(lines.read("> ").await, Line::End);
    }

    #[tokio::test]
    async fn input_that_is_not_text_is_an_error() {
        assert_eq!(
            lines(b"\xff\n").read("> ").await,
            Line::Failed("the input is not UTF-8 text".into())
        );
    }

    #[test]
    fn the_history_keeps_the_last_entries() {
        let mut history = FileHistory::with_config(&config().unwrap());
        for number in 0..=MAX_HISTORY {
            history.add(&format!("{number}")).unwrap();
        }
        assert_eq!(history.len(), MAX_HISTORY);
        assert_eq!(history.iter().next().map(String::as_str), Some("1"));
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut endless = std::io::BufReader::new(std::io::repeat(b'x'));
        assert_eq!(
            read_plain_line(&mut endless),
            Line::Failed("a line is longer than 1048576 bytes".into())
        );
    }
}
