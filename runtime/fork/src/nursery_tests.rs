// SPDX-License-Identifier: Apache-2.0
use std::process::Command;

use code_mode_engine::limits::DEFAULT_HEAP_BYTES;
use pretty_assertions::assert_eq;
use rustix::process::{Pid, PidfdFlags};

use super::*;
use crate::memory::CellMemory;
use crate::starter::Program;

/// A zygote that bears nobody, and where its orders arrive.
#[expect(
    clippy::zombie_processes,
    reason = "a `Process` that is dropped is reaped"
)]
fn barren() -> (Zygote, OwnedFd) {
    let (ours, theirs) = channel::pair().expect("a channel");
    rustix::io::ioctl_fionbio(&theirs, true).expect("a socket");
    let child = Command::new("/bin/sleep").arg("60").spawn();
    let child = child.expect("it can be executed");
    let pid = Pid::from_child(&child);
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let zygote = Zygote {
        control: watched(ours, Interest::READABLE).expect("a reactor runs"),
        process: Process::new(pid, descriptor.expect("it lives")),
        started: Instant::now(),
        lifespan: Lifespan::default(),
        numbers: Mutex::default(),
        losses: Losses::default(),
        bell: Notify::new(),
    };
    (zygote, theirs)
}

/// The orders that have arrived.
fn orders(arrived: &OwnedFd) -> Vec<Vec<u8>> {
    let next = || channel::receive(arrived.as_fd()).ok().flatten();
    std::iter::from_fn(next)
        .map(|message| message.bytes)
        .collect()
}

#[tokio::test]
async fn no_more_births_are_ordered_at_one_time_than_are_allowed_and_those_that_are_waited_for_first()
 {
    let (zygote, arrived) = barren();
    zygote.order(10 * ORDERED_BIRTHS, 2);
    let first = orders(&arrived);
    assert_eq!(first.len(), ORDERED_BIRTHS);
    let at_once = first.iter().filter(|order| *order == control::BEAR_AT_ONCE);
    assert_eq!(at_once.count(), 2);
    assert!(
        first[..2]
            .iter()
            .all(|order| order == control::BEAR_AT_ONCE)
    );
    zygote.order(10 * ORDERED_BIRTHS, 2);
    assert!(orders(&arrived).is_empty());
    zygote.lock().ordered -= 1;
    zygote.order(10 * ORDERED_BIRTHS, 2);
    assert_eq!(orders(&arrived), [control::BEAR]);
    // One that is to end bears what was ordered, and no more.
    zygote.lock().ordered -= 1;
    zygote.retire();
    zygote.order(10 * ORDERED_BIRTHS, 2);
    assert!(orders(&arrived).is_empty());
    assert!(!zygote.is_done());
}

#[tokio::test(start_paused = true)]
async fn a_zygote_that_is_never_ready_is_given_up_and_said_to_be() {
    // As a starter it hears nothing, and starts nobody.
    let starter = Starter::start(&Program::At("/bin/sleep".into()));
    let config = NurseryConfig {
        heap_bytes: DEFAULT_HEAP_BYTES,
        data_bytes: CellMemory::for_limits(DEFAULT_HEAP_BYTES, 0).bytes,
        ready: 0,
        confinement: Confinement::None,
        jit: Jit::On,
        lifespan: Lifespan::default(),
    };
    let starter = Arc::new(starter.expect("it can be executed"));
    let begun = tokio::time::Instant::now();
    let nursery = Nursery::new(starter, config, &Handle::current());
    let error = nursery.birth().await.expect_err("nobody is born");
    assert_eq!(begun.elapsed(), BIRTH_DEADLINE);
    assert_eq!(
        error.to_string(),
        "no process for the cell was born within 8 s: the machine is too busy"
    );
    let trouble = loop {
        match nursery.trouble() {
            Some(trouble) => break trouble,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    assert!(begun.elapsed() >= ZYGOTE_DEADLINE, "{:?}", begun.elapsed());
    let expected = "Failed to start a zygote: the zygote was not ready within 10 s";
    assert_eq!(trouble, expected);
    // From now on whoever waits learns why.
    let error = nursery.birth().await.expect_err("nobody is born");
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn the_pauses_between_attempts_grow_up_to_a_bound() {
    let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(longer(*pause)));
    let millis: Vec<u128> = pauses.take(8).map(|pause| pause.as_millis()).collect();
    assert_eq!(millis, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
}
