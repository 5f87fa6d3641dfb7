// SPDX-License-Identifier: Apache-2.0
//! Runs hostile scripts, each in a process of its own, and prints what each gave as the Markdown
//! table of `docs/limits.md`.
//!
//! `hostile` runs all of them, each cell in a process of its own as in a host; `hostile NAME` runs one
//! and prints its row; `hostile --source TEXT` runs that text. With `--threads` first, cells are threads
//! of the process that runs them.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellStatus, CodeModeSession, ExecuteRequest, Notification,
    RawJson, SessionDelegate, ToolDefinition, ToolError, ToolInvocation, ToolKind, ToolName,
};
use code_mode_runtime::{
    Cells, Confinement, Forked, Jit, Program, Runtime, RuntimeConfig, RuntimeFailure, Starter,
    Supervisor,
};

/// The argument that has cells run on threads.
const THREADS: &str = "--threads";

/// How long one script may take before its process is killed and counts as hanging.
const PATIENCE: Duration = Duration::from_secs(90);

/// CPU time that each script gets, so that the table does not take half an hour.
const CPU_TIME: Duration = Duration::from_secs(1);

/// Name and source of each script.
const SCRIPTS: &[(&str, &str)] = &[
    ("empty loop", "for (;;);"),
    (
        "loop that catches everything",
        "for (;;) { try { for (;;); } catch {} finally { continue } }",
    ),
    (
        "promise job flood",
        "const f = () => Promise.resolve().then(f); await f();",
    ),
    ("await loop", "for (;;) await null;"),
    (
        "timer loop",
        "const f = () => setTimeout(f, 0); f(); await new Promise(() => {});",
    ),
    ("sort callback", "[3, 2, 1].sort(() => { for (;;); });"),
    ("toJSON", "text({ toJSON() { for (;;); } });"),
    (
        "getter in tool input",
        "tools.echo({ get a() { for (;;); } });",
    ),
    (
        "proxy trap",
        "text(new Proxy({}, { ownKeys() { for (;;); } }));",
    ),
    (
        "regular expression backtracking",
        "/^(a+)+$/.test('a'.repeat(40) + 'b');",
    ),
    ("deep recursion", "const f = () => f() + 1; f();"),
    (
        "recursion in toJSON",
        "const o = { toJSON() { return JSON.stringify(o); } }; text(o);",
    ),
    (
        "deep JSON.parse",
        "const d = JSON.parse('['.repeat(5e6) + ']'.repeat(5e6)); text(d);",
    ),
    (
        "deep tool input",
        "let o = {}; for (let i = 0; i < 1e4; i++) o = { o }; await tools.echo(o);",
    ),
    ("growing array", "const a = []; for (;;) a.push(a.length);"),
    (
        "array of arrays",
        "const a = []; for (;;) a.push(new Array(1000).fill(1));",
    ),
    (
        "growing map",
        "const m = new Map(); for (let i = 0; ; i++) m.set(i, { i });",
    ),
    (
        "growing set",
        "const s = new Set(); for (let i = 0; ; i++) s.add('k' + i);",
    ),
    (
        "object with ever more keys",
        "const o = {}; for (let i = 0; ; i++) o['k' + i] = i;",
    ),
    ("string doubling", "let s = 'ab'; for (;;) s += s;"),
    (
        "flat string doubling",
        "let s = 'ab'; for (;;) { s += s; s.charCodeAt(1); }",
    ),
    ("new Array(1e9).fill()", "new Array(1e9).fill(0);"),
    ("new Array(3e7).fill()", "new Array(3e7).fill(0);"),
    (
        "Array.from of 1e9",
        "Array.from({ length: 1e9 }, (_, i) => i);",
    ),
    ("spread of 1e8", "[...Array(1e8).keys()];"),
    ("join of a sparse array", "new Array(2 ** 28).join('ab');"),
    ("string repeat and split", "'a'.repeat(2 ** 28).split('');"),
    (
        "padded strings",
        "const a = []; for (let i = 0; ; i++) a.push(('' + i).padEnd(1e6, '-'));",
    ),
    (
        "one ArrayBuffer of 4 GiB",
        "const b = new ArrayBuffer(2 ** 32); text(b.byteLength);",
    ),
    (
        "one typed array of 1 GiB, filled",
        "new Uint8Array(2 ** 30).fill(1); text('filled');",
    ),
    (
        "many typed arrays",
        "const a = []; for (;;) a.push(new Uint8Array(1 << 20).fill(1));",
    ),
    (
        "resizable buffer",
        "const b = new ArrayBuffer(8, { maxByteLength: 2 ** 30 }); for (let n = 8; n < 2 ** 30; n *= 2) { b.resize(n); new Uint8Array(b).fill(1); } text('grown');",
    ),
    (
        "a million promises",
        "const a = []; for (let i = 0; i < 1e7; i++) a.push(new Promise(() => {})); text('made');",
    ),
    (
        "rejected promises",
        "for (let i = 0; ; i++) Promise.reject(new Error('' + i));",
    ),
    (
        "closures",
        "let f = () => 0; for (;;) { const g = f; f = () => g() + 1; }",
    ),
    ("big integers", "let n = 2n; for (;;) n = n * n;"),
    ("big integer to text", "text(2n ** 20000000n);"),
    ("eval of a huge source", "eval('1+'.repeat(2e7) + '1');"),
    (
        "generated functions",
        "for (let i = 0; ; i++) new Function('return ' + i)();",
    ),
    (
        "generated regular expressions",
        "const a = []; for (let i = 0; ; i++) { const r = new RegExp('(a|b' + i + ')*'); r.test('ab'); a.push(r); }",
    ),
    (
        "symbols",
        "const a = []; for (let i = 0; ; i++) a.push(Symbol('s' + i));",
    ),
    (
        "weak references",
        "const a = []; for (;;) a.push(new WeakRef({}));",
    ),
    (
        "stack trace bomb",
        "Error.stackTraceLimit = 1e9; const f = n => n ? f(n - 1) : new Error().stack.length; for (;;) f(5000);",
    ),
    ("output flood", "for (;;) text('x'.repeat(1000));"),
    ("output items flood", "for (;;) text('');"),
    ("output in one piece", "text('x'.repeat(2 ** 28));"),
    ("store flood", "for (let i = 0; ; i++) store('k' + i, 'v');"),
    ("stored value", "store('k', 'x'.repeat(1e7));"),
    ("tool call flood", "for (;;) tools.echo(1);"),
    ("tool calls one by one", "for (;;) await tools.echo(1);"),
    ("timer flood", "for (;;) setTimeout(() => {}, 1e6);"),
    ("notification flood", "for (;;) notify('n');"),
    (
        "date formats",
        "const a = []; for (;;) a.push(new Intl.DateTimeFormat('de'));",
    ),
    (
        "normalisation",
        "for (;;) 'é'.repeat(1e6).normalize('NFD');",
    ),
];

/// What the log says about a process that has to end.
const REASONS: [&str; 4] = [
    "told to stop and runs on",
    "out of memory",
    "V8 aborts the process",
    "Fatal JavaScript",
];

/// Ends the process when the runtime fails, as a host does.
struct FailStop;

impl Supervisor for FailStop {
    fn failed(&self, _failure: RuntimeFailure) {
        // The runtime has logged the failure.
        std::process::abort();
    }
}

/// A delegate that answers `echo` with its input after a moment.
struct Echo;

impl SessionDelegate for Echo {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(invocation.input)
        })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(std::future::pending())
    }
}

fn main() -> ExitCode {
    code_mode_runtime::entry();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (threads, arguments) = match arguments.split_first() {
        Some((&THREADS, rest)) => (true, rest),
        _ => (false, arguments.as_slice()),
    };
    match arguments {
        [] => {
            say(if threads {
                "| script | error | seconds to stop | CPU seconds | peak MiB |\n|---|---|---|---|---|"
            } else {
                "| script | error | seconds to stop | CPU seconds | cell's peak MiB | host's peak MiB |\n\
                 |---|---|---|---|---|---|"
            });
            for (name, _) in SCRIPTS {
                say(&row(name, threads));
            }
            ExitCode::SUCCESS
        }
        ["--source", source] => run(source, threads),
        [name] => match SCRIPTS.iter().find(|(known, _)| known == name) {
            Some((_, source)) => run(source, threads),
            None => {
                say("there is no script of this name");
                ExitCode::FAILURE
            }
        },
        _ => {
            say("usage: hostile [--threads] [NAME | --source TEXT]");
            ExitCode::FAILURE
        }
    }
}

/// Runs a script in a process of its own and gives its row.
fn row(name: &str, threads: bool) -> String {
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(threads.then_some(THREADS))
            .arg(name)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    });
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return format!("| {name} | not run: {error} | | | |"),
    };
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => break,
        }
    }
    // A process that has ended cannot be killed, which is just as well.
    let hung = child.kill().is_ok() && started.elapsed() >= PATIENCE;
    let seconds = started.elapsed().as_secs_f64();
    match child.wait_with_output() {
        Ok(output) if output.status.success() => {
            format!(
                "| {name} | {} |",
                String::from_utf8_lossy(&output.stdout).trim()
            )
        }
        Ok(_) if hung => format!("| {name} | does not stop | | | |"),
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            let mut lines = reason.lines();
            let reason =
                lines.find_map(|line| REASONS.into_iter().find(|known| line.contains(known)));
            let reason = reason.unwrap_or("no reason");
            format!(
                "| {name} | **process ends** ({}): {reason} | {seconds:.2} | | |",
                output.status
            )
        }
        Err(error) => format!("| {name} | not run: {error} | | | |"),
    }
}

/// Runs a script here and prints what it gave.
fn run(source: &str, threads: bool) -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let tokio = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
    {
        Ok(tokio) => tokio,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let mut config = RuntimeConfig::default();
    config.cell_limits.cpu_time = Some(CPU_TIME);
    if !threads {
        match Starter::start(&Program::ThisOne) {
            Ok(starter) => {
                config.cells = Cells::Forks(Forked {
                    starter: Arc::new(starter),
                    confinement: Confinement::BestEffort,
                    jit: Jit::On,
                });
            }
            Err(error) => {
                say(&error.to_string());
                return ExitCode::FAILURE;
            }
        }
    }
    let result = tokio.block_on(async {
        let runtime = Runtime::new(
            config,
            tokio::runtime::Handle::current(),
            Some(Arc::new(FailStop)),
        )
        .map_err(|error| error.to_string())?;
        let session = runtime
            .open(None, Arc::new(Echo))
            .map_err(|error| error.to_string())?;
        let mut request = ExecuteRequest::new(source);
        request.tools = Arc::from([ToolDefinition {
            name: "echo".to_owned(),
            tool_name: ToolName {
                name: "echo".to_owned(),
                namespace: None,
            },
            description: String::new(),
            kind: ToolKind::Function,
            input_schema: None,
            output_schema: None,
        }]);
        request.yield_time = Some(PATIENCE);
        let started = Instant::now();
        let cell = session
            .execute(request)
            .await
            .map_err(|error| error.to_string())?;
        let response = cell.first_response.await;
        let seconds = started.elapsed().as_secs_f64();
        session.shutdown().await;
        let what = match response {
            Err(error) => error.to_string(),
            Ok(response) => match response.status {
                CellStatus::Completed { error_text: None } => "none".to_owned(),
                CellStatus::Completed {
                    error_text: Some(text),
                } => text
                    .lines()
                    .next()
                    .unwrap_or("")
                    .chars()
                    .take(100)
                    .collect(),
                other => format!("{other:?}"),
            },
        };
        Ok::<_, String>(if threads {
            let (cpu, peak) = (cpu_seconds(), peak_mebibytes());
            format!("{what} | {seconds:.2} | {cpu:.2} | {peak}")
        } else {
            let (cpu, peak) = of_children();
            let own = peak_mebibytes();
            format!("{what} | {seconds:.2} | {cpu:.2} | {peak} | {own}")
        })
    });
    match result {
        Ok(row) => {
            say(&row);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

/// The most memory that this process ever had, in MiB.
fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1024
}

/// CPU time of this process's children that were reaped, in seconds, and the most memory that one of
/// them ever had, in MiB: a cell has more than its zygote.
fn of_children() -> (f64, u64) {
    // SAFETY: an all-zero rusage is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place to write.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return (f64::NAN, 0);
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
    (
        seconds(usage.ru_utime) + seconds(usage.ru_stime),
        kibibytes / 1024,
    )
}

/// CPU time of this process and all its threads, start included, in seconds.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write, and the clock is one that every process has.
    let error = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    if error == 0 {
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    } else {
        f64::NAN
    }
}

/// Writes a line to standard output.
fn say(line: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when standard output is closed.
    let _ = writeln!(std::io::stdout(), "{line}");
}
