// SPDX-License-Identifier: Apache-2.0
use std::sync::mpsc::{self, Receiver, SyncSender};

use pretty_assertions::assert_eq;

use super::*;

/// How long anything may take; only a defect takes so long.
const GUARD: Duration = Duration::from_secs(60);

/// A standard error that takes a write only when the test does.
struct Stuck(SyncSender<String>);

impl Write for Stuck {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(part).into_owned();
        self.0.send(text).map_err(io::Error::other)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stuck(format: LogFormat) -> (Log, Receiver<String>) {
    let (sender, receiver) = mpsc::sync_channel(0);
    let log = Log::start(Stuck(sender), format).expect("a thread starts");
    (log, receiver)
}

fn write(log: &Log, text: &str) {
    log.make_writer()
        .write_all(text.as_bytes())
        .expect("it is taken");
}

#[test]
fn lines_are_written_in_order_and_who_logs_does_not_wait_for_it() {
    let (log, written) = stuck(LogFormat::Text);
    for number in 0..100 {
        write(&log, &format!("line {number}\n"));
    }
    for number in 0..100 {
        let line = written.recv_timeout(GUARD).expect("a line");
        assert_eq!(line, format!("line {number}\n"));
    }
    assert!(log.queue.wait_until_written(Instant::now() + GUARD));
}

#[test]
fn what_does_not_fit_is_lost_and_counted() {
    for (format, expected) in [
        (LogFormat::Text, "7 lines of the log were lost"),
        (LogFormat::Json, r#""lost":7"#),
    ] {
        let (log, written) = stuck(format);
        let long = "x".repeat(LOG_BYTES / 4);
        // Whether the thread has taken some of them or not, they count until they are written.
        for _ in 0..4 {
            write(&log, &long);
        }
        for _ in 0..7 {
            write(&log, "lost");
        }
        let mut lines = Vec::new();
        while !lines
            .last()
            .is_some_and(|line: &String| line.contains(expected))
        {
            lines.push(written.recv_timeout(GUARD).expect("a line"));
        }
        assert_eq!(lines.len(), 5);
        assert!(!lines.iter().any(|line| line == "lost"));
        assert!(log.queue.wait_until_written(Instant::now() + GUARD));
        write(&log, "there is room again");
        assert_eq!(
            written.recv_timeout(GUARD).as_deref(),
            Ok("there is room again")
        );
    }
}

#[test]
fn the_end_waits_for_the_last_lines_but_not_for_ever() {
    let (log, written) = stuck(LogFormat::Text);
    write(&log, "last");
    assert!(!log.queue.wait_until_written(Instant::now()));
    assert_eq!(written.recv_timeout(GUARD).as_deref(), Ok("last"));
    assert!(log.queue.wait_until_written(Instant::now() + GUARD));
}
