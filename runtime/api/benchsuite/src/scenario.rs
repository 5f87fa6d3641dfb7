// SPDX-License-Identifier: Apache-2.0
//! The scenarios: what is measured, by name.

/// Tool calls in one sample of the tool-call scenarios.
pub const CALLS: u32 = 100;

/// Length of the long script, bytes.
pub const LONG_SCRIPT_BYTES: usize = 20 << 10;

/// What a script that computes spends its time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One loop over integers, which the engine's best compiler takes over: it allocates nothing.
    HotLoop,
    /// Short-lived and long-lived objects in turn, so that the collector works all the time.
    Collector,
}

/// One thing to measure. [`name`](Self::name) says what a sample of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// From the start of a host's process to its greeting.
    ProcessStart,
    /// From the making of a runtime to an open session.
    RuntimeStart,
    /// The first exec of a process.
    Cold,
    /// An exec with so many tools, after a pause.
    Warm {
        /// Tools that the request offers and the script does not use.
        tools: usize,
    },
    /// An exec without tools right after the one before it.
    BackToBack,
    /// An exec of [`LONG_SCRIPT_BYTES`] of source.
    LongScript,
    /// An exec of a source with types in nearly every line, or of the same without them.
    Types {
        /// Length of the source with types, bytes.
        bytes: usize,
        /// Whether the types stand in it.
        typed: bool,
    },
    /// An exec that computes for about a second.
    Computing {
        /// What it spends the second on.
        load: Load,
    },
    /// An exec that gives one text of so much.
    Output {
        /// Length of the text, bytes.
        bytes: usize,
    },
    /// One of [`CALLS`] tool calls, each made when the one before it is answered.
    SequentialCalls,
    /// One of [`CALLS`] tool calls made together.
    ParallelCalls,
    /// An exec whose one tool call takes and gives so much.
    Echo {
        /// Length of the string that goes each way, bytes.
        bytes: usize,
    },
    /// One of many execs, with so many at work at any time.
    Throughput {
        /// Execs at work at one time.
        in_flight: usize,
    },
    /// The start of one of so many cells that all wait in a tool call.
    Parked {
        /// Cells at the end.
        cells: usize,
    },
    /// The termination of a cell that computes without end.
    Terminate,
    /// From the answer that ends a cell to the result in its observer's hands.
    Wait,
}

impl Scenario {
    /// The name, by which `--only` chooses.
    pub fn name(self) -> String {
        match self {
            Self::ProcessStart => "process start to hello".to_owned(),
            Self::RuntimeStart => "runtime start to session".to_owned(),
            Self::Cold => "cold exec".to_owned(),
            Self::Warm { tools } => format!("warm exec, {tools} tools"),
            Self::BackToBack => "warm exec, 0 tools, back to back".to_owned(),
            Self::LongScript => format!("warm exec, {} script", size(LONG_SCRIPT_BYTES)),
            Self::Types { bytes, typed: true } => {
                format!("warm exec, {} TypeScript", size(bytes))
            }
            Self::Types { bytes, .. } => format!("warm exec, {} without types", size(bytes)),
            Self::Computing {
                load: Load::HotLoop,
            } => "computing, a hot loop".to_owned(),
            Self::Computing {
                load: Load::Collector,
            } => "computing, a collector's load".to_owned(),
            Self::Output { bytes } => format!("warm exec, output of {}", size(bytes)),
            Self::SequentialCalls => "tool call, sequential".to_owned(),
            Self::ParallelCalls => format!("tool call, {CALLS} in parallel"),
            Self::Echo { bytes } => format!("echo of {}", size(bytes)),
            Self::Throughput { in_flight } => format!("exec per second, {in_flight} in flight"),
            Self::Parked { cells } => format!("{cells} parked cells"),
            Self::Terminate => "terminate a spinning cell".to_owned(),
            Self::Wait => "wait until a released cell answers".to_owned(),
        }
    }

    /// Samples that one process gives when `samples` are asked of a cheap scenario: a sample that
    /// is long, or that is an average already, need not be taken as often.
    pub(crate) fn samples(self, samples: usize) -> usize {
        match self {
            Self::Warm { .. }
            | Self::BackToBack
            | Self::LongScript
            | Self::Types { .. }
            | Self::Wait => samples,
            Self::Cold | Self::ProcessStart | Self::RuntimeStart => 1,
            Self::Output { .. }
            | Self::SequentialCalls
            | Self::ParallelCalls
            | Self::Echo { .. }
            | Self::Terminate => samples.div_ceil(10),
            Self::Throughput { .. } | Self::Computing { .. } => samples.div_ceil(20),
            Self::Parked { cells } => cells,
        }
    }

    /// Processes that one round needs when `samples` are asked of a cheap scenario.
    pub(crate) fn processes(self, samples: usize) -> usize {
        if self.is_start() {
            samples.div_ceil(10)
        } else {
            1
        }
    }

    /// Whether samples can be taken again in the same process: none is about a new one, and none
    /// leaves something behind that the next ones add to.
    pub(crate) fn can_repeat(self) -> bool {
        !self.is_start() && !matches!(self, Self::Parked { .. })
    }

    /// Whether a sample is about a new process, which must not have run anything.
    pub(crate) fn is_start(self) -> bool {
        matches!(self, Self::ProcessStart | Self::RuntimeStart | Self::Cold)
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        0x10_0000.. => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_parameters_in_readable_units() {
        for (scenario, name) in [
            (Scenario::Warm { tools: 32 }, "warm exec, 32 tools"),
            (Scenario::LongScript, "warm exec, 20 KiB script"),
            (
                Scenario::Types {
                    bytes: 1 << 10,
                    typed: true,
                },
                "warm exec, 1 KiB TypeScript",
            ),
            (
                Scenario::Types {
                    bytes: 200 << 10,
                    typed: false,
                },
                "warm exec, 200 KiB without types",
            ),
            (
                Scenario::Output { bytes: 1 << 20 },
                "warm exec, output of 1 MiB",
            ),
            (Scenario::Echo { bytes: 64 << 10 }, "echo of 64 KiB"),
            (Scenario::Echo { bytes: 8 << 20 }, "echo of 8 MiB"),
            (
                Scenario::Throughput { in_flight: 8 },
                "exec per second, 8 in flight",
            ),
            (Scenario::Parked { cells: 1000 }, "1000 parked cells"),
            (
                Scenario::Computing {
                    load: Load::HotLoop,
                },
                "computing, a hot loop",
            ),
            (
                Scenario::Computing {
                    load: Load::Collector,
                },
                "computing, a collector's load",
            ),
        ] {
            assert_eq!(scenario.name(), name);
        }
    }

    #[test]
    fn every_scenario_takes_a_sample_however_few_are_asked_for() {
        let all = [
            Scenario::Cold,
            Scenario::BackToBack,
            Scenario::Throughput { in_flight: 64 },
            Scenario::Terminate,
        ];
        for scenario in all {
            assert!(scenario.samples(1) >= 1, "{scenario:?}");
            assert!(scenario.processes(1) >= 1, "{scenario:?}");
        }
    }

    #[test]
    fn only_what_leaves_the_process_as_it_was_is_repeated() {
        assert!(Scenario::Echo { bytes: 1 }.can_repeat());
        assert!(!Scenario::Cold.can_repeat());
        assert!(!Scenario::Parked { cells: 1 }.can_repeat());
    }

    #[test]
    fn a_start_takes_one_process_a_sample_and_the_others_one_for_all() {
        assert_eq!(Scenario::Cold.processes(100), 10);
        assert_eq!(Scenario::Cold.samples(100), 1);
        assert_eq!(Scenario::BackToBack.processes(100), 1);
        assert_eq!(Scenario::BackToBack.samples(100), 100);
    }
}
