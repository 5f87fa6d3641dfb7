// SPDX-License-Identifier: Apache-2.0
//! Diagnostics on standard error. Standard output belongs to the frames.
//!
//! Whoever logs never waits: lines are handed to a thread of their own, which alone waits for whoever
//! reads standard error. What does not fit is dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::LogFormat;

/// Lines that wait for standard error, bytes. A line for which there is no room is lost.
pub(crate) const LOG_BYTES: usize = 1 << 20;

/// How long the process waits at its end until its last lines are written.
pub(crate) const LOG_FLUSH: Duration = Duration::from_millis(250);

/// The log of this process, once it is started.
static LOG: OnceLock<Log> = OnceLock::new();

/// Sends `tracing` events to standard error, filtered by `RUST_LOG` (default: warnings), and the
/// messages of panics.
///
/// A span is told when it closes, with the time in which it was at work and the time in which it
/// waited. `RUST_LOG=code_mode::timing=debug` thus shows where the time of each cell goes; spans that
/// are not asked for cost nothing.
///
/// A filter that cannot be understood is reported there and replaced by the default. Only the first
/// call in a process has an effect.
///
/// # Errors
/// When there is no thread to write the lines.
pub fn start(format: LogFormat) -> io::Result<()> {
    let log = Log::start(io::stderr(), format)?;
    let log = LOG.get_or_init(|| log).clone();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env();
    let (filter, error) = match filter {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("warn"), Some(error)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(log);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "diagnostics were started before");
    }
    if let Some(error) = error {
        tracing::warn!(%error, "RUST_LOG cannot be understood; logging warnings");
    }
    // The standard library's own hook waits for whoever reads standard error.
    std::panic::set_hook(Box::new(|panic| line(&format!("code_mode_host: {panic}"))));
    Ok(())
}

/// Writes a line that is no event: to the log, or before that is started to standard error itself.
pub(crate) fn line(text: &str) {
    match LOG.get() {
        Some(log) => log.queue.push(format!("{text}\n").into_bytes()),
        // A standard error that is gone leaves nobody to tell.
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Waits until what was logged is written, for [`LOG_FLUSH`] at most.
pub(crate) fn flush() {
    if let Some(log) = LOG.get() {
        log.queue.wait_until_written(Instant::now() + LOG_FLUSH);
    }
}

/// The way to the thread that writes.
#[derive(Debug, Clone)]
struct Log {
    queue: Arc<Queue>,
}

impl Log {
    /// Starts the thread that writes to `to`.
    fn start(mut to: impl Write + Send + 'static, format: LogFormat) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let log = Self {
            queue: Arc::clone(&queue),
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                loop {
                    let (lines, lost) = queue.take();
                    for line in &lines {
                        // As for every line: nobody is there who could be told.
                        let _ = to.write_all(line);
                    }
                    if lost > 0 {
                        let _ = to.write_all(loss(lost, format).as_bytes());
                    }
                    queue.written();
                }
            })?;
        Ok(log)
    }
}

/// The line that tells of lines that were lost.
fn loss(lost: u64, format: LogFormat) -> String {
    let message = "lines of the log were lost: nobody has read standard error in time";
    match format {
        LogFormat::Text => format!("{lost} {message}\n"),
        LogFormat::Json => {
            let line = serde_json::json!({"level": "WARN", "message": message, "lost": lost});
            format!("{line}\n")
        }
    }
}

/// Lines on their way to the thread that writes them.
#[derive(Debug, Default)]
struct Queue {
    state: Mutex<WaitingLines>,
    /// Wakes the thread that writes.
    ready: Condvar,
    /// Wakes who waits until all is written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct WaitingLines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    /// Whether the thread has taken something that it has not written yet.
    writing: bool,
}

impl Queue {
    /// Adds a line, or counts it as lost when there is no room for it.
    fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if state.bytes + line.len() > LOG_BYTES {
            state.lost += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.ready.notify_one();
    }

    /// Everything that is there, and how many lines were lost before now; waits until there is something.
    /// The lines count until [`written`](Self::written).
    fn take(&self) -> (VecDeque<Vec<u8>>, u64) {
        let empty = |state: &mut WaitingLines| state.lines.is_empty() && state.lost == 0;
        let state = self.ready.wait_while(self.lock(), empty);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        (
            std::mem::take(&mut state.lines),
            std::mem::take(&mut state.lost),
        )
    }

    /// What was taken is written.
    fn written(&self) {
        let mut state = self.lock();
        state.writing = false;
        state.bytes = state.lines.iter().map(Vec::len).sum();
        drop(state);
        self.idle.notify_all();
    }

    /// Waits until there is nothing to write; false when it takes longer.
    fn wait_until_written(&self, deadline: Instant) -> bool {
        let busy =
            |state: &mut WaitingLines| state.writing || !state.lines.is_empty() || state.lost > 0;
        let time = deadline.saturating_duration_since(Instant::now());
        let waited = self.idle.wait_timeout_while(self.lock(), time, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, WaitingLines> {
        // Nothing panics while the lock is held except a failed allocation, after which the state is
        // still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line {
            bytes: Vec::new(),
            queue: Arc::clone(&self.queue),
        }
    }
}

/// One line that is being put together; queued when it is dropped.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    queue: Arc<Queue>,
}

impl Write for Line {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if !bytes.is_empty() {
            self.queue.push(bytes);
        }
    }
}

#[cfg(test)]
#[path = "logging_tests.rs"]
mod tests;
