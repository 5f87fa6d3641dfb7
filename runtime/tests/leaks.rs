// SPDX-License-Identifier: Apache-2.0
//! After thousands of cells nothing is left: no thread, no isolate, no file descriptor.

mod support;

use std::sync::Arc;
use std::time::Duration;

use code_mode_runtime::{Runtime, RuntimeConfig};
use code_mode_testsuite::{Fixture, within};
use support::runtime;

const FORKED: bool = false;

/// Cells that this test runs; each ends in another way than its neighbours.
const CELLS: usize = 2_000;

/// `PF_EXITING` of the kernel's `linux/sched.h`.
const EXITING: u64 = 0x4;

/// Threads of this process. One that has been joined may still be listed while the kernel takes it
/// down; it counts no more.
fn threads() -> usize {
    let alive = |entry: std::io::Result<std::fs::DirEntry>| {
        let stat = entry.expect("procfs").path().join("stat");
        // A thread that ends meanwhile has no such file.
        let stat = std::fs::read_to_string(stat).ok()?;
        // The name, in parentheses, may hold anything; the flags are the seventh field after it.
        let flags = stat.rsplit(')').next()?.split_whitespace().nth(6)?;
        (flags.parse::<u64>().ok()? & EXITING == 0).then_some(())
    };
    let folder = std::fs::read_dir("/proc/self/task").expect("procfs");
    folder.filter_map(alive).count()
}

/// What the descriptors of this process stand for, once none of them is a file below `/proc` or
/// `/sys`: the C library opens such files for a moment, on any thread, as `/sys/devices/system/cpu/online`
/// at a thread's first allocation.
async fn descriptors() -> Vec<String> {
    let mut poll = tokio::time::interval(Duration::from_millis(1));
    loop {
        poll.tick().await;
        let folder = std::fs::read_dir("/proc/self/fd").expect("procfs");
        let mut targets: Vec<String> = folder
            // One that is closed meanwhile cannot be read.
            .filter_map(|entry| std::fs::read_link(entry.expect("procfs").path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            // The folder that is just being read.
            .filter(|target| !(target.starts_with("/proc/") && target.ends_with("/fd")))
            .collect();
        let of_the_kernel =
            |target: &String| target.starts_with("/proc/") || target.starts_with("/sys/");
        if !targets.iter().any(of_the_kernel) {
            targets.sort();
            return targets;
        }
    }
}

async fn run(fixture: &Fixture, number: usize) {
    let source = match number % 5 {
        0 => "text('x')",
        1 => "throw new Error('x')",
        2 => "setTimeout(() => {}, 1e6); tools.hang(); exit()",
        3 => "await tools.echo({ a: 1 }); const",
        _ => "await new Promise(() => {})",
    };
    let cell = fixture.start(source).await;
    if number % 5 == 4 {
        fixture
            .terminate(&cell.cell_id)
            .await
            .expect("it is terminated");
    }
    within(cell.first_response).await.expect("the cell answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_thread_isolate_or_descriptor_is_left_after_thousands_of_cells() {
    for ready_isolates in [0, 2] {
        let config = RuntimeConfig {
            ready_isolates,
            ..RuntimeConfig::default()
        };
        let fixture = Fixture::on(Arc::new(runtime(config, None))).await;
        // The first cell starts what the process keeps: V8's own threads and the runtime's two.
        run(&fixture, 0).await;
        fixture.end().await;
        within(threads_gone()).await;
        let before = (threads(), within(descriptors()).await);

        let config = RuntimeConfig {
            ready_isolates,
            ..RuntimeConfig::default()
        };
        let fixture = Fixture::on(Arc::new(runtime(config, None))).await;
        for number in 0..CELLS / 2 {
            run(&fixture, number).await;
        }
        fixture.end().await;
        within(threads_gone()).await;
        let after = (threads(), within(descriptors()).await);
        assert_eq!(after, before, "with {ready_isolates} ready isolates");
    }
    assert!(Runtime::sandbox_enabled());
}

/// Resolves when every V8 thread has been joined: at shutdown for those of cells, soon after the
/// runtime is dropped for those kept ready.
async fn threads_gone() {
    let mut poll = tokio::time::interval(Duration::from_millis(1));
    while Runtime::v8_threads() > 0 {
        poll.tick().await;
    }
}
