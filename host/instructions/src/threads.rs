// SPDX-License-Identifier: Apache-2.0
//! Whether another process has come to rest.

use std::fs;
use std::io;
use std::path::PathBuf;

/// The threads of another process.
pub(crate) struct Threads(PathBuf);

/// What `/proc` says of one thread.
#[derive(Debug, PartialEq, Eq)]
struct Thread {
    id: u64,
    /// Whether it sleeps, or has ended and is still to be waited for.
    rests: bool,
    /// How often it has slept or was interrupted; as long as that stays, it has not run.
    switches: u64,
}

impl Threads {
    pub(crate) fn of(process: u32) -> Self {
        Self(PathBuf::from(format!("/proc/{process}/task")))
    }

    /// Waits until all threads sleep, or until the process has ended.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) async fn rest(&self) -> io::Result<()> {
        let mut before = self.look()?;
        loop {
            tokio::task::yield_now().await;
            let now = self.look()?;
            // One look takes a while, and a thread that has been looked at may have been woken by
            // one that is still to come. Two that say the same leave no room for that.
            if now == before && now.iter().all(|thread| thread.rests) {
                return Ok(());
            }
            before = now;
        }
    }

    fn look(&self) -> io::Result<Vec<Thread>> {
        let mut threads = Vec::new();
        let tasks = match fs::read_dir(&self.0) {
            Ok(tasks) => tasks,
            Err(error) if has_ended(&error) => return Ok(threads),
            Err(error) => return Err(error),
        };
        for task in tasks {
            let task = task?;
            let status = match fs::read_to_string(task.path().join("status")) {
                Ok(status) => status,
                Err(error) if has_ended(&error) => continue,
                Err(error) => return Err(error),
            };
            let id = task.file_name().to_string_lossy().parse().ok();
            let thread = id.and_then(|id| thread(id, &status));
            let unclear = || io::Error::other("a status in /proc is not understood");
            threads.push(thread.ok_or_else(unclear)?);
        }
        threads.sort_by_key(|thread| thread.id);
        Ok(threads)
    }
}

/// Whether a thread or process is no more: its files are gone, or cannot be read although open.
fn has_ended(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// A thread by its file `status`.
fn thread(id: u64, status: &str) -> Option<Thread> {
    let field = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let switches = |name| field(name)?.trim().parse::<u64>().ok();
    Some(Thread {
        id,
        rests: field("State")?.trim().starts_with(['S', 'Z', 'X']),
        switches: switches("voluntary_ctxt_switches")?
            .wrapping_add(switches("nonvoluntary_ctxt_switches")?),
    })
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
