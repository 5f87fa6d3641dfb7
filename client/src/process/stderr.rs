// SPDX-License-Identifier: Apache-2.0
//! What a host says on its standard error: handed to `tracing`, and its end kept for errors.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

/// Longest line that is kept or logged, in bytes; the rest of a longer line is dropped.
pub(crate) const MAX_LINE_BYTES: usize = 4096;
/// How many of the last lines an error shows.
pub(crate) const TAIL_LINES: usize = 20;
/// Bytes taken from the pipe at a time.
const READ_BYTES: usize = 8192;

/// The last lines of a host's standard error.
#[derive(Debug)]
pub(crate) struct StderrTail {
    lines: Mutex<VecDeque<String>>,
    ended: watch::Sender<bool>,
}

impl Default for StderrTail {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            ended: watch::Sender::new(false),
        }
    }
}

impl StderrTail {
    /// The last lines, oldest first, joined by newlines; empty when the host said nothing.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Resolves when the host's standard error has ended.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Says that nothing more will come.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    fn push(&self, line: &[u8], truncated: bool) {
        let mut text = String::from_utf8_lossy(line).trim_end().to_owned();
        if truncated {
            text.push('…');
        }
        if text.is_empty() {
            return;
        }
        tracing::info!(target: "code_mode_client::host_stderr", "{text}");
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

/// Reads `source` to its end into `tail`, in memory bounded by [`MAX_LINE_BYTES`] and
/// [`TAIL_LINES`].
pub(crate) async fn drain(mut source: impl AsyncRead + Unpin, tail: &StderrTail) {
    let mut buffer = vec![0; READ_BYTES];
    let mut line = Vec::new();
    let mut truncated = false;
    loop {
        let read = match source.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "failed to read the host's standard error");
                break;
            }
        };
        for piece in buffer[..read].split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES - line.len();
            truncated |= piece.len() > room;
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                tail.push(&line, truncated);
                line.clear();
                truncated = false;
            }
        }
    }
    tail.push(&line, truncated);
    tail.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tail_of(bytes: &[u8]) -> String {
        let tail = StderrTail::default();
        drain(bytes, &tail).await;
        tail.ended().await;
        tail.text()
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_and_the_first_forgotten() {
        let text: String = (1..=TAIL_LINES + 3)
            .map(|n| format!("line {n}\n"))
            .collect();
        let tail = tail_of(text.as_bytes()).await;
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert_eq!(tail.lines().next(), Some("line 4"));
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_still_kept() {
        let tail = tail_of(&vec![b'x'; 10 * MAX_LINE_BYTES]).await;
        assert_eq!(tail.chars().count(), MAX_LINE_BYTES + 1);
        assert!(tail.ends_with('…'));
    }

    #[tokio::test]
    async fn a_long_line_does_not_swallow_the_next() {
        let mut bytes = vec![b'x'; 3 * MAX_LINE_BYTES];
        bytes.extend_from_slice(b"\nnext\n\n");
        assert_eq!(tail_of(&bytes).await.lines().nth(1), Some("next"));
    }

    #[tokio::test]
    async fn bytes_that_are_not_text_are_shown_as_replacements() {
        assert_eq!(tail_of(b"a\xffb\n").await, "a\u{fffd}b");
    }
}
