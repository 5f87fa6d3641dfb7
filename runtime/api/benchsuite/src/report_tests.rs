// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

use super::*;
use crate::fake::FakeSubject;
use crate::options::{Parsed, Program};
use crate::table::{remarks, table};

fn options(line: &str) -> Options {
    let program = Program::Hosts {
        default_host: Some("x".into()),
    };
    match program.parse(line.split_whitespace().map(Into::into)) {
        Ok(Parsed::Measure(options)) => options,
        other => panic!("{line:?} gave {other:?}"),
    }
}

fn measured(micros: &[u64], growth_kib: Option<i64>) -> Measured {
    Measured {
        rounds: vec![Round {
            samples: micros.iter().copied().map(Duration::from_micros).collect(),
            growth_kib,
            ..Round::default()
        }],
    }
}

/// A report of two subjects, of which the second stops at a cap and then fails.
fn report() -> Report {
    let mut capped = measured(&[900; 4], Some(3400));
    capped.rounds[0].note = Some("stopped at 4 of 10 by the host's cap".to_owned());
    let failed = Measured {
        rounds: vec![Round::failed("no\nhost | here")],
    };
    Report {
        subjects: vec!["ours".to_owned(), "theirs --quiet".to_owned()],
        rows: vec![
            Row {
                scenario: Scenario::Throughput { in_flight: 8 },
                results: vec![
                    measured(&[400, 500, 700], Some(12)),
                    measured(&[2000], None),
                ],
            },
            Row {
                scenario: Scenario::Parked { cells: 10 },
                results: vec![measured(&[90; 10], Some(5000)), capped],
            },
            Row {
                scenario: Scenario::Wait,
                results: vec![measured(&[33], Some(0)), failed],
            },
        ],
    }
}

#[test]
fn the_table_has_a_line_for_each_scenario_and_subject() {
    let table = table(&report());
    let (legend, lines) = table.split_at(table.find("| scenario").unwrap());
    assert!(legend.starts_with("A: ours\nB: theirs --quiet\n\nTimes in µs."));
    assert_eq!(
        lines,
        "\
| scenario                           | of |  n | mean |  p50 |  p95 |  p99 | p50 / A's | memory |                                                        |
|------------------------------------|----|---:|-----:|-----:|-----:|-----:|----------:|-------:|--------------------------------------------------------|
| exec per second, 8 in flight       | A  |  3 |  533 |  500 |  700 |  700 |      1.00 |     12 | 2000 exec/s                                            |
| exec per second, 8 in flight       | B  |  1 | 2000 | 2000 | 2000 | 2000 |      4.00 |        | 500 exec/s                                             |
| 10 parked cells                    | A  | 10 | 90.0 | 90.0 | 90.0 | 90.0 |      1.00 |   5000 | 500 KiB per cell                                       |
| 10 parked cells                    | B  |  4 |  900 |  900 |  900 |  900 |     10.00 |   3400 | 850 KiB per cell, stopped at 4 of 10 by the host's cap |
| wait until a released cell answers | A  |  1 | 33.0 | 33.0 | 33.0 | 33.0 |      1.00 |      0 |                                                        |
| wait until a released cell answers | B  |  0 |      |      |      |      |           |        | failed: no host   here                                 |
"
    );
}

#[test]
fn the_json_has_an_object_for_each_scenario_and_subject() {
    let json = crate::json::report(&options("--samples 9 --pause 4"), &report());
    assert_eq!(
        json["options"],
        json!({ "samples": 9, "warm_iterations": 50, "rounds": 2, "pause_ms": 4 })
    );
    assert_eq!(
        json["subjects"],
        json!([{ "label": "A", "name": "ours" }, { "label": "B", "name": "theirs --quiet" }])
    );
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), 6);
    assert_eq!(
        results[1],
        json!({
            "scenario": "exec per second, 8 in flight",
            "subject": "B",
            "samples": 1,
            "mean_us": 2000.0,
            "p50_us": 2000.0,
            "p95_us": 2000.0,
            "p99_us": 2000.0,
            "p50_over_first": 4.0,
            "per_second": 500.0,
            "memory_growth_kib": null,
            "kib_per_cell": null,
            "machine_kib_per_cell": null,
            "note": null,
            "failure": null,
        })
    );
    assert_eq!(results[3]["kib_per_cell"], 850.0);
    assert_eq!(results[3]["note"], "stopped at 4 of 10 by the host's cap");
    assert_eq!(results[5]["p50_us"], Value::Null);
    assert_eq!(results[5]["failure"], "no\nhost | here");
}

#[test]
fn a_failure_counts_as_one_and_a_cap_does_not() {
    let mut report = report();
    assert!(report.has_failed());
    report.rows.pop();
    assert!(!report.has_failed());
}

#[test]
fn memory_is_that_of_the_worst_round() {
    let mut parked = measured(&[1; 10], Some(500));
    parked.rounds.extend(measured(&[1; 10], Some(900)).rounds);
    parked.rounds.extend(measured(&[1; 10], None).rounds);
    let row = Row {
        scenario: Scenario::Parked { cells: 10 },
        results: Vec::new(),
    };
    assert_eq!(parked.growth_kib(), Some(900));
    assert_eq!(row.kib_per_cell(&parked), Some(90.0));
    assert_eq!(row.machine_kib_per_cell(&parked), None);
    parked.rounds[0].machine_growth_kib = Some(2_500);
    assert_eq!(row.machine_kib_per_cell(&parked), Some(250.0));
    assert!(remarks(&row, &parked).contains("90 KiB per cell, 250 of the machine"));
}

#[test]
fn subjects_beyond_the_alphabet_are_numbered() {
    assert_eq!([0, 1, 25, 26].map(label), ["A", "B", "Z", "#27"]);
}

#[tokio::test]
async fn subjects_take_turns_and_each_round_starts_them_afresh() {
    let options = options("--only back --samples 7 --rounds 3 --warm-iterations 1");
    let subject = FakeSubject::default();
    let named = |name| {
        Box::new(FakeSubject {
            name,
            ..subject.clone()
        }) as Box<dyn Subject>
    };
    let report = Report::measure(&options, &["ours", "theirs"].map(named)).await;
    assert_eq!(report.subjects, ["ours", "theirs"]);
    assert_eq!(
        *subject.started.lock().unwrap(),
        ["ours", "theirs"].repeat(3)
    );
    let row = &report.rows[0];
    for measured in &row.results {
        assert_eq!(measured.rounds.len(), 3);
        // Seven samples over three rounds are three in each.
        assert_eq!(measured.figures().unwrap().count, 9);
    }
    assert_eq!(subject.life_cycles(), (6, 6));
}

#[tokio::test]
async fn a_start_takes_a_process_for_each_sample() {
    let options = options("--only cold --samples 40 --rounds 2");
    let subject = FakeSubject::default();
    let subjects: Vec<Box<dyn Subject>> = vec![Box::new(subject.clone())];
    let report = Report::measure(&options, &subjects).await;
    assert_eq!(report.rows[0].results[0].figures().unwrap().count, 4);
    assert_eq!(subject.life_cycles(), (4, 4));
}
