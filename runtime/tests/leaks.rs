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

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("procfs").count()
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
        let before = (entries("/proc/self/task"), entries("/proc/self/fd"));

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
        let after = (entries("/proc/self/task"), entries("/proc/self/fd"));
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
