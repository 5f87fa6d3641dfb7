// SPDX-License-Identifier: Apache-2.0
//! The audit log: one JSON object a line for each exec, each call within it, and each end.
//!
//! A line is written before the thing that it tells of has an effect (for an exec) or before its outcome
//! is handed out (for a call). What cannot be written down is not done.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes of one line that are read back; longer ones are none of ours.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Bytes of an error that a line holds.
const MAX_ERROR_BYTES: usize = 1_000;

/// What a line tells of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum AuditEvent {
    /// A script is about to run.
    Exec {
        /// The MCP session.
        session: String,
        /// The exec within it.
        exec: String,
        /// SHA-256 of the source as the client sent it, in hexadecimal.
        sha256: String,
        /// Its length.
        bytes: usize,
    },
    /// A tool was called by a script, or was not.
    Call {
        /// The MCP session.
        session: String,
        /// The exec that called.
        exec: String,
        /// The cell of the script.
        cell: String,
        /// The server's name; empty for a tool of a tools file.
        server: String,
        /// The tool's own name.
        tool: String,
        /// Bytes of the input.
        input_bytes: usize,
        /// How long it took, waiting for the user's consent included.
        ms: u64,
        /// How it ended.
        outcome: Outcome,
        /// The error, cut.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A script has ended.
    End {
        /// The MCP session.
        session: String,
        /// The exec.
        exec: String,
        /// Its cell.
        cell: String,
        /// How it ended.
        outcome: Outcome,
        /// Since its start.
        ms: u64,
    },
}

/// How a call or a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Ok,
    /// With an error.
    Error,
    /// The policy or the user did not let it happen.
    Refused,
    /// Nobody waited for it any more.
    Cancelled,
}

/// A line: an event with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, in UTC as RFC 3339 writes it.
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub event: AuditEvent,
}

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be opened.
    #[error("Failed to open the audit log {}: {cause}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A line cannot be written.
    #[error("Failed to write the audit log: {0}")]
    Write(io::Error),
}

/// An open log.
pub struct Audit {
    file: Mutex<File>,
}

impl Audit {
    /// Opens the log at `path` to add to it; a new one is for its owner only.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path);
        let file = file.map_err(|cause| AuditError::Open {
            path: path.to_path_buf(),
            cause,
        })?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    /// Writes one line, whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, event: AuditEvent) -> Result<(), AuditError> {
        let time = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut line = serde_json::to_vec(&Line { time, event })
            .map_err(|error| AuditError::Write(error.into()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write of a short line to a file that is appended to is not torn apart by another process.
        file.write_all(&line).map_err(AuditError::Write)
    }
}

/// SHA-256 of a source, in hexadecimal.
pub fn hash(source: &str) -> String {
    Sha256::digest(source.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Milliseconds of a duration.
pub fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error as a line holds it.
pub fn cut(error: &str) -> String {
    let mut end = error.len().min(MAX_ERROR_BYTES);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    error.get(..end).unwrap_or_default().to_owned()
}

/// Reads the lines of a log; one that is no line of ours, such as the last of a log that is being written,
/// is given as an error with its number.
///
/// # Errors
/// When the log cannot be opened.
pub fn read(path: &Path) -> Result<impl Iterator<Item = Result<Line, usize>>, AuditError> {
    let file = File::open(path).map_err(|cause| AuditError::Open {
        path: path.to_path_buf(),
        cause,
    })?;
    let mut reader = BufReader::new(file);
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        let read = (&mut reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line);
        match read {
            Ok(0) | Err(_) => None,
            Ok(_) if is_cut(&line) => match skip_line(&mut reader) {
                Ok(()) => Some(Err(number)),
                Err(_) => None,
            },
            Ok(_) => Some(serde_json::from_slice(&line).map_err(|_| number)),
        }
    }))
}

/// Whether there is more of this line than was read.
fn is_cut(line: &[u8]) -> bool {
    line.len() as u64 == MAX_LINE_BYTES && !line.ends_with(b"\n")
}

/// Reads to the end of a line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let available = reader.fill_buf()?;
        let end = memchr::memchr(b'\n', available);
        let (used, ended) = match end {
            Some(at) => (at + 1, true),
            None => (available.len(), available.is_empty()),
        };
        reader.consume(used);
        if ended {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use pretty_assertions::assert_eq;

    use super::*;

    fn exec(number: u64) -> AuditEvent {
        AuditEvent::Exec {
            session: "s".to_owned(),
            exec: number.to_string(),
            sha256: hash("text(1)"),
            bytes: 7,
        }
    }

    #[test]
    fn lines_are_added_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        Audit::open(&path).unwrap().write(exec(1)).unwrap();
        Audit::open(&path).unwrap().write(exec(2)).unwrap();
        let events: Vec<AuditEvent> = read(&path)
            .unwrap()
            .map(|line| line.unwrap().event)
            .collect();
        assert_eq!(events, [exec(1), exec(2)]);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_that_is_none_is_told_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        audit.write(exec(1)).unwrap();
        std::fs::write(
            &path,
            [std::fs::read(&path).unwrap(), b"{\"half".to_vec()].concat(),
        )
        .unwrap();
        let lines: Vec<Result<Line, usize>> = read(&path).unwrap().collect();
        assert!(lines[0].is_ok());
        assert_eq!(lines[1], Err(2));
    }

    #[test]
    fn what_cannot_be_opened_is_told() {
        let error = Audit::open(Path::new("/nowhere/audit"))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("Failed to open the audit log /nowhere/audit: "),
            "{error}"
        );
    }

    #[test]
    fn a_source_is_known_by_its_hash() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hash(""), empty);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_that_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        audit.write(exec(1)).unwrap();
        let long = "x".repeat(usize::try_from(MAX_LINE_BYTES).unwrap() * 3);
        let first = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{first}{long}\n{first}")).unwrap();
        let lines: Vec<Result<Line, usize>> = read(&path).unwrap().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[1], Err(2));
        assert_eq!(lines[2].as_ref().unwrap().event, exec(1));
    }

    #[test]
    fn an_error_is_written_down_within_its_bound() {
        assert_eq!(cut("no"), "no");
        assert_eq!(
            cut(&"€".repeat(MAX_ERROR_BYTES)),
            "€".repeat(MAX_ERROR_BYTES / 3)
        );
    }
}
