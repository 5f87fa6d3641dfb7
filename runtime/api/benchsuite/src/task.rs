// SPDX-License-Identifier: Apache-2.0
//! What a round is to do and what it has given.

use std::ffi::OsString;
use std::fmt::Display;
use std::time::Duration;

use code_mode_api::SessionError;

use crate::scenario::Scenario;

/// Why a measurement failed, for people.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What to do with a fresh subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What to measure.
    pub scenario: Scenario,
    /// How many samples a cheap scenario takes in this round; others take fewer.
    pub samples: usize,
    /// Execs before the first sample, back to back, and after them samples that do not count, as
    /// far as so many are taken of the scenario; none where a sample is about a new process.
    pub warm_iterations: usize,
    /// The pause before each sample of a latency.
    pub pause: Duration,
}

/// What one round gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// The samples, in the order in which they were taken.
    pub samples: Vec<Duration>,
    /// Growth of the subject's resident memory from the warm-up to the end, KiB; of a start, all
    /// of its memory. `None` when it could not be read, or when something failed.
    pub growth_kib: Option<i64>,
    /// How much less memory the machine had for programs at the end than after the warm-up, KiB:
    /// what the subject's other processes take counts, and so does what the rest of the machine does.
    pub machine_growth_kib: Option<i64>,
    /// What kept the round short of what was asked, though nothing failed.
    pub note: Option<String>,
    /// What failed; the samples are those before it.
    pub failure: Option<String>,
}

impl Round {
    /// A round that gave nothing.
    pub fn failed(failure: impl Display) -> Self {
        Self {
            failure: Some(failure.to_string()),
            ..Self::default()
        }
    }
}

impl Task {
    /// The options by which a process of its own is told of this task: its
    /// [`Options::only_task`](crate::Options::only_task).
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--only".to_owned(), self.scenario.name()];
        let mut option = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        option("--rounds", "1".to_owned());
        option("--samples", self.samples.to_string());
        option("--warm-iterations", self.warm_iterations.to_string());
        option("--pause", self.pause.as_millis().to_string());
        if let Scenario::Warm { tools } = self.scenario {
            option("--tool-counts", tools.to_string());
        }
        arguments.into_iter().map(OsString::from).collect()
    }
}

/// What the bound is that the error says is reached; `None` when something else went wrong.
pub(crate) fn cap(error: &SessionError) -> Option<String> {
    match error {
        SessionError::Limit { limit, maximum, .. } => Some(format!("cap of {maximum} {limit}")),
        SessionError::Refused { .. } => Some("cap".to_owned()),
        _ => None,
    }
}
