// SPDX-License-Identifier: Apache-2.0
//! The processor time of a cell in a process of its own: what counts of it, and what follows from it.

mod processes;
mod support;

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::CellStatus;
use code_mode_runtime::RuntimeConfig;
use code_mode_runtime::limits::NICE_AFTER;
use code_mode_testsuite::{Call, Fixture, texts_of, within};
use pretty_assertions::assert_eq;
use processes::{alone, cell_processes, until};
use support::runtime;

const FORKED: bool = true;

async fn fixture(config: RuntimeConfig) -> Fixture {
    Fixture::on(Arc::new(runtime(config, None))).await
}

/// The processor time that a process has used.
fn cpu_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("it lives");
    let used = stat.split(' ').next().and_then(|used| used.parse().ok());
    Duration::from_nanos(used.expect("a number"))
}

/// How far a process lets others go first: the higher, the farther.
fn niceness(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    // Behind the name, which stands in parentheses.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
    let niceness = fields.and_then(|fields| fields.split(' ').nth(16));
    niceness
        .and_then(|nice| nice.parse().ok())
        .expect("a number")
}

/// The one process of a cell that there is, once it has prepared itself and waits.
async fn ready_process() -> i32 {
    // As many looks in a row at a millisecond each.
    const QUIET_LOOKS: u32 = 50;
    let mut last = None;
    let mut quiet = 0;
    until(|| {
        let [pid] = cell_processes()[..] else {
            return None;
        };
        let now = Some((pid, cpu_time(pid)));
        quiet = if now == last { quiet + 1 } else { 0 };
        last = now;
        (quiet == QUIET_LOOKS).then_some(pid)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_computes_before_its_script_counts_for_no_cell() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig {
        ready_isolates: 1,
        ..RuntimeConfig::default()
    })
    .await;
    let pid = ready_process().await;
    // Its own preparation takes hardly more than the script will. To stop and to go on takes time too.
    const MUCH: Duration = Duration::from_millis(20);
    until(|| {
        for signal in [libc::SIGSTOP, libc::SIGCONT].repeat(10) {
            // SAFETY: the call takes two numbers; the process is a child of this one.
            unsafe { libc::kill(pid, signal) };
        }
        (cpu_time(pid) >= MUCH).then_some(())
    })
    .await;
    let limit = cpu_time(pid);
    // The script is looked at several times while it waits.
    let mut request =
        Fixture::request("text('it runs'); await new Promise(go_on => setTimeout(go_on, 200))");
    request.limits.cpu_time = Some(limit);
    let cell = fixture.execute(request).await.expect("it is admitted");
    let response = within(cell.first_response).await.expect("it answers");
    assert_eq!(
        response.status,
        CellStatus::Completed { error_text: None },
        "with a limit of {limit:?}"
    );
    assert_eq!(texts_of(&response), ["it runs"]);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_lets_others_go_first_once_it_has_computed_for_long_and_one_that_waits_does_not() {
    let _alone = alone().await;
    let fixture = fixture(RuntimeConfig {
        ready_isolates: 0,
        ..RuntimeConfig::default()
    })
    .await;
    let waiting = fixture.start("text(await tools.gate())").await;
    let is_call = |call: &Call| matches!(call, Call::Tool { .. });
    fixture.recorder.wait_for(is_call).await;
    let [waits] = cell_processes()[..] else {
        panic!("there is one cell");
    };
    let usual = niceness(waits);
    let computing = fixture.start("for (;;);").await;
    let is_other = |pids: Vec<i32>| pids.into_iter().find(|pid| *pid != waits);
    let computes = until(|| is_other(cell_processes())).await;
    until(|| {
        if niceness(computes) > usual {
            return Some(());
        }
        let used = cpu_time(computes);
        assert!(
            used < 2 * NICE_AFTER,
            "it has computed for {used:?} and goes first like others"
        );
        None
    })
    .await;
    let used = cpu_time(computes);
    assert!(used >= NICE_AFTER, "it had computed for {used:?} only");
    assert_eq!(niceness(waits), usual);
    fixture.recorder.open_gate();
    let response = within(waiting.first_response).await.expect("it answers");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    fixture
        .terminate(&computing.cell_id)
        .await
        .expect("it is terminated");
    fixture.end().await;
}
