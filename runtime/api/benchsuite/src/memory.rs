// SPDX-License-Identifier: Apache-2.0
//! Resident memory of a process, read when the process has come to rest, and what the machine has left.

use std::time::Duration;

/// The pause between two readings. What a subject does after its last answer (disposing of a cell,
/// making the next isolate ready) takes less.
const READING_PAUSE: Duration = Duration::from_millis(20);
/// Readings at the most, so that a process that never rests costs a second and not the run.
const MAX_READINGS: usize = 50;
/// How near two readings in a row are at rest, KiB.
const REST_KIB: i64 = 16;

/// Resident memory of a process at rest, KiB; `None` when the system does not say.
pub(crate) async fn resident_kib(process_id: Option<u32>) -> Option<i64> {
    let mut last = read(process_id?)?;
    for _ in 1..MAX_READINGS {
        tokio::time::sleep(READING_PAUSE).await;
        let now = read(process_id?)?;
        if (now - last).abs() <= REST_KIB {
            return Some(now);
        }
        last = now;
    }
    Some(last)
}

/// The kernel's sum over the page tables: `VmRSS` of `status` may lag behind by 256 KiB a thread,
/// and a thousand parked cells are a thousand threads.
fn read(process_id: u32) -> Option<i64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process_id}/smaps_rollup")).ok()?;
    parse(&rollup)
}

/// What the kernel estimates that new programs can have without swapping, KiB; `None` when it does not say.
pub(crate) fn available_kib() -> Option<i64> {
    kib(
        &std::fs::read_to_string("/proc/meminfo").ok()?,
        "MemAvailable:",
    )
}

fn parse(rollup: &str) -> Option<i64> {
    kib(rollup, "Rss:")
}

/// The size in the line that begins with this.
fn kib(text: &str, name: &str) -> Option<i64> {
    let size = text.lines().find_map(|line| line.strip_prefix(name))?;
    size.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_resident_size_is_read_and_nothing_else() {
        let rollup =
            "5588-7ffe ---p 00000000 00:00 0    [rollup]\nRss:            1808 kB\nPss: 427 kB\n";
        assert_eq!(parse(rollup), Some(1808));
        assert_eq!(parse("Pss: 427 kB\n"), None);
        assert_eq!(parse("Rss: many kB\n"), None);
    }

    #[test]
    fn what_the_machine_has_left_is_read() {
        let text = "MemTotal:       24604020 kB\nMemAvailable:   22121348 kB\n";
        assert_eq!(kib(text, "MemAvailable:"), Some(22_121_348));
        assert!(available_kib().is_some_and(|kib| kib > 0));
    }

    #[tokio::test]
    async fn memory_of_a_process_that_is_not_known_or_not_there_is_not_given() {
        assert_eq!(resident_kib(None).await, None);
        assert_eq!(resident_kib(Some(u32::MAX)).await, None);
    }

    #[tokio::test]
    async fn memory_that_this_process_fills_counts() {
        let before = resident_kib(Some(std::process::id())).await.unwrap();
        let filled = vec![1u8; 32 << 20];
        let after = resident_kib(Some(std::process::id())).await.unwrap();
        assert!(filled.iter().all(|&byte| byte == 1));
        assert!(after - before > 24 << 10, "from {before} to {after} KiB");
    }
}
