// SPDX-License-Identifier: Apache-2.0
use std::time::Instant;

use pretty_assertions::assert_eq;

use super::*;
use crate::fake::FakeSubject;
use std::time::Duration;

use crate::instance::Subject;
use crate::options::{Parsed, Program};

/// Execs before the first sample in these tests.
const WARM: usize = 3;

fn task(scenario: Scenario, samples: usize) -> Task {
    Task {
        scenario,
        samples,
        warm_iterations: WARM,
        pause: Duration::ZERO,
    }
}

#[tokio::test]
async fn every_scenario_takes_its_samples_and_ends_its_subject() {
    for program in [
        Program::Hosts {
            default_host: Some("x".into()),
        },
        Program::InProcess,
    ] {
        let Ok(Parsed::Measure(options)) = program.parse([]) else {
            panic!("it is a measurement");
        };
        for scenario in options.scenarios() {
            let subject = FakeSubject::default();
            let round = subject.measure(&task(scenario, 20)).await;
            assert_eq!(round.failure, None, "{scenario:?}");
            assert_eq!(round.note, None, "{scenario:?}");
            assert_eq!(round.samples.len(), scenario.samples(20), "{scenario:?}");
            assert!(round.growth_kib.is_some(), "{scenario:?}");
            assert_eq!(subject.life_cycles(), (1, 1), "{scenario:?}");
        }
    }
}

#[tokio::test]
async fn a_start_runs_nothing_before_its_sample_and_its_memory_is_all_there_is() {
    let subject = FakeSubject::default();
    let round = subject.measure(&task(Scenario::ProcessStart, 9)).await;
    assert_eq!(round.samples, [Duration::from_millis(3)]);
    assert!(round.growth_kib.unwrap() > 1000);
    assert_eq!(*subject.executed.lock().unwrap(), []);
    let round = subject.measure(&task(Scenario::Cold, 9)).await;
    assert_eq!(round.samples.len(), 1);
    assert_eq!(subject.executed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn warm_execs_are_warmed_up_and_offer_their_tools() {
    let subject = FakeSubject::default();
    let round = subject
        .measure(&task(Scenario::Warm { tools: 32 }, 4))
        .await;
    assert_eq!(round.samples.len(), 4);
    let executed = subject.executed.lock().unwrap();
    let tools: Vec<usize> = executed.iter().map(|(_, tools)| *tools).collect();
    assert_eq!(
        tools,
        [0, 0, 0, 32, 32, 32, 32, 32, 32, 32],
        "three without tools, three that do not count, four samples"
    );
}

#[tokio::test]
async fn a_sample_of_a_rate_is_of_at_least_sixty_four_execs() {
    for (in_flight, execs) in [(1, 64), (8, 64), (64, 512)] {
        let subject = FakeSubject::default();
        let scenario = Scenario::Throughput { in_flight };
        let round = subject.measure(&task(scenario, 1)).await;
        assert_eq!(round.samples.len(), 1);
        // One sample before it does not count.
        assert_eq!(subject.executed.lock().unwrap().len(), WARM + 2 * execs);
    }
}

#[tokio::test]
async fn a_cap_ends_the_parking_with_a_note_and_the_cells_so_far_count() {
    let subject = FakeSubject {
        cap: Some(4),
        ..FakeSubject::default()
    };
    let round = subject
        .measure(&task(Scenario::Parked { cells: 10 }, 1))
        .await;
    assert_eq!(round.samples.len(), 4);
    assert_eq!(
        round.note.as_deref(),
        Some("stopped at 4 of 10 by the host's cap of 4 active cells")
    );
    assert_eq!(round.failure, None);
}

#[tokio::test]
async fn a_cap_that_lets_no_cell_park_is_a_failure() {
    let subject = FakeSubject {
        cap: Some(0),
        ..FakeSubject::default()
    };
    let mut task = task(Scenario::Parked { cells: 10 }, 1);
    task.warm_iterations = 0;
    let round = subject.measure(&task).await;
    assert_eq!(round.note, None);
    assert_eq!(
        round.failure.as_deref(),
        Some("the limit of 0 active cells is reached")
    );
}

#[tokio::test]
async fn a_script_that_fails_is_a_failure_and_no_sample() {
    let subject = FakeSubject {
        error_text: Some("Error: no".to_owned()),
        ..FakeSubject::default()
    };
    for scenario in [Scenario::Cold, Scenario::BackToBack] {
        let round = subject.measure(&task(scenario, 5)).await;
        assert_eq!(round.samples, []);
        assert_eq!(
            round.failure.as_deref(),
            Some("a script ended as Completed { error_text: Some(\"Error: no\") }")
        );
    }
    assert_eq!(subject.life_cycles(), (2, 2));
}

#[tokio::test]
async fn what_was_taken_to_warm_up_is_no_sample_even_when_the_warming_fails() {
    for (good_execs, samples) in [(WARM + 1, 0), (2 * WARM + 1, 1)] {
        let subject = FakeSubject {
            error_text: Some("Error: no".to_owned()),
            good_execs,
            ..FakeSubject::default()
        };
        let round = subject.measure(&task(Scenario::BackToBack, 5)).await;
        assert_eq!(round.samples.len(), samples);
        assert!(round.failure.is_some());
        assert_eq!(round.growth_kib, None);
    }
}

#[tokio::test]
async fn the_pause_lies_between_the_samples_and_in_none_of_them() {
    let mut task = task(Scenario::Warm { tools: 0 }, 3);
    task.pause = Duration::from_millis(200);
    let begun = Instant::now();
    let round = FakeSubject::default().measure(&task).await;
    assert!(begun.elapsed() >= 3 * task.pause);
    let fastest = round.samples.iter().min().unwrap();
    assert!(*fastest < task.pause, "{fastest:?}");
}

#[tokio::test]
async fn back_to_back_means_no_pause_whatever_the_pause_is() {
    let mut task = task(Scenario::BackToBack, 1000);
    task.pause = Duration::from_secs(3600);
    let round = FakeSubject::default().measure(&task).await;
    assert_eq!(round.samples.len(), 1000);
}
