// SPDX-License-Identifier: Apache-2.0
//! The command line of `code_mode_host`.

use std::time::Duration;

use code_mode_api::Globals;
use code_mode_runtime::{Confinement, Jit, Region, limits as runtime_limits};

use crate::listening::{self, Listening};
use crate::usage::UsageError;
use crate::{HostConfig, V1Timings};

/// How diagnostics are written to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per line and event.
    Json,
}

/// Where cells run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellMode {
    /// Each in a confined process of its own, forked from one that has an isolate ready.
    Forks,
    /// Each on a thread of the host.
    Threads,
}

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Serve clients.
    Serve,
    /// Print how to use the program.
    Help,
    /// Print the versions of the program and of V8.
    Version,
    /// Try whether the confinement of cells holds on this machine.
    CheckConfinement,
}

/// The command line, understood.
#[derive(Clone)]
pub struct Args {
    /// What to do.
    pub command: Command,
    /// How to write diagnostics.
    pub log_format: LogFormat,
    /// Where cells run.
    pub cells: CellMode,
    /// How the host and the processes of cells are confined.
    pub confinement: Confinement,
    /// Whether V8 makes machine code of scripts.
    pub jit: Jit,
    /// Where scripts believe to be.
    pub region: Region,
    /// What the environment, `--v1-timings` and `--limit` have decided.
    pub config: HostConfig,
    /// Where to serve, and whom.
    pub listening: Listening,
}

impl Args {
    /// Reads the arguments after the program's name. `timings` is the value of [`V1_TIMINGS`] in the
    /// environment; an argument goes before it.
    ///
    /// # Errors
    /// For an argument that is unknown, lacks its value or has a value that makes no sense, and for
    /// such a value in the environment.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        timings: Option<String>,
    ) -> Result<Self, UsageError> {
        let mut args = Self {
            command: Command::Serve,
            log_format: LogFormat::Text,
            cells: CellMode::Forks,
            confinement: Confinement::BestEffort,
            jit: Jit::On,
            region: Region::default(),
            config: HostConfig::default(),
            listening: Listening::default(),
        };
        if let Some(timings) = timings {
            args.config.timings = v1_timings(V1_TIMINGS, &timings)?;
        }
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (name, mut inline) = match argument.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (argument, None),
            };
            let mut value = || {
                inline
                    .take()
                    .or_else(|| arguments.next())
                    .ok_or_else(|| UsageError(format!("{name} needs a value")))
            };
            match name.as_str() {
                "--help" | "-h" => args.command = Command::Help,
                "--version" | "-V" => args.command = Command::Version,
                "--check-confinement" => args.command = Command::CheckConfinement,
                "--timings" => args.config.timings = V1Timings::Both,
                "--v1-timings" => args.config.timings = v1_timings("--v1-timings", &value()?)?,
                "--insecure" => args.listening.insecure = true,
                listening if Listening::knows(listening) => {
                    let value = value()?;
                    args.listening.set(&name, &value)?;
                }
                "--log-format" => {
                    args.log_format = match value()?.as_str() {
                        "text" => LogFormat::Text,
                        "json" => LogFormat::Json,
                        other => {
                            return Err(UsageError(format!(
                                "unknown log format {other:?}: it is text or json"
                            )));
                        }
                    }
                }
                "--cells" => {
                    args.cells = match value()?.as_str() {
                        "forks" => CellMode::Forks,
                        "threads" => CellMode::Threads,
                        other => {
                            return Err(UsageError(format!(
                                "cells cannot be {other:?}: they are forks or threads"
                            )));
                        }
                    }
                }
                "--confine" => {
                    args.confinement = match value()?.as_str() {
                        "best-effort" => Confinement::BestEffort,
                        "strict" => Confinement::Strict,
                        "none" => Confinement::None,
                        other => {
                            return Err(UsageError(format!(
                                "unknown confinement {other:?}: it is best-effort, strict or none"
                            )));
                        }
                    }
                }
                "--jit" => {
                    args.jit = match value()?.as_str() {
                        "on" => Jit::On,
                        "off" => Jit::Off,
                        other => {
                            return Err(UsageError(format!(
                                "--jit {other:?} is neither on nor off"
                            )));
                        }
                    }
                }
                "--globals" => {
                    args.config.runtime.globals = match value()?.as_str() {
                        "contract" => Globals::Contract,
                        "web" => Globals::Web,
                        other => {
                            return Err(UsageError(format!(
                                "unknown globals {other:?}: they are contract or web"
                            )));
                        }
                    }
                }
                "--typescript" => {
                    args.config.runtime.typescript = match value()?.as_str() {
                        "on" => true,
                        "off" => false,
                        other => {
                            return Err(UsageError(format!(
                                "--typescript cannot be {other:?}: it is on or off"
                            )));
                        }
                    }
                }
                "--exact-integers" => {
                    args.config.runtime.exact_integers = match value()?.as_str() {
                        "on" => true,
                        "off" => false,
                        other => {
                            return Err(UsageError(format!(
                                "--exact-integers cannot be {other:?}: it is on or off"
                            )));
                        }
                    }
                }
                "--time-zone" => args.region.time_zone = Some(place(&name, value()?)?),
                "--locale" => args.region.locale = Some(place(&name, value()?)?),
                "--limit" => set_limit(&mut args.config, &value()?)?,
                other => return Err(UsageError(format!("unknown argument {other:?}"))),
            }
            if inline.is_some() {
                return Err(UsageError(format!("{name} takes no value")));
            }
        }
        args.listening = args.listening.finish()?;
        let of_processes = args.jit == Jit::Off || args.region != Region::default();
        if args.cells == CellMode::Threads && of_processes {
            return Err(UsageError(
                "--jit, --time-zone and --locale need cells in processes of their own".to_owned(),
            ));
        }
        Ok(args)
    }
}

impl HostConfig {
    /// What these arguments of `code_mode_host` say about a host, but for where it listens and how it is
    /// confined, which concerns a process of its own.
    ///
    /// # Errors
    /// When the program would refuse them.
    pub fn of_arguments(arguments: &[String]) -> Result<Self, UsageError> {
        let args = Args::parse(arguments.iter().cloned(), None)?;
        let drain = args.listening.new_drain();
        Ok(Self {
            drain: Some(drain),
            ..args.config
        })
    }
}

/// The name of a time zone or a locale, as far as it can be checked without ICU.
fn place(argument: &str, name: String) -> Result<String, UsageError> {
    /// Bytes of a name; the longest ones that there are have some thirty.
    const LONGEST: usize = 100;
    let known = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(known) {
        let example = match argument {
            "--locale" => "de-DE",
            _ => "Europe/Berlin",
        };
        return Err(UsageError(format!(
            "{argument} {name:?} is no name: an example is {example}"
        )));
    }
    Ok(name)
}

/// The environment variable that says what `--v1-timings` says, for clients that start the host
/// themselves and with arguments of their own.
pub const V1_TIMINGS: &str = "CODE_MODE_V1_TIMINGS";

fn v1_timings(source: &str, name: &str) -> Result<V1Timings, UsageError> {
    V1Timings::of_name(name).ok_or_else(|| {
        UsageError(format!(
            "unknown timings {name:?} in {source}: they are none, duration or both"
        ))
    })
}

/// A bound that `--limit` can set.
struct Limit {
    name: &'static str,
    unit: &'static str,
    default: u64,
    /// 0 where that switches something off.
    least: u64,
    set: fn(&mut HostConfig, u64),
}

/// Every bound that `--limit` can set, in the order in which `--help` shows them.
const LIMITS: &[Limit] = &[
    limit(
        "heap",
        "bytes",
        runtime_limits::DEFAULT_HEAP_BYTES,
        |config, value| {
            config.runtime.cell_limits.heap_bytes = Some(value);
        },
    ),
    limit(
        "external-memory",
        "bytes",
        runtime_limits::DEFAULT_EXTERNAL_BYTES,
        |config, value| {
            config.runtime.cell_limits.external_bytes = Some(value);
        },
    ),
    limit(
        "cpu-time",
        "ms",
        millis(runtime_limits::DEFAULT_CPU_TIME),
        |config, value| {
            config.runtime.cell_limits.cpu_time = Some(Duration::from_millis(value));
        },
    ),
    limit(
        "wall-time",
        "ms",
        millis(runtime_limits::DEFAULT_WALL_TIME),
        |config, value| {
            config.runtime.cell_limits.wall_time = Some(Duration::from_millis(value));
        },
    ),
    limit(
        "output-bytes",
        "bytes",
        runtime_limits::DEFAULT_OUTPUT_BYTES,
        |config, value| {
            config.runtime.cell_limits.output_bytes = Some(value);
        },
    ),
    limit(
        "output-items",
        "items",
        runtime_limits::DEFAULT_OUTPUT_ITEMS,
        |config, value| {
            config.runtime.cell_limits.output_items = Some(value);
        },
    ),
    limit(
        "open-tool-calls",
        "calls",
        runtime_limits::DEFAULT_OPEN_TOOL_CALLS,
        |config, value| {
            config.runtime.cell_limits.open_tool_calls = Some(value);
        },
    ),
    limit(
        "total-tool-calls",
        "calls",
        runtime_limits::DEFAULT_TOTAL_TOOL_CALLS,
        |config, value| {
            config.runtime.cell_limits.total_tool_calls = Some(value);
        },
    ),
    limit(
        "timers",
        "timers",
        runtime_limits::DEFAULT_TIMERS,
        |config, value| {
            config.runtime.cell_limits.timers = Some(value);
        },
    ),
    limit(
        "sessions",
        "sessions",
        count(runtime_limits::DEFAULT_MAX_SESSIONS),
        |config, value| {
            config.runtime.max_sessions = size(value);
        },
    ),
    limit(
        "active-cells",
        "cells",
        count(runtime_limits::DEFAULT_MAX_ACTIVE_CELLS),
        |config, value| config.runtime.max_active_cells = size(value),
    ),
    limit(
        "stored-results",
        "results per session",
        count(runtime_limits::DEFAULT_MAX_STORED_RESULTS),
        |config, value| config.runtime.max_stored_results = size(value),
    ),
    limit(
        "source",
        "bytes",
        count(runtime_limits::DEFAULT_MAX_SOURCE_BYTES),
        |config, value| {
            config.runtime.max_source_bytes = size(value);
        },
    ),
    limit(
        "tools",
        "tools per cell",
        count(runtime_limits::DEFAULT_MAX_TOOLS),
        |config, value| {
            config.runtime.max_tools = size(value);
        },
    ),
    limit(
        "tool-bytes",
        "bytes per cell",
        count(runtime_limits::DEFAULT_MAX_TOOL_BYTES),
        |config, value| config.runtime.max_tool_bytes = size(value),
    ),
    limit(
        "value",
        "bytes",
        count(runtime_limits::DEFAULT_MAX_VALUE_BYTES),
        |config, value| {
            config.runtime.max_value_bytes = size(value);
        },
    ),
    limit(
        "stored-value",
        "bytes",
        count(runtime_limits::DEFAULT_MAX_STORED_VALUE_BYTES),
        |config, value| config.runtime.max_stored_value_bytes = size(value),
    ),
    limit(
        "store-bytes",
        "bytes per session",
        count(runtime_limits::DEFAULT_MAX_STORE_BYTES),
        |config, value| config.runtime.max_store_bytes = size(value),
    ),
    limit(
        "store-keys",
        "keys per session",
        count(runtime_limits::DEFAULT_MAX_STORE_KEYS),
        |config, value| config.runtime.max_store_keys = size(value),
    ),
    limit(
        "open-notifications",
        "notifications per cell",
        count(runtime_limits::DEFAULT_MAX_OPEN_NOTIFICATIONS),
        |config, value| config.runtime.max_open_notifications = size(value),
    ),
    limit(
        "session-event-bytes",
        "bytes per session",
        count(runtime_limits::DEFAULT_SESSION_EVENT_BYTES),
        |config, value| config.runtime.max_session_event_bytes = size(value),
    ),
    limit(
        "event-bytes",
        "bytes",
        count(runtime_limits::DEFAULT_EVENT_BYTES),
        |config, value| config.runtime.max_event_bytes = size(value),
    ),
    limit(
        "session-answer-bytes",
        "bytes per session",
        count(runtime_limits::DEFAULT_SESSION_ANSWER_BYTES),
        |config, value| config.runtime.max_session_answer_bytes = size(value),
    ),
    limit(
        "answer-bytes",
        "bytes",
        count(runtime_limits::DEFAULT_ANSWER_BYTES),
        |config, value| config.runtime.max_answer_bytes = size(value),
    ),
    limit(
        "session-unread-bytes",
        "bytes per session",
        count(runtime_limits::DEFAULT_SESSION_UNREAD_BYTES),
        |config, value| config.runtime.max_session_unread_bytes = size(value),
    ),
    limit(
        "unread-bytes",
        "bytes",
        count(runtime_limits::DEFAULT_UNREAD_BYTES),
        |config, value| config.runtime.max_unread_bytes = size(value),
    ),
    or_zero(limit(
        "ready-isolates",
        "isolates",
        count(runtime_limits::DEFAULT_READY_ISOLATES),
        |config, value| config.runtime.ready_isolates = size(value),
    )),
    or_zero(limit(
        "answer-spin",
        "µs",
        runtime_limits::DEFAULT_ANSWER_SPIN.as_micros() as u64,
        |config, value| config.runtime.answer_spin = Duration::from_micros(value),
    )),
    limit(
        "requests",
        "requests",
        count(code_mode_frames::DEFAULT_REQUESTS_IN_FLIGHT),
        |config, value| {
            config.limits.requests_in_flight = size(value);
        },
    ),
    limit(
        "delegate-calls",
        "calls",
        count(code_mode_frames::DEFAULT_DELEGATE_CALLS),
        |config, value| {
            config.limits.delegate_calls = size(value);
        },
    ),
    limit(
        "outgoing-frames",
        "frames",
        count(code_mode_frames::DEFAULT_OUTGOING_FRAMES),
        |config, value| {
            config.limits.outgoing_frames = size(value);
        },
    ),
    limit(
        "outgoing-bytes",
        "bytes",
        count(code_mode_frames::DEFAULT_OUTGOING_BYTES),
        |config, value| {
            config.limits.outgoing_bytes = size(value);
        },
    ),
    limit(
        "outgoing-bytes-hard",
        "bytes",
        count(code_mode_frames::DEFAULT_OUTGOING_BYTES_HARD),
        |config, value| config.limits.outgoing_bytes_hard = size(value),
    ),
    limit(
        "outgoing-frames-hard",
        "frames",
        count(code_mode_frames::DEFAULT_OUTGOING_FRAMES_HARD),
        |config, value| config.limits.outgoing_frames_hard = size(value),
    ),
    or_zero(limit(
        "kept-output",
        "bytes per session",
        count(code_mode_service::DEFAULT_KEPT_OUTPUT_BYTES),
        |config, value| config.limits.kept_output_bytes = size(value),
    )),
    limit(
        "stall",
        "ms",
        millis(code_mode_frames::DEFAULT_STALL_DEADLINE),
        |config, value| {
            config.limits.stall_deadline = Duration::from_millis(value);
        },
    ),
];

const fn limit(
    name: &'static str,
    unit: &'static str,
    default: u64,
    set: fn(&mut HostConfig, u64),
) -> Limit {
    Limit {
        name,
        unit,
        default,
        least: 1,
        set,
    }
}

/// A bound that 0 switches off.
const fn or_zero(limit: Limit) -> Limit {
    Limit { least: 0, ..limit }
}

const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

const fn count(value: usize) -> u64 {
    value as u64
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn set_limit(config: &mut HostConfig, text: &str) -> Result<(), UsageError> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| UsageError(format!("--limit {text:?} is not NAME=VALUE")))?;
    let limit = LIMITS
        .iter()
        .find(|limit| limit.name == name)
        .ok_or_else(|| UsageError(format!("unknown limit {name:?}")))?;
    let value = value.parse().ok().filter(|value| *value >= limit.least);
    let value = value.ok_or_else(|| {
        let above = if limit.least == 0 { "" } else { " above 0" };
        UsageError(format!(
            "--limit {name} needs a whole number of {}{above}",
            limit.unit
        ))
    })?;
    (limit.set)(config, value);
    Ok(())
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "Runs JavaScript cells for its clients, over the wire protocol V1 or gRPC.

Usage: code_mode_host [OPTIONS]

Options:
",
    );
    text.push_str(listening::HELP);
    text.push_str(
        "  --cells forks|threads   where cells run: each in a process of its own (the default), or on a thread of
                          the host, where a script that breaks V8 ends the host
  --confine HOW           what the host and the processes of cells give up: best-effort is all that this
                          kernel can take (the default), strict runs nothing where the kernel lacks something,
                          none is for debuggers
  --globals WHICH         the globals of scripts whose request does not say: contract is what the protocol
                          promises (the default), web adds URL, TextEncoder, console and their like
  --typescript on|off     whether a source that is no JavaScript is tried as TypeScript, its types taken out in
                          place, and a Markdown fence around it taken off (default on)
  --exact-integers on|off whether scripts whose request does not say read integers beyond 2^53 in tools' answers
                          and stored values as bigints (default off)
  --v1-timings WHICH      the timings in responses where the client's hello leaves it open:
                          none (default), duration or both
  --timings               the same as --v1-timings both
  --log-format text|json  how diagnostics are written to standard error (default text)
  --limit NAME=VALUE      set a bound; may be given several times
  --jit on|off            off makes no machine code of scripts: no memory is both written and executed, and
                          scripts that compute take many times longer (default on)
  --time-zone NAME        the time zone that scripts see, as Europe/Berlin; inherited by default
  --locale NAME           the locale that scripts see, as de-DE; inherited by default
  --check-confinement     try whether the confinement of cells holds on this machine, and print what came of
                          each attempt; exit status 1 when it does not hold
  --help, -h              print this text
  --version, -V           print the versions of the program and of V8

Environment:
  CODE_MODE_V1_TIMINGS    what --v1-timings says, where that is not given
  RUST_LOG                what to log, for instance info or code_mode_host=debug (default warn);
                          code_mode::timing=debug tells where the time of each cell goes

Exit status: 0 after a clean end of input or a drain, 1 after a failure of a stream, 2 when what the arguments
ask for cannot be had, 3 after a violation by the client, 4 when the client has read nothing for too long, 5 when
too much was to be held for it, 6 after a failure of the host. The reason is on standard error.

Limits (default, unit):
",
    );
    for limit in LIMITS {
        let line = format!(
            "  {:<20} {:>12} {}\n",
            limit.name, limit.default, limit.unit
        );
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
