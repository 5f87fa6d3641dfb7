// SPDX-License-Identifier: Apache-2.0
//! What a whole run gave.

use std::time::Duration;

use crate::figures::Figures;
use crate::instance::Subject;
use crate::options::Options;
use crate::scenario::Scenario;
use crate::task::Round;

/// The results of all scenarios and subjects.
pub(crate) struct Report {
    /// The names of the subjects, in the order of their turns.
    pub(crate) subjects: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// The results of one scenario, one for each subject.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) results: Vec<Measured>,
}

/// What one subject gave in one scenario, over all rounds.
#[derive(Default)]
pub(crate) struct Measured {
    rounds: Vec<Round>,
}

impl Report {
    /// Measures the subjects in turn.
    pub(crate) async fn measure(options: &Options, subjects: &[Box<dyn Subject>]) -> Self {
        let mut rows = Vec::new();
        for scenario in options.scenarios() {
            let task = options.task(scenario);
            let mut results: Vec<Measured> = subjects.iter().map(|_| Measured::default()).collect();
            for _ in 0..options.rounds {
                for (subject, measured) in subjects.iter().zip(&mut results) {
                    for _ in 0..scenario.processes(task.samples) {
                        measured.rounds.push(subject.measure(&task).await);
                    }
                }
            }
            rows.push(Row { scenario, results });
        }
        Self {
            subjects: subjects.iter().map(|subject| subject.name()).collect(),
            rows,
        }
    }

    /// Whether anything failed; a host's cap that is reached is no failure.
    pub(crate) fn has_failed(&self) -> bool {
        let mut results = self.rows.iter().flat_map(|row| &row.results);
        results.any(|measured| measured.failure().is_some())
    }
}

impl Row {
    /// The median of a subject over that of the first; `None` when either has no samples.
    pub(crate) fn ratio(&self, measured: &Measured) -> Option<f64> {
        let first = self.results.first()?.figures()?;
        Some(measured.figures()?.p50 / first.p50)
    }

    /// How many fit into a second, where that is what the scenario is about.
    pub(crate) fn per_second(&self, measured: &Measured) -> Option<f64> {
        match self.scenario {
            Scenario::Throughput { .. } => Some(measured.figures()?.per_second()),
            _ => None,
        }
    }

    /// Memory that the subject's first process has for one parked cell, KiB, where that is what the
    /// scenario is about.
    pub(crate) fn kib_per_cell(&self, measured: &Measured) -> Option<f64> {
        self.per_cell(measured, |round| round.growth_kib)
    }

    /// Memory that one parked cell takes of the machine, KiB, where that is what the scenario is about.
    pub(crate) fn machine_kib_per_cell(&self, measured: &Measured) -> Option<f64> {
        self.per_cell(measured, |round| round.machine_growth_kib)
    }

    /// The largest of the rounds.
    fn per_cell(&self, measured: &Measured, growth: fn(&Round) -> Option<i64>) -> Option<f64> {
        if !matches!(self.scenario, Scenario::Parked { .. }) {
            return None;
        }
        let of_round = |round: &Round| {
            let cells = round.samples.len();
            (cells > 0).then_some(growth(round)? as f64 / cells as f64)
        };
        measured.rounds.iter().filter_map(of_round).reduce(f64::max)
    }
}

impl Measured {
    /// The figures of all samples; `None` when there are none.
    pub(crate) fn figures(&self) -> Option<Figures> {
        let samples = |round: &Round| -> Vec<Duration> { round.samples.clone() };
        Figures::of(self.rounds.iter().flat_map(samples))
    }

    /// The largest growth of all rounds, KiB; `None` when it could not be read.
    pub(crate) fn growth_kib(&self) -> Option<i64> {
        self.rounds
            .iter()
            .filter_map(|round| round.growth_kib)
            .max()
    }

    pub(crate) fn note(&self) -> Option<&str> {
        self.rounds.iter().find_map(|round| round.note.as_deref())
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.rounds
            .iter()
            .find_map(|round| round.failure.as_deref())
    }
}

/// `A` for the first subject, and so on.
pub(crate) fn label(number: usize) -> String {
    match u8::try_from(number) {
        Ok(letter @ 0..26) => char::from(b'A' + letter).to_string(),
        _ => format!("#{}", number + 1),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
