// SPDX-License-Identifier: Apache-2.0
//! The processes of a test, as procfs shows them.

#![allow(dead_code, reason = "each test looks at some of them")]

use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// These tests look at the processes of their own process, so one runs at a time.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// Waits until no other test has processes that live.
///
/// A test gives way before its Tokio runtime is gone, which takes its processes along. What a killed zygote
/// could not tell of stays, dead; once all are dead, nobody is born any more.
pub async fn alone() -> SemaphorePermit<'static> {
    let permit = ONE_AT_A_TIME.acquire().await;
    until(|| children().into_iter().all(is_dead).then_some(())).await;
    permit.expect("it is never closed")
}

/// The processes that run cells of this process, by their name in procfs. Dead ones that a killed zygote
/// could not tell of are not among them.
pub fn cell_processes() -> Vec<i32> {
    children()
        .into_iter()
        .filter(|pid| name_of(*pid).as_deref() == Some("cm-cell") && !is_dead(*pid))
        .collect()
}

/// The zygote. A cell that was just born has its name for a moment, and a higher number.
pub fn zygote() -> Option<i32> {
    children()
        .into_iter()
        .filter(|pid| name_of(*pid).as_deref() == Some("cm-zygote"))
        .min()
}

pub fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    tasks
        .filter_map(Result::ok)
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| {
            pids.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

pub fn name_of(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// Whether a process of this one has ended, and waits to be reaped or is gone by now.
pub fn is_dead(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which stands in parentheses.
    stat.rsplit_once(") ")
        .is_none_or(|(_, fields)| fields.starts_with('Z'))
}

pub fn kill(pid: i32) {
    // SAFETY: the call takes two numbers; the process is a child of this one.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Looks again and again until there is something to see.
pub async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    const GUARD: Duration = Duration::from_secs(60);
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < GUARD, "what was waited for never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
