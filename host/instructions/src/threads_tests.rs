// SPDX-License-Identifier: Apache-2.0
use std::pin::pin;
use std::process::{Child, Command};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;

const GUARD: Duration = Duration::from_secs(60);

fn status(state: &str, switches: [u64; 2]) -> String {
    let [slept, interrupted] = switches;
    format!(
        "Name:\ta\nState:\t{state}\nvoluntary_ctxt_switches:\t{slept}\n\
         nonvoluntary_ctxt_switches:\t{interrupted}\n"
    )
}

async fn rest_of(child: &Child) {
    let rest = timeout(GUARD, Threads::of(child.id()).rest()).await;
    rest.expect("in time").expect("/proc can be read");
}

#[test]
fn a_thread_rests_when_it_sleeps_or_has_ended() {
    for (state, rests) in [
        ("S (sleeping)", true),
        ("Z (zombie)", true),
        ("X (dead)", true),
        ("R (running)", false),
        ("D (disk sleep)", false),
        ("t (tracing stop)", false),
    ] {
        let expected = Thread {
            id: 7,
            rests,
            switches: 5,
        };
        assert_eq!(thread(7, &status(state, [3, 2])), Some(expected), "{state}");
    }
    assert_eq!(thread(7, "State:\tS (sleeping)\n"), None);
    assert_eq!(thread(7, &status("S", [1, 1]).replace('1', "many")), None);
}

#[tokio::test]
async fn a_process_that_waits_and_one_that_has_ended_are_at_rest() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    rest_of(&child).await;
    child.kill().unwrap();
    // It is still to be waited for.
    rest_of(&child).await;
    child.wait().unwrap();
    rest_of(&child).await;
}

#[test]
fn a_process_that_runs_is_not_at_rest() {
    // The thread that looks runs.
    let threads = Threads::of(std::process::id());
    let mut rest = pin!(threads.rest());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        assert!(matches!(rest.as_mut().poll(&mut context), Poll::Pending));
    }
}
