// SPDX-License-Identifier: Apache-2.0
//! `code_mode doctor`: checks that the host works on this machine.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_embed::{CellLimits, Exec, ExecError, Output as CellOutput, SessionProvider};
use tokio::process::Command;
use tokio::time::timeout;

use clap::builder::styling::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::births::{self, AtOnce, NotBorn};
use crate::connect::{self, Host, Provider};
use crate::context::Context;
use crate::guard::Guard;
use crate::host_processes::{self, CellsRun};
use crate::output::Stream;
use crate::reporter::{ERROR, Reporter};
use crate::session::{OpenSession, Plan};
use crate::status::Status;
use crate::tools_file::{FileTool, decode};
use crate::units::readable_size;

/// A check that has passed.
const GOOD: Style = AnsiColor::Green.on_default();

/// A check that may be wrong.
const DOUBTFUL: Style = AnsiColor::Yellow.on_default();

/// How long one check may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(30);

/// Scripts that are run to measure how long one takes.
const MEASURED_EXECS: usize = 10;

/// The pause between two looks at a host's processes, which is how long a host may take for one more cell ahead of
/// need before it counts as having all that it keeps.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Looks at a host's processes, at the most.
const MOST_LOOKS: usize = 20;

/// Memory that a host with a few cells needs, in bytes: V8 itself and some heaps of 64 MiB.
const WANTED_MEMORY: u64 = 512 * 1024 * 1024;

/// The heap of the script that must run out of it, in bytes.
const SMALL_HEAP: u64 = 16 * 1024 * 1024;

/// The computing time of the script that must run out of it.
const SHORT_CPU_TIME: Duration = Duration::from_millis(200);

/// What the extensions of the protocol are for, by capability.
const CAPABILITIES: [(&str, &str); 3] = [
    ("code_mode/limits-v1", "limits per script"),
    ("code_mode/store-v1", "--store"),
    ("code_mode/errors-v1", "error codes"),
];

const ICU_SCRIPT: &str = "\
text(new Intl.NumberFormat('de-DE', { style: 'currency', currency: 'EUR' }).format(1234.5));
text(new Intl.DateTimeFormat('ja-JP', { dateStyle: 'full', timeZone: 'UTC' }).format(new Date(0)));";
const ICU_RESULT: [&str; 2] = ["1.234,50\u{a0}€", "1970年1月1日木曜日"];

const TOOLS: &str = r#"[{"name": "echo", "command": ["cat"]}]"#;
const TOOL_SCRIPT: &str = "text(await tools.echo({ n: [1, 'two'] }));";
const TOOL_RESULT: &str = r#"{"n":[1,"two"]}"#;

const HEAP_SCRIPT: &str = "const all = []; for (;;) all.push(new Array(1000).fill(all.length));";
const CPU_SCRIPT: &str = "for (;;);";

/// What only a program on this machine can be asked.
const CHECKS_OF_PROGRAMS: [&str; 6] = [
    "memory",
    "host program",
    "version",
    "same build",
    "sandbox",
    "confinement",
];

/// Why those are not asked of a host at an address.
const NOT_HERE: &str =
    "not checked: the host is at an address, and only a program on this machine can be asked";

/// The checks that run scripts, beside the one that tells whether any can run.
const CHECKS_WITH_SCRIPTS: [&str; 5] = ["ICU", "tool call", "ten execs", "heap limit", "CPU limit"];

/// Why those are left out where none can.
const NOTHING_RUNS: &str = "not checked: no cell is born, so no script runs";

/// How a check went. `Err` holds what is wrong and what to do.
type Checked = Result<String, Complaint>;

/// What is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    problem: String,
    remedy: &'static str,
    /// Whether the host cannot be used with it.
    fatal: bool,
}

fn failed(problem: impl ToString, remedy: &'static str) -> Complaint {
    Complaint {
        problem: problem.to_string(),
        remedy,
        fatal: true,
    }
}

fn doubtful(problem: impl ToString, remedy: &'static str) -> Complaint {
    Complaint {
        problem: problem.to_string(),
        remedy,
        fatal: false,
    }
}

struct Doctor<'a> {
    reporter: &'a Reporter,
    json: bool,
    status: Status,
}

impl Doctor<'_> {
    /// Prints the line of a check.
    async fn report(&mut self, check: &str, result: Checked) {
        self.report_with(check, result, Value::Null).await;
    }

    /// Prints the line of a check, for programs with what was measured.
    async fn report_with(&mut self, check: &str, result: Checked, figures: Value) {
        if matches!(&result, Err(complaint) if complaint.fatal) {
            self.status = Status::ScriptFailed;
        }
        let text = match self.json {
            true => {
                let mut object = json_of(check, &result);
                if !figures.is_null() {
                    object["figures"] = figures;
                }
                object.to_string()
            }
            false => line(check, &result, self.reporter.colors().stdout),
        };
        self.reporter.printer().line(Stream::Stdout, text).await;
    }

    /// Prints the line of a check that cannot be made, and why not.
    async fn skip(&self, check: &str, why: &str) {
        let text = match self.json {
            true => json!({"check": check, "status": "skip", "detail": why}).to_string(),
            false => format!("skip {check:<13} {why}"),
        };
        self.reporter.printer().line(Stream::Stdout, text).await;
    }
}

fn json_of(check: &str, result: &Checked) -> Value {
    match result {
        Ok(detail) => json!({"check": check, "status": "ok", "detail": detail.trim_end()}),
        Err(Complaint {
            problem,
            remedy,
            fatal,
        }) => json!({
            "check": check, "status": if *fatal { "fail" } else { "warn" },
            "detail": problem.trim_end(), "remedy": remedy,
        }),
    }
}

fn line(check: &str, result: &Checked, colors: bool) -> String {
    let (mark, text) = match result {
        Ok(detail) => ("ok  ", detail.clone()),
        Err(Complaint {
            problem,
            remedy,
            fatal,
        }) => (
            if *fatal { "FAIL" } else { "warn" },
            format!("{}; what to do: {remedy}", problem.trim_end()),
        ),
    };
    let text: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let style = match result {
        Ok(_) => GOOD,
        Err(Complaint { fatal: true, .. }) => ERROR,
        Err(_) => DOUBTFUL,
    };
    let mark = match colors {
        true => format!("{style}{mark}{style:#}"),
        false => mark.to_owned(),
    };
    format!("{mark} {check:<13} {}", text.join(" | "))
}

/// Runs every check.
pub(crate) async fn run(args: DoctorArgs, context: &Context, reporter: &Reporter) -> Status {
    let mut doctor = Doctor {
        reporter,
        json: args.json,
        status: Status::Completed,
    };
    let host = match connect::find_host(&args.host, context) {
        Ok(host) => host,
        Err(error) => {
            let remedy =
                "build it (bazel build //host:code_mode_host) or name it with --host PATH|URL";
            doctor.report("memory", check_memory()).await;
            doctor
                .report("host program", Err(failed(error.message, remedy)))
                .await;
            return doctor.status;
        }
    };
    match &host {
        Host::Program(path) => check_program(&mut doctor, path, context.version).await,
        Host::Address(config) => {
            for check in CHECKS_OF_PROGRAMS {
                doctor.skip(check, NOT_HERE).await;
            }
            let address = config.address.to_string();
            doctor.report("host address", Ok(address)).await;
        }
    }
    let contract = match &host {
        Host::Program(_) => "protocol version 1",
        Host::Address(_) => "codex.code_mode.v1 over gRPC",
    };
    let provider = Provider::over(host);
    let process = match timeout(CHECK_DEADLINE, provider.probe()).await {
        Ok(Ok(info)) => {
            doctor.report("handshake", Ok(contract.into())).await;
            doctor
                .report("capabilities", check_capabilities(&info.capabilities))
                .await;
            doctor
                .report("start-up", Ok(milliseconds(info.startup)))
                .await;
            info.process_id
        }
        Ok(Err(error)) => {
            let remedy = match provider {
                Provider::Program(_) => {
                    "run the program by hand with --version, and see CODE_MODE_LOG=debug"
                }
                Provider::Address(_) => {
                    "see that a host listens there for gRPC and lets you in; CODE_MODE_LOG=debug tells more"
                }
            };
            doctor.report("handshake", Err(failed(error, remedy))).await;
            return doctor.status;
        }
        Err(_) => {
            let remedy = "see CODE_MODE_LOG=debug; the program may wait for something";
            doctor
                .report("handshake", Err(failed("no answer within 30 s", remedy)))
                .await;
            return doctor.status;
        }
    };
    let guard = Guard::of_this_program();
    check_session(&mut doctor, provider.sessions(), process, guard).await;
    doctor.status
}

/// The checks of a host program on this machine.
async fn check_program(doctor: &mut Doctor<'_>, path: &Path, own_version: &str) {
    doctor.report("memory", check_memory()).await;
    doctor
        .report("host program", Ok(path.display().to_string()))
        .await;
    let version = version_of(path).await;
    let judged = version.as_deref().ok().map(|version| {
        [
            ("same build", check_build(own_version, version)),
            ("sandbox", check_sandbox(version)),
        ]
    });
    doctor.report("version", version).await;
    for (check, result) in judged.into_iter().flatten() {
        doctor.report(check, result).await;
    }
    doctor
        .report("confinement", check_confinement(path).await)
        .await;
}

/// The checks that run scripts. `process` is the one that was started as the host, if one was.
async fn check_session(
    doctor: &mut Doctor<'_>,
    provider: Arc<dyn SessionProvider>,
    process: Option<u32>,
    guard: Arc<Guard>,
) {
    let tools: Vec<FileTool> = match decode(TOOLS, Path::new("/")) {
        Ok(tools) => tools,
        Err(mistake) => {
            let remedy = "report this; the program's own tools file is wrong";
            return doctor.report("session", Err(failed(mistake, remedy))).await;
        }
    };
    let plan = Plan::new(tools, "/".into(), guard);
    let session = match OpenSession::open(provider, plan).await {
        Ok(session) => session,
        Err(error) => {
            let remedy = "see CODE_MODE_LOG=debug";
            return doctor
                .report("session", Err(failed(error.message, remedy)))
                .await;
        }
    };
    if !check_births(doctor, &session, process).await {
        for check in CHECKS_WITH_SCRIPTS {
            doctor.skip(check, NOTHING_RUNS).await;
        }
        return session.close(doctor.reporter).await;
    }
    doctor.report("ICU", check_icu(&session).await).await;
    doctor
        .report("tool call", check_tool_call(&session).await)
        .await;
    doctor
        .report("ten execs", measure_execs(&session).await)
        .await;
    let limits = CellLimits {
        heap_bytes: Some(SMALL_HEAP),
        ..CellLimits::default()
    };
    doctor
        .report(
            "heap limit",
            check_limit(&session, HEAP_SCRIPT, limits).await,
        )
        .await;
    let limits = CellLimits {
        cpu_time: Some(SHORT_CPU_TIME),
        ..CellLimits::default()
    };
    doctor
        .report("CPU limit", check_limit(&session, CPU_SCRIPT, limits).await)
        .await;
    session.close(doctor.reporter).await;
}

fn check_memory() -> Checked {
    let read = |path| std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let remedy = "check that /proc is mounted";
    let memory = read("/proc/meminfo").map_err(|problem| doubtful(problem, remedy))?;
    let limits = read("/proc/self/limits").map_err(|problem| doubtful(problem, remedy))?;
    judge_memory(&memory, &limits)
}

fn judge_memory(meminfo: &str, limits: &str) -> Checked {
    let address_space = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"));
    let soft = address_space.and_then(|rest| rest.split_whitespace().next());
    if let Some(soft) = soft.filter(|soft| *soft != "unlimited") {
        return Err(failed(
            format!("the address space is limited to {soft} bytes"),
            "lift it (ulimit -v unlimited): the V8 sandbox reserves 1 TiB of addresses",
        ));
    }
    let available = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .map(|kilobytes| kilobytes.saturating_mul(1024));
    match available {
        None => Err(doubtful(
            "the free memory is not known",
            "look at /proc/meminfo",
        )),
        Some(bytes) if bytes < WANTED_MEMORY => Err(doubtful(
            format!("only {} are free", readable_size(bytes)),
            "free some, or lower --limit heap of the host",
        )),
        Some(bytes) => Ok(format!(
            "{} free, addresses unlimited",
            readable_size(bytes)
        )),
    }
}

/// What the host prints when it is started with this argument alone.
async fn output_of(host: &Path, argument: &str) -> Result<Output, String> {
    let running = Command::new(host)
        .arg(argument)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(CHECK_DEADLINE, running).await {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(error)) => Err(format!("it cannot be started: {error}")),
        Err(_) => Err(format!("{argument} gave no answer within 30 s")),
    }
}

async fn version_of(host: &Path) -> Checked {
    let remedy = "check that it is a code_mode_host built for this machine";
    let Output {
        status,
        stdout,
        stderr,
    } = output_of(host, "--version")
        .await
        .map_err(|problem| failed(problem, remedy))?;
    if !status.success() {
        let words = String::from_utf8_lossy(&stderr).into_owned();
        return Err(failed(
            format!("--version failed with {status}: {words}"),
            remedy,
        ));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Whether the host was built from what this program was built from.
fn check_build(own: &str, version: &str) -> Checked {
    let remedy = "install both programs from one package; plain scripts work all the same";
    let first = version.lines().next().unwrap_or_default();
    match first.strip_prefix("code_mode_host ") {
        Some(host) if host == own => Ok(own.to_owned()),
        Some(host) => Err(doubtful(
            format!("the host is {host}, this program is {own}"),
            remedy,
        )),
        None => Err(doubtful(
            format!("the host calls itself {first:?}, this program is {own}"),
            remedy,
        )),
    }
}

/// Whether processes that are confined as cells are can do nothing that they must not.
async fn check_confinement(host: &Path) -> Checked {
    let remedy = "see docs/security.md; code_mode_host --check-confinement tells of each attempt";
    let output = output_of(host, "--check-confinement")
        .await
        .map_err(|problem| failed(problem, remedy))?;
    judge_confinement(&output)
}

fn judge_confinement(output: &Output) -> Checked {
    /// What a program says that does not know the argument.
    const USAGE: i32 = 2;
    let remedy = "see docs/security.md; code_mode_host --check-confinement tells of each attempt";
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = |wanted: fn(&str) -> bool| {
        let lines: Vec<&str> = text.lines().filter(|line| wanted(line)).collect();
        lines.join(", ")
    };
    let lacking = lines(|line| line.starts_with("lacking: "));
    match output.status.code() {
        Some(0) if lacking.is_empty() => Ok(text.lines().last().unwrap_or_default().to_owned()),
        Some(0) => Err(doubtful(
            lacking,
            "use a newer kernel; docs/security.md says what is missing",
        )),
        Some(USAGE) => Err(doubtful(
            "the host cannot check its confinement",
            "use the host of the same version as this program",
        )),
        _ => {
            let succeeded = lines(|line| line.ends_with(": SUCCEEDED"));
            let words = String::from_utf8_lossy(&output.stderr);
            Err(failed(format!("{succeeded}{words}"), remedy))
        }
    }
}

/// Whether the host says that V8's sandbox is on.
fn check_sandbox(version: &str) -> Checked {
    let remedy = "use a host that was built with the V8 sandbox, as tools/bazel builds it";
    let lower = version.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let state = words.iter().skip_while(|word| **word != "sandbox").nth(1);
    match state {
        Some(&"on" | &"enabled" | &"yes" | &"true") => Ok("on".into()),
        Some(_) => Err(failed("V8's sandbox is off", remedy)),
        None => Err(doubtful(
            "the host does not say whether V8's sandbox is on",
            remedy,
        )),
    }
}

fn check_capabilities(agreed: &[String]) -> Checked {
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(name, _)| !agreed.iter().any(|agreed| agreed == name))
        .map(|(name, purpose)| format!("{name} ({purpose})"))
        .collect();
    if missing.is_empty() {
        return Ok(agreed.join(", "));
    }
    Err(doubtful(
        format!("the host lacks {}", missing.join(", ")),
        "use the host of the same version as this program; plain scripts work all the same",
    ))
}

/// Tells how cells come to life; says whether any does.
async fn check_births(
    doctor: &mut Doctor<'_>,
    session: &OpenSession,
    process: Option<u32>,
) -> bool {
    let session = &session.session;
    let first = match births::one(session, CHECK_DEADLINE).await {
        Ok(first) => first,
        Err(error) => {
            let nothing_runs = error.nothing_runs();
            let result = Err(judge_birth(&error, "the first cell"));
            doctor.report("births", result).await;
            return !nothing_runs;
        }
    };
    let run = match process {
        Some(process) => settled(|| host_processes::look(process)).await,
        None => None,
    };
    let at_once = match births::at_once(session, CHECK_DEADLINE).await {
        Ok(at_once) => at_once,
        Err(error) => {
            let what = format!("one of {} cells at one time", births::CELLS_AT_ONCE);
            let result = Err(judge_birth(&error, &what));
            doctor.report("births", result).await;
            return true;
        }
    };
    let (mode, ready) = match run {
        Some(CellsRun::Forked { cells, .. }) => (Some("forks"), Some(cells)),
        Some(CellsRun::Threads { cells }) => (Some("threads"), Some(cells)),
        None => (None, None),
    };
    let figures = json!({
        "cells": mode, "ready": ready, "first_ms": first.as_secs_f64() * 1000.0,
        "at_once": at_once.cells, "at_once_ms": at_once.all_after.as_secs_f64() * 1000.0,
    });
    let result = judge_births(run, first, at_once);
    doctor.report_with("births", result, figures).await;
    true
}

/// Where the host runs its cells, once it has as many ready as it keeps.
async fn settled(mut look: impl FnMut() -> Option<CellsRun>) -> Option<CellsRun> {
    let mut last = look()?;
    for _ in 1..MOST_LOOKS {
        tokio::time::sleep(LOOK_PAUSE).await;
        let now = look()?;
        if now == last {
            break;
        }
        last = now;
    }
    Some(last)
}

fn judge_births(run: Option<CellsRun>, first: Duration, at_once: AtOnce) -> Checked {
    let times = format!(
        "the first after {}, {} at one time after {}",
        milliseconds(first),
        at_once.cells,
        milliseconds(at_once.all_after)
    );
    match run {
        Some(CellsRun::Forked { zygotes, cells }) => Ok(format!(
            "cells are forked ({zygotes} zygote{}, {cells} ready ahead), {times}",
            if zygotes == 1 { "" } else { "s" }
        )),
        Some(CellsRun::Threads { cells }) => Err(doubtful(
            format!("cells are threads of the host ({cells} ready ahead), {times}"),
            "start the host without --cells threads: a script that breaks V8 ends all of it",
        )),
        None => Ok(times),
    }
}

fn judge_birth(error: &NotBorn, what: &str) -> Complaint {
    let cause = match error {
        NotBorn::Exec(error) => words(error),
        unlike @ NotBorn::Unlike(_) => unlike.to_string(),
    };
    failed(
        format!("{what} was not born: {cause}"),
        "see code_mode_host --check-confinement, and what the host logs with CODE_MODE_LOG=debug",
    )
}

async fn check_icu(session: &OpenSession) -> Checked {
    let remedy = "use a host that was built with full ICU data, as tools/bazel builds it";
    let texts = completed(session, ICU_SCRIPT)
        .await
        .map_err(|problem| failed(problem, remedy))?;
    if texts == ICU_RESULT {
        Ok(texts.join(", "))
    } else {
        Err(failed(format!("formatted {}", texts.join(", ")), remedy))
    }
}

async fn check_tool_call(session: &OpenSession) -> Checked {
    let remedy = "check that programs can be started here, and see CODE_MODE_LOG=debug";
    let begun = Instant::now();
    let texts = completed(session, TOOL_SCRIPT)
        .await
        .map_err(|problem| failed(problem, remedy))?;
    if texts == [TOOL_RESULT] {
        Ok(milliseconds(begun.elapsed()))
    } else {
        Err(failed(
            format!("the tool gave {}", texts.join(", ")),
            remedy,
        ))
    }
}

async fn measure_execs(session: &OpenSession) -> Checked {
    let remedy = "see CODE_MODE_LOG=debug";
    let mut times = Vec::new();
    for number in 0..MEASURED_EXECS {
        let begun = Instant::now();
        let texts = completed(session, format!("text({number});"))
            .await
            .map_err(|problem| failed(problem, remedy))?;
        times.push(begun.elapsed());
        if texts != [number.to_string()] {
            return Err(failed(
                format!("exec {number} gave {}", texts.join(", ")),
                remedy,
            ));
        }
    }
    times.sort_unstable();
    let median = times.get(MEASURED_EXECS / 2).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    Ok(format!(
        "median {}, longest {}",
        milliseconds(median),
        milliseconds(longest)
    ))
}

/// A script without end must be ended by its limit, and the host must live on.
async fn check_limit(session: &OpenSession, source: &str, limits: CellLimits) -> Checked {
    let remedy = "do not run untrusted scripts on this host";
    let message = match evaluate(session, Exec::new(source).limits(limits)).await {
        Err(ExecError::Script(error)) => error.text,
        Err(error) => return Err(failed(words(&error), remedy)),
        Ok(_) => return Err(failed("a script without end has ended in order", remedy)),
    };
    match completed(session, "text('alive');").await {
        Ok(texts) if texts == ["alive"] => Ok(format!(
            "ended as it must: {}",
            message.lines().next().unwrap_or_default()
        )),
        Ok(texts) => Err(failed(
            format!("afterwards the host gave {}", texts.join(", ")),
            remedy,
        )),
        Err(problem) => Err(failed(
            format!("the host did not survive it: {problem}"),
            remedy,
        )),
    }
}

/// Runs a script that must complete, and gives its text items.
async fn completed(session: &OpenSession, exec: impl Into<Exec>) -> Result<Vec<String>, String> {
    let output = evaluate(session, exec)
        .await
        .map_err(|error| words(&error))?;
    Ok(output.texts().map(str::to_owned).collect())
}

/// Runs a script to its end, for as long as one check may take.
async fn evaluate(session: &OpenSession, exec: impl Into<Exec>) -> Result<CellOutput, ExecError> {
    let exec = exec.into().first_look(CHECK_DEADLINE);
    let cell = session.session.start(exec).await?;
    cell.finish_within(CHECK_DEADLINE).await
}

/// Why a script of a check gave no result.
fn words(error: &ExecError) -> String {
    match error {
        ExecError::Script(error) => format!("the script failed: {error}"),
        ExecError::TimedOut { .. } => {
            "the script did not end within 30 s and was terminated".to_owned()
        }
        ExecError::HostLost(lost) => lost.source.to_string(),
        ExecError::Session(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
