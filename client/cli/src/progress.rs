// SPDX-License-Identifier: Apache-2.0
//! The line that shows long work on a terminal: what runs, for how long, and which tools.

use std::convert::Infallible;
use std::time::Duration;

use terminal_size::{Width, terminal_size_of};
use tokio::time::{Instant, sleep};

use crate::file_tools::Calls;
use crate::output::Printer;

/// Work shorter than this shows no progress line.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// How often the progress line is drawn.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Characters of the end of the script's name in the progress line.
const PROGRESS_NAME: usize = 30;

/// Open calls that are named; the others are counted.
const NAMED_CALLS: usize = 2;

/// Characters of a line where the terminal does not say how wide it is.
const USUAL_WIDTH: usize = 80;

/// Shows the progress of `name` until this is dropped.
pub async fn show(printer: &Printer, name: &str, calls: Option<&Calls>) -> Infallible {
    if !printer.shows_progress() {
        return std::future::pending().await;
    }
    let begun = Instant::now();
    sleep(PROGRESS_AFTER).await;
    loop {
        let width = terminal_size_of(std::io::stderr())
            .map_or(USUAL_WIDTH, |(Width(width), _)| usize::from(width));
        printer
            .progress(line(name, begun.elapsed(), calls, width))
            .await;
        sleep(PROGRESS_INTERVAL).await;
    }
}

/// A line that fits into a terminal, since only one line can be erased.
fn line(name: &str, elapsed: Duration, calls: Option<&Calls>, width: usize) -> String {
    let excess = name.chars().count().saturating_sub(PROGRESS_NAME);
    let name: String = name.chars().skip(excess).collect();
    let mut line = format!("{name}: {} s", elapsed.as_secs());
    if let Some(calls) = calls {
        let (open, done) = (calls.open(), calls.done());
        line.push_str(&format!(", tool calls: {} open, {done} done", open.len()));
        for (at, (tool, since)) in open.iter().take(NAMED_CALLS).enumerate() {
            let joint = if at == 0 { "; " } else { ", " };
            line.push_str(&format!("{joint}{tool} {} s", since.as_secs()));
        }
        if open.len() > NAMED_CALLS {
            line.push_str(", …");
        }
    }
    let printable = line.chars().filter(|c| !c.is_control());
    printable.take(width.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn the_line_tells_time_and_tool_calls() {
        let calls = Calls::default();
        let elapsed = Duration::from_millis(12_700);
        assert_eq!(line("a.js", elapsed, None, 80), "a.js: 12 s");
        assert_eq!(
            line("a.js", elapsed, Some(&calls), 80),
            "a.js: 12 s, tool calls: 0 open, 0 done"
        );
    }

    #[test]
    fn the_oldest_calls_are_named() {
        let calls = std::sync::Arc::new(Calls::default());
        let _open = ["fetch", "list", "sum"].map(|name| calls.opened(name));
        drop(calls.opened("gone"));
        assert_eq!(
            line("a.js", Duration::ZERO, Some(&calls), 80),
            "a.js: 0 s, tool calls: 3 open, 1 done; fetch 0 s, list 0 s, …"
        );
    }

    #[test]
    fn the_line_fits_into_the_terminal() {
        let long = line(
            &"x".repeat(1000),
            Duration::ZERO,
            Some(&Calls::default()),
            40,
        );
        assert_eq!(long.chars().count(), 39);
        assert_eq!(line("a\nb\u{1b}", Duration::ZERO, None, 80), "ab: 0 s");
    }
}
