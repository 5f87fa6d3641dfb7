// SPDX-License-Identifier: Apache-2.0
//! The only place of this package that writes to standard output and standard error.
//!
//! One thread owns both streams, so that a slow reader never blocks the executor: writers wait in a
//! bounded queue instead. Standard output is for results, standard error for people.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use code_mode_api::CancellationSignal;
use tokio::sync::{mpsc, oneshot};

/// Pieces of output that wait for the streams; a further writer waits.
const MAX_QUEUED_PIECES: usize = 256;

/// How long the end of the program waits for readers that no longer read.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Erases a terminal's current line and returns to its start.
const ERASE_LINE: &str = "\r\x1b[2K";

/// Which stream a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Results: what a script prints, JSON events, descriptions.
    Stdout,
    /// Words for people: errors, notices, progress.
    Stderr,
}

enum Piece {
    Text(Stream, String),
    /// A line that the next piece of any kind replaces.
    Progress(String),
    Flush(oneshot::Sender<()>),
}

/// A handle for writing; cheap to clone.
#[derive(Clone)]
pub struct Printer {
    pieces: mpsc::Sender<Piece>,
    broken: CancellationSignal,
    failure: Arc<Mutex<Option<io::Error>>>,
    progress: bool,
}

impl Printer {
    /// Writes `text` and makes sure that it ends its line.
    ///
    /// What cannot be written is dropped; [`broken`](Self::broken) tells the program to stop.
    pub async fn line(&self, stream: Stream, mut text: String) {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.send(Piece::Text(stream, text)).await;
    }

    /// Shows `text` as the progress line, if standard error is a terminal.
    pub async fn progress(&self, text: String) {
        if self.progress {
            self.send(Piece::Progress(text)).await;
        }
    }

    /// Whether progress lines are shown at all.
    pub fn shows_progress(&self) -> bool {
        self.progress
    }

    /// Resolves when everything written before has reached its stream.
    pub async fn flush(&self) {
        let (done, reached) = oneshot::channel();
        self.send(Piece::Flush(done)).await;
        // An error means that the output thread has ended: nothing is left to wait for.
        let _ = reached.await;
    }

    /// Resolves when standard output can no longer be written.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Why standard output could not be written, once [`broken`](Self::broken) has resolved.
    pub fn take_failure(&self) -> Option<io::Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn send(&self, piece: Piece) {
        // The receiver goes only when the program ends; what comes after has no reader.
        let _ = self.pieces.send(piece).await;
    }
}

/// The thread that owns the streams.
pub struct Output {
    thread: JoinHandle<()>,
}

impl Output {
    /// Starts writing to the process's own streams; `progress` says whether progress lines are shown
    /// where standard error is a terminal.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(progress: bool) -> io::Result<(Printer, Self)> {
        let progress = progress && io::stderr().is_terminal();
        Self::over(io::stdout(), io::stderr(), progress)
    }

    /// Starts writing to any streams; `progress` says whether progress lines are shown.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn over(
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
        progress: bool,
    ) -> io::Result<(Printer, Self)> {
        let (pieces, queue) = mpsc::channel(MAX_QUEUED_PIECES);
        let printer = Printer {
            pieces,
            broken: CancellationSignal::new(),
            failure: Arc::default(),
            progress,
        };
        let broken = printer.broken.clone();
        let failure = printer.failure.clone();
        let thread = std::thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                Streams {
                    stdout,
                    stderr,
                    progress_shown: false,
                    broken,
                    failure,
                }
                .run(queue);
            })?;
        Ok((printer, Self { thread }))
    }

    /// Waits until everything is written, or until the readers have not read for two seconds.
    ///
    /// Every [`Printer`] must be gone, else this waits for the deadline.
    pub fn close(self) {
        let deadline = Instant::now() + CLOSE_DEADLINE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Writes the text of help, completions or the like to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Writes words for people before there is a [`Printer`], or after it has gone.
pub fn say(message: &str) {
    // Standard error is where a failure would be said; there is no other place.
    let _ = writeln!(io::stderr(), "{message}");
}

/// The environment variable that turns the program's own diagnostics on, such as `debug`.
const LOG_VARIABLE: &str = "CODE_MODE_LOG";

/// Sends diagnostics, the host's standard error among them, to standard error as far as
/// `CODE_MODE_LOG` asks for them; `unless_set` is what counts where that is not set.
pub fn start_tracing(unless_set: Option<&str>) {
    let filter = tracing_subscriber::EnvFilter::try_from_env(LOG_VARIABLE).ok();
    let filter = filter.or_else(|| unless_set.map(tracing_subscriber::EnvFilter::new));
    let Some(filter) = filter else { return };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // An embedder's own subscriber stays in force.
    let _ = subscriber.try_init();
}

struct Streams<O, E> {
    stdout: O,
    stderr: E,
    progress_shown: bool,
    broken: CancellationSignal,
    failure: Arc<Mutex<Option<io::Error>>>,
}

impl<O: Write, E: Write> Streams<O, E> {
    fn run(mut self, mut queue: mpsc::Receiver<Piece>) {
        while let Some(piece) = queue.blocking_recv() {
            self.erase_progress();
            match piece {
                Piece::Text(Stream::Stdout, text) => self.write_stdout(&text),
                Piece::Text(Stream::Stderr, text) => self.write_stderr(&text),
                Piece::Progress(text) => {
                    self.write_stderr(&text);
                    self.progress_shown = true;
                }
                Piece::Flush(done) => {
                    // The waiter may have gone; then nobody needs to know.
                    let _ = done.send(());
                }
            }
        }
        self.erase_progress();
    }

    fn erase_progress(&mut self) {
        if std::mem::take(&mut self.progress_shown) {
            self.write_stderr(ERASE_LINE);
        }
    }

    fn write_stdout(&mut self, text: &str) {
        if self.broken.is_cancelled() {
            return;
        }
        let written = self
            .stdout
            .write_all(text.as_bytes())
            .and_then(|()| self.stdout.flush());
        if let Err(error) = written {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            self.broken.cancel();
        }
    }

    fn write_stderr(&mut self, text: &str) {
        // As in `say`: a failure here has no place where it could be said.
        let _ = self
            .stderr
            .write_all(text.as_bytes())
            .and_then(|()| self.stderr.flush());
    }
}

#[cfg(test)]
pub mod testing {
    //! Streams that tests can read back.

    use super::*;

    /// A stream that keeps what is written.
    #[derive(Clone, Default)]
    pub struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        /// Everything written so far.
        pub fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A printer whose two streams are kept.
    pub fn kept_printer(progress: bool) -> (Printer, Kept, Kept) {
        let (stdout, stderr) = (Kept::default(), Kept::default());
        let (printer, _thread) = Output::over(stdout.clone(), stderr.clone(), progress).unwrap();
        (printer, stdout, stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Kept, kept_printer};
    use super::*;

    #[tokio::test]
    async fn a_line_is_ended_once() {
        let (printer, stdout, stderr) = kept_printer(false);
        printer.line(Stream::Stdout, "a".into()).await;
        printer.line(Stream::Stdout, "b\n".into()).await;
        printer.line(Stream::Stderr, "c".into()).await;
        printer.flush().await;
        assert_eq!(
            (stdout.text(), stderr.text()),
            ("a\nb\n".into(), "c\n".into())
        );
    }

    #[tokio::test]
    async fn a_progress_line_is_erased_before_anything_else_is_written() {
        let (printer, _stdout, stderr) = kept_printer(true);
        printer.progress("1 s".into()).await;
        printer.line(Stream::Stderr, "done".into()).await;
        printer.flush().await;
        assert_eq!(stderr.text(), format!("1 s{ERASE_LINE}done\n"));
    }

    #[tokio::test]
    async fn no_progress_is_shown_where_standard_error_is_no_terminal() {
        let (printer, _stdout, stderr) = kept_printer(false);
        printer.progress("1 s".into()).await;
        printer.flush().await;
        assert_eq!(stderr.text(), "");
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_closed_standard_output_is_told_to_the_program() {
        let (printer, _thread) = Output::over(Closed, Kept::default(), false).unwrap();
        printer.line(Stream::Stdout, "a".into()).await;
        printer.broken().await;
        assert_eq!(
            printer.take_failure().unwrap().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
