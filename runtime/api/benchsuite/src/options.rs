// SPDX-License-Identifier: Apache-2.0
//! The options of the programs that measure.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use crate::scenario::{Load, Scenario};
use crate::task::Task;

/// Which program's options these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// It measures host programs.
    Hosts {
        /// The host when `--host` names none.
        default_host: Option<OsString>,
    },
    /// It measures the runtime in a process of its own.
    InProcess,
}

/// A host program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// How it is spoken to.
    pub transport: Transport,
}

/// How a host program is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// Frames of V1 over its standard input and output.
    #[default]
    Frames,
    /// gRPC over its standard input and output.
    GrpcStdio,
    /// gRPC over TCP on loopback.
    Grpc,
    /// gRPC over a Unix socket.
    Unix,
}

impl Transport {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::GrpcStdio => "grpc+stdio",
            Self::Grpc => "grpc",
            Self::Unix => "unix",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Frames, Self::GrpcStdio, Self::Grpc, Self::Unix];
        all.into_iter().find(|transport| transport.name() == name)
    }
}

/// What to measure, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The hosts, in the order of their turns; none for [`Program::InProcess`].
    pub hosts: Vec<HostCommand>,
    /// Samples of a cheap scenario and one subject, over all rounds.
    pub samples: usize,
    /// Execs before the first sample of a process.
    pub warm_iterations: usize,
    /// Numbers of tools for the warm exec.
    pub tool_counts: Vec<usize>,
    /// How often the subjects take turns.
    pub rounds: usize,
    /// The pause before each sample of a latency.
    pub pause: Duration,
    /// Only scenarios whose name contains this are measured.
    pub only: String,
    /// Whether TypeScript is measured too.
    pub typescript: bool,
    /// Whether a JSON object is printed instead of the table.
    pub json: bool,
    in_process: bool,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The usage text.
    Help,
    /// A measurement.
    Measure(Options),
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// No host is named.
    #[error("no host to measure: name one with --host PATH, or set CODE_MODE_HOST")]
    NoHost,
    /// An argument for a host, and no host before it.
    #[error("--host-arg belongs to the --host before it, and there is none")]
    HostArgumentFirst,
    /// No transport has this name.
    #[error("{name:?} is no transport: it is frames, grpc+stdio, grpc or unix")]
    NoTransport {
        /// The value of `--transport`.
        name: String,
    },
    /// An option without its value.
    #[error("{flag} needs a value")]
    MissingValue {
        /// The option.
        flag: String,
    },
    /// A value that is no whole number, or too large a one.
    #[error("{flag} needs a whole number, and {value:?} is none")]
    NotANumber {
        /// The option.
        flag: String,
        /// The value.
        value: String,
    },
    /// A zero where there has to be something.
    #[error("{flag} has to be at least 1")]
    Zero {
        /// The option.
        flag: String,
    },
    /// A value that is not UTF-8.
    #[error("the value of {flag} is no text: {value:?}")]
    NotText {
        /// The option.
        flag: String,
        /// The value.
        value: OsString,
    },
    /// An argument that is no option of the program.
    #[error("{argument:?} is no option")]
    Unknown {
        /// The argument.
        argument: OsString,
    },
    /// `--only` leaves nothing to measure.
    #[error("no scenario's name contains {only:?}; the scenarios are: {}", names.join("; "))]
    NoScenario {
        /// The value of `--only`.
        only: String,
        /// The names of all scenarios.
        names: Vec<String>,
    },
}

/// An option for the usage text: name, placeholder of its value, help.
type Flag = (&'static str, &'static str, &'static str);

const HOST_FLAGS: [Flag; 3] = [
    (
        "--host",
        "PATH",
        "a host to measure; several take turns; default: CODE_MODE_HOST, else the one built with this",
    ),
    (
        "--host-arg",
        "ARG",
        "an argument for the host before it; may be given several times",
    ),
    (
        "--transport",
        "NAME",
        "how the host before it, or each if there is none, is spoken to: frames (default), grpc+stdio, grpc or unix",
    ),
];

const FLAGS: [Flag; 9] = [
    (
        "--samples",
        "N",
        "samples of a scenario and subject, over all rounds (default 200); long scenarios take fewer",
    ),
    (
        "--warm-iterations",
        "N",
        "execs, then samples that do not count, before the first sample of a process (default 50)",
    ),
    (
        "--tool-counts",
        "N,N",
        "numbers of tools for the warm exec (default 0,32,128)",
    ),
    (
        "--rounds",
        "N",
        "how often the subjects take turns (default 2)",
    ),
    (
        "--pause",
        "MS",
        "pause before each sample of a latency, 0 for none (default 5)",
    ),
    ("--only", "TEXT", "only scenarios whose name contains TEXT"),
    (
        "--typescript",
        "",
        "measure sources with types too, which not every host runs",
    ),
    ("--json", "", "one JSON object instead of the table"),
    ("--help", "", "this text"),
];

impl Program {
    /// The usage text.
    pub fn usage(&self) -> String {
        let mut usage = "Usage: exec_overhead [OPTIONS]\n\nOptions:\n".to_owned();
        for (flag, placeholder, help) in self.flags() {
            let left = format!("{flag} {placeholder}");
            usage += &format!("  {left:<22} {help}\n");
        }
        usage
    }

    fn flags(&self) -> impl Iterator<Item = Flag> {
        let hosts: &[Flag] = match self {
            Self::Hosts { .. } => &HOST_FLAGS,
            Self::InProcess => &[],
        };
        hosts.iter().chain(&FLAGS).copied()
    }

    /// Reads a command line, without the program's name.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Parsed, UsageError> {
        let mut options = Options::new(self);
        // Of hosts that are not told otherwise.
        let mut usual = Transport::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let known = self.flags().find(|(flag, ..)| argument == *flag);
            let Some((flag, placeholder, _)) = known else {
                return Err(UsageError::Unknown { argument });
            };
            let value = match placeholder {
                "" => OsString::new(),
                _ => arguments.next().ok_or_else(|| UsageError::MissingValue {
                    flag: flag.to_owned(),
                })?,
            };
            match flag {
                "--help" => return Ok(Parsed::Help),
                "--json" => options.json = true,
                "--typescript" => options.typescript = true,
                "--host" => options.hosts.push(HostCommand {
                    transport: usual,
                    ..HostCommand::new(value)
                }),
                "--host-arg" => match options.hosts.last_mut() {
                    Some(host) => host.arguments.push(value),
                    None => return Err(UsageError::HostArgumentFirst),
                },
                "--transport" => {
                    let name = text(flag, &value)?;
                    let transport = Transport::of_name(name).ok_or(UsageError::NoTransport {
                        name: name.to_owned(),
                    })?;
                    match options.hosts.last_mut() {
                        Some(host) => host.transport = transport,
                        None => usual = transport,
                    }
                }
                "--samples" => options.samples = at_least_one(flag, &value)?,
                "--warm-iterations" => options.warm_iterations = number(flag, text(flag, &value)?)?,
                "--tool-counts" => {
                    let counts = text(flag, &value)?.split(',');
                    options.tool_counts = counts
                        .map(|count| number(flag, count))
                        .collect::<Result<_, _>>()?;
                }
                "--rounds" => options.rounds = at_least_one(flag, &value)?,
                "--pause" => {
                    options.pause = Duration::from_millis(number(flag, text(flag, &value)?)?);
                }
                "--only" => options.only = text(flag, &value)?.to_owned(),
                _ => return Err(UsageError::Unknown { argument }),
            }
        }
        options.complete(self, usual)?;
        Ok(Parsed::Measure(options))
    }
}

impl HostCommand {
    fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            transport: Transport::default(),
        }
    }
}

impl Options {
    fn new(program: &Program) -> Self {
        Self {
            hosts: Vec::new(),
            samples: 200,
            warm_iterations: 50,
            tool_counts: vec![0, 32, 128],
            rounds: 2,
            pause: Duration::from_millis(5),
            only: String::new(),
            typescript: false,
            json: false,
            in_process: *program == Program::InProcess,
        }
    }

    fn complete(&mut self, program: &Program, usual: Transport) -> Result<(), UsageError> {
        if let Program::Hosts { default_host } = program
            && self.hosts.is_empty()
        {
            let host = default_host.clone().ok_or(UsageError::NoHost)?;
            self.hosts.push(HostCommand {
                transport: usual,
                ..HostCommand::new(host)
            });
        }
        if self.scenarios().is_empty() {
            return Err(UsageError::NoScenario {
                only: self.only.clone(),
                names: self.all().into_iter().map(Scenario::name).collect(),
            });
        }
        Ok(())
    }

    /// The scenarios to measure, in the order of the table; never empty.
    pub fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios = self.all();
        scenarios.retain(|scenario| scenario.name().contains(&self.only));
        scenarios
    }

    fn all(&self) -> Vec<Scenario> {
        let start = match self.in_process {
            true => Scenario::RuntimeStart,
            false => Scenario::ProcessStart,
        };
        let mut all = vec![start, Scenario::Cold];
        let warm = self.tool_counts.iter();
        all.extend(warm.map(|&tools| Scenario::Warm { tools }));
        all.extend([Scenario::BackToBack, Scenario::LongScript]);
        if self.typescript {
            let sizes = [1 << 10, 20 << 10, 200 << 10];
            all.extend(
                sizes
                    .into_iter()
                    .flat_map(|bytes| [false, true].map(|typed| Scenario::Types { bytes, typed })),
            );
        }
        all.extend([64 << 10, 1 << 20].map(|bytes| Scenario::Output { bytes }));
        all.extend([Scenario::SequentialCalls, Scenario::ParallelCalls]);
        all.extend([1 << 10, 64 << 10, 1 << 20, 8 << 20].map(|bytes| Scenario::Echo { bytes }));
        all.extend([1, 8, 64].map(|in_flight| Scenario::Throughput { in_flight }));
        all.extend([10, 100, 1000].map(|cells| Scenario::Parked { cells }));
        all.extend([Scenario::Terminate, Scenario::Wait]);
        all.extend([Load::HotLoop, Load::Collector].map(|load| Scenario::Computing { load }));
        all
    }

    /// What one round of a scenario is.
    pub fn task(&self, scenario: Scenario) -> Task {
        Task {
            scenario,
            samples: self.samples.div_ceil(self.rounds),
            warm_iterations: self.warm_iterations,
            pause: self.pause,
        }
    }

    /// The task of the scenario whose whole name `only` is; `None` when there is no such scenario.
    pub fn only_task(&self) -> Option<Task> {
        let mut scenarios = self.scenarios().into_iter();
        let scenario = scenarios.find(|scenario| scenario.name() == self.only)?;
        Some(self.task(scenario))
    }
}

fn text<'a>(flag: &str, value: &'a OsStr) -> Result<&'a str, UsageError> {
    value.to_str().ok_or_else(|| UsageError::NotText {
        flag: flag.to_owned(),
        value: value.to_owned(),
    })
}

fn number<N: std::str::FromStr>(flag: &str, value: &str) -> Result<N, UsageError> {
    value.parse().map_err(|_| UsageError::NotANumber {
        flag: flag.to_owned(),
        value: value.to_owned(),
    })
}

fn at_least_one(flag: &str, value: &OsStr) -> Result<usize, UsageError> {
    match number(flag, text(flag, value)?)? {
        0 => Err(UsageError::Zero {
            flag: flag.to_owned(),
        }),
        number => Ok(number),
    }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
