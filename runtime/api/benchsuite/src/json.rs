// SPDX-License-Identifier: Apache-2.0
//! Reports and rounds as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::figures::Figures;
use crate::options::Options;
use crate::report::{Report, label};
use crate::task::Round;

/// A whole report: `options`, `subjects`, and `results` with one object for each scenario and
/// subject. Times are in microseconds, memory in KiB; a figure that does not exist is `null`.
pub(crate) fn report(options: &Options, report: &Report) -> Value {
    let subjects = report.subjects.iter().enumerate();
    let subjects: Vec<Value> = subjects
        .map(|(number, name)| json!({ "label": label(number), "name": name }))
        .collect();
    let mut results = Vec::new();
    for row in &report.rows {
        for (number, measured) in row.results.iter().enumerate() {
            let figures = measured.figures();
            let figure = |pick: fn(&Figures) -> f64| figures.as_ref().map(pick);
            results.push(json!({
                "scenario": row.scenario.name(),
                "subject": label(number),
                "samples": figures.map_or(0, |figures| figures.count),
                "mean_us": figure(|figures| figures.mean),
                "p50_us": figure(|figures| figures.p50),
                "p95_us": figure(|figures| figures.p95),
                "p99_us": figure(|figures| figures.p99),
                "p50_over_first": row.ratio(measured),
                "per_second": row.per_second(measured),
                "memory_growth_kib": measured.growth_kib(),
                "kib_per_cell": row.kib_per_cell(measured),
                "machine_kib_per_cell": row.machine_kib_per_cell(measured),
                "note": measured.note(),
                "failure": measured.failure(),
            }));
        }
    }
    json!({
        "options": {
            "samples": options.samples,
            "warm_iterations": options.warm_iterations,
            "rounds": options.rounds,
            "pause_ms": u64::try_from(options.pause.as_millis()).ok(),
        },
        "subjects": subjects,
        "results": results,
    })
}

impl Round {
    /// The round as JSON text, for another process.
    pub fn to_json(&self) -> String {
        // A sample of more than 584 years is none that this program can have taken.
        let nanos = |sample: &Duration| u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX);
        json!({
            "samples_ns": self.samples.iter().map(nanos).collect::<Vec<_>>(),
            "growth_kib": self.growth_kib,
            "machine_growth_kib": self.machine_growth_kib,
            "note": self.note,
            "failure": self.failure,
        })
        .to_string()
    }

    /// The round that [`to_json`](Self::to_json) gave; `None` for any other text.
    pub fn from_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let nanos = value["samples_ns"].as_array()?.iter();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Some(Self {
            samples: nanos
                .map(|nanos| nanos.as_u64().map(Duration::from_nanos))
                .collect::<Option<_>>()?,
            growth_kib: value["growth_kib"].as_i64(),
            machine_growth_kib: value["machine_growth_kib"].as_i64(),
            note: text("note"),
            failure: text("failure"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_the_same_after_its_way_to_another_process() {
        let full = Round {
            samples: [1, 2_000_000_007].map(Duration::from_nanos).to_vec(),
            growth_kib: Some(-12),
            machine_growth_kib: Some(345),
            note: Some("stopped".to_owned()),
            failure: Some("a \"failure\"\nof two lines".to_owned()),
        };
        for round in [full, Round::default()] {
            assert_eq!(Round::from_json(&round.to_json()), Some(round));
        }
    }

    #[test]
    fn what_is_no_round_is_not_taken_for_one() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"samples_ns":["x"]}"#,
            r#"{"samples_ns":[-1]}"#,
        ] {
            assert_eq!(Round::from_json(text), None, "{text:?}");
        }
    }
}
