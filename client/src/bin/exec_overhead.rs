//! Measures what an exec costs, for any hosts of the protocol, through the client library.
//!
//! Each scenario runs in a fresh host process, with the hosts in turn (A B A B), so that a machine
//! that slows down meanwhile slows all of them down. It asserts nothing about time.
//! `docs/performance.md` says how to read the table.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CodeModeSession, ExecuteRequest, Notification, RawJson,
    SessionDelegate, SessionOptions, SessionProvider, ToolDefinition, ToolError, ToolInvocation,
    ToolKind, ToolName, WaitRequest,
};
use code_mode_client::{ProcessSessionProvider, ProviderConfig};
use tokio::sync::{mpsc, oneshot};

const USAGE: &str = "\
exec_overhead [--host PATH]... [--samples N] [--warm-iterations N] [--tool-counts 0,32,128]
              [--rounds N] [--only TEXT] [--json]

--host PATH           a host to measure; several are measured in turn; default: CODE_MODE_HOST
--samples N           samples of each scenario and host, over all rounds (default 200)
--warm-iterations N   execs before the first sample (default 50)
--tool-counts LIST    numbers of tools for the warm exec (default 0,32,128)
--rounds N            how often the hosts take turns (default 2)
--only TEXT           only scenarios whose name contains TEXT
--json                one JSON object instead of the table";

/// How long an observer waits for a cell here; longer than any scenario.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tool calls in one sample of the tool-call scenarios.
const CALLS: u32 = 100;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Options {
    hosts: Vec<PathBuf>,
    samples: usize,
    warm_iterations: usize,
    tool_counts: Vec<usize>,
    rounds: usize,
    only: String,
    json: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("exec_overhead: {failure}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let options = parse(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let rows = runtime.block_on(measure(&options))?;
    if options.json {
        print_json(&options, &rows)
    } else {
        print_table(&options, &rows)
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        hosts: Vec::new(),
        samples: 200,
        warm_iterations: 50,
        tool_counts: vec![0, 32, 128],
        rounds: 2,
        only: String::new(),
        json: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--host" => options.hosts.push(PathBuf::from(value()?)),
            "--samples" => options.samples = value()?.parse::<usize>()?.max(1),
            "--warm-iterations" => options.warm_iterations = value()?.parse()?,
            "--tool-counts" => {
                options.tool_counts = value()?
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<_, _>>()?;
            }
            "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
            "--only" => options.only.clone_from(value()?),
            "--json" => options.json = true,
            other => return Err(format!("{other} is no option").into()),
        }
    }
    if options.hosts.is_empty() {
        let host = std::env::var_os("CODE_MODE_HOST").ok_or("name a host with --host PATH")?;
        options.hosts.push(PathBuf::from(host));
    }
    Ok(options)
}

/// One scenario; what a sample is worth stands in its name.
#[derive(Clone)]
enum Scenario {
    Start,
    Cold,
    Warm { tools: usize },
    LongScript,
    SequentialCalls,
    ParallelCalls,
    Echo { bytes: usize },
    Throughput { in_flight: usize },
    Parked { cells: usize },
    Terminate,
    Wait,
}

impl Scenario {
    fn all(options: &Options) -> Vec<Self> {
        let mut all = vec![Self::Start, Self::Cold];
        all.extend(
            options
                .tool_counts
                .iter()
                .map(|&tools| Self::Warm { tools }),
        );
        all.extend([Self::LongScript, Self::SequentialCalls, Self::ParallelCalls]);
        all.extend([1 << 10, 64 << 10, 1 << 20, 8 << 20].map(|bytes| Self::Echo { bytes }));
        all.extend([1, 8, 64].map(|in_flight| Self::Throughput { in_flight }));
        all.extend([10, 100, 1000].map(|cells| Self::Parked { cells }));
        all.extend([Self::Terminate, Self::Wait]);
        all.retain(|scenario| scenario.name().contains(&options.only));
        all
    }

    fn name(&self) -> String {
        match self {
            Self::Start => "process start to hello".to_owned(),
            Self::Cold => "cold exec".to_owned(),
            Self::Warm { tools } => format!("warm exec, {tools} tools"),
            Self::LongScript => "warm exec, 20 KiB script".to_owned(),
            Self::SequentialCalls => "tool call, sequential".to_owned(),
            Self::ParallelCalls => format!("tool call, {CALLS} in parallel"),
            Self::Echo { bytes } => format!("echo of {} KiB", bytes >> 10),
            Self::Throughput { in_flight } => format!("time per exec, {in_flight} in flight"),
            Self::Parked { cells } => format!("parking one of {cells} cells"),
            Self::Terminate => "terminate a spinning cell".to_owned(),
            Self::Wait => "wait until a released cell answers".to_owned(),
        }
    }

    /// How many processes a sample needs: these two are about processes, not about execs.
    fn starts_processes(&self) -> bool {
        matches!(self, Self::Start | Self::Cold)
    }
}

/// What one host gave in one scenario.
#[derive(Default, Clone)]
struct Row {
    samples: Vec<Duration>,
    /// Growth of the host's resident memory over the scenario, KiB; the largest of the rounds.
    growth_kib: i64,
    /// What kept the scenario from going on, if something did.
    note: Option<String>,
}

async fn measure(options: &Options) -> Result<Vec<(Scenario, Vec<Row>)>, Failure> {
    let mut table = Vec::new();
    for scenario in Scenario::all(options) {
        let mut rows = vec![Row::default(); options.hosts.len()];
        for _ in 0..options.rounds {
            for (host, row) in options.hosts.iter().zip(&mut rows) {
                let count = options.samples.div_ceil(options.rounds);
                if let Err(failure) = measure_one(&scenario, host, count, options, row).await {
                    row.note = Some(failure.to_string());
                }
            }
        }
        table.push((scenario, rows));
    }
    Ok(table)
}

async fn measure_one(
    scenario: &Scenario,
    host: &Path,
    count: usize,
    options: &Options,
    row: &mut Row,
) -> Result<(), Failure> {
    if scenario.starts_processes() {
        for _ in 0..count.div_ceil(10) {
            let bench = Bench::start(host).await?;
            row.samples.push(match scenario {
                Scenario::Start => bench.startup,
                _ => bench.exec(script("text('x')", 0)).await?,
            });
            row.growth_kib = row.growth_kib.max(bench.growth_kib());
            bench.provider.shutdown().await;
        }
        return Ok(());
    }
    let mut bench = Bench::start(host).await?;
    for _ in 0..options.warm_iterations {
        bench.exec(script("text('x')", 0)).await?;
    }
    bench.resident_kib = resident_kib(bench.process_id);
    let result = bench.sample(scenario, count, &mut row.samples).await;
    row.growth_kib = row.growth_kib.max(bench.growth_kib());
    bench.provider.shutdown().await;
    result
}

struct Bench {
    provider: ProcessSessionProvider,
    session: Arc<dyn CodeModeSession>,
    parked: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    /// Releases of cells that stay parked until memory has been measured.
    held: Vec<Option<oneshot::Sender<()>>>,
    startup: Duration,
    process_id: Option<u32>,
    resident_kib: Option<i64>,
}

impl Bench {
    async fn start(host: &Path) -> Result<Self, Failure> {
        let provider = ProcessSessionProvider::new(ProviderConfig::new(host));
        let info = provider.probe().await?;
        let (sender, parked) = mpsc::unbounded_channel();
        let delegate = Arc::new(Delegate {
            parked: Mutex::new(sender),
        });
        let session = provider
            .open_session(SessionOptions::default(), delegate)
            .await?;
        let (startup, process_id) = (info.startup, info.process_id);
        let resident_kib = resident_kib(process_id);
        Ok(Self {
            provider,
            session,
            parked,
            held: Vec::new(),
            startup,
            process_id,
            resident_kib,
        })
    }

    fn growth_kib(&self) -> i64 {
        let now = resident_kib(self.process_id);
        now.zip(self.resident_kib)
            .map_or(0, |(now, before)| now - before)
    }

    async fn exec(&self, request: ExecuteRequest) -> Result<Duration, Failure> {
        exec(&self.session, request).await
    }

    async fn sample(
        &mut self,
        scenario: &Scenario,
        count: usize,
        samples: &mut Vec<Duration>,
    ) -> Result<(), Failure> {
        match scenario {
            Scenario::Start | Scenario::Cold => {}
            Scenario::Warm { tools } => {
                for _ in 0..count {
                    samples.push(self.exec(script("text('x')", *tools)).await?);
                }
            }
            Scenario::LongScript => {
                let line = |n: usize| format!("function f{n}(a, b) {{ return a * {n} + b; }}\n");
                let mut source = String::new();
                for n in 0.. {
                    if source.len() >= 20 << 10 {
                        break;
                    }
                    source.push_str(&line(n));
                }
                source.push_str("text('x')");
                for _ in 0..count {
                    samples.push(self.exec(script(&source, 0)).await?);
                }
            }
            Scenario::SequentialCalls => {
                let source = format!("for (let n = 0; n < {CALLS}; n++) await tools.echo(n)");
                for _ in 0..count.div_ceil(10) {
                    samples.push(self.exec(script(&source, 2)).await? / CALLS);
                }
            }
            Scenario::ParallelCalls => {
                let source = format!(
                    "await Promise.all(Array.from({{length: {CALLS}}}, (_, n) => tools.echo(n)))"
                );
                for _ in 0..count.div_ceil(10) {
                    samples.push(self.exec(script(&source, 2)).await? / CALLS);
                }
            }
            Scenario::Echo { bytes } => {
                let source = format!("await tools.echo('x'.repeat({bytes}))");
                for _ in 0..count.div_ceil(10) {
                    samples.push(self.exec(script(&source, 2)).await?);
                }
            }
            Scenario::Throughput { in_flight } => {
                for _ in 0..count.div_ceil(20) {
                    samples.push(self.throughput(*in_flight).await?);
                }
            }
            Scenario::Parked { cells } => {
                for _ in 0..*cells {
                    let begun = Instant::now();
                    let request = script("await tools.park()", 2);
                    // Dropping the started cell leaves it running, which is what parking is.
                    drop(self.session.execute(request).await?);
                    // The cell has to reach its call, so that all of it is there; what is received
                    // would release it.
                    self.held.push(self.parked.recv().await);
                    samples.push(begun.elapsed());
                }
            }
            Scenario::Terminate => {
                for _ in 0..count.div_ceil(10) {
                    let started = self.session.execute(script("for (;;);", 0)).await?;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let begun = Instant::now();
                    self.session.terminate(started.cell_id).await?;
                    samples.push(begun.elapsed());
                }
            }
            Scenario::Wait => {
                for _ in 0..count {
                    let source = "yield_control(); await tools.park(); text('x')";
                    let started = self.session.execute(script(source, 2)).await?;
                    started.first_response.await?;
                    let release = self.parked.recv().await.ok_or("the delegate is gone")?;
                    let cell_id = started.cell_id;
                    let wait = self.session.wait(WaitRequest {
                        cell_id,
                        yield_time: Some(PATIENCE),
                    });
                    let begun = Instant::now();
                    // A receiver that is gone has ended with its cell, and the wait says so.
                    let _ = release.send(());
                    wait.await?;
                    samples.push(begun.elapsed());
                }
            }
        }
        Ok(())
    }

    /// The wall time per exec with so many at work at any time.
    async fn throughput(&self, in_flight: usize) -> Result<Duration, Failure> {
        /// Execs of each worker in one sample.
        const EACH: u32 = 8;
        let begun = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..in_flight {
            let session = Arc::clone(&self.session);
            workers.spawn(async move {
                for _ in 0..EACH {
                    exec(&session, script("text('x')", 0)).await?;
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        Ok(begun.elapsed() / (EACH * u32::try_from(in_flight)?))
    }
}

async fn exec(
    session: &Arc<dyn CodeModeSession>,
    request: ExecuteRequest,
) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let response = session.execute(request).await?.first_response.await?;
    let elapsed = begun.elapsed();
    match response.status {
        code_mode_api::CellStatus::Completed { error_text: None } => Ok(elapsed),
        other => Err(format!("a script ended as {other:?}").into()),
    }
}

/// A request with this many tools, of which the first two are `echo` and `park`.
fn script(source: &str, tools: usize) -> ExecuteRequest {
    let name = |number: usize| match number {
        0 => "echo".to_owned(),
        1 => "park".to_owned(),
        number => format!("tool_{number}"),
    };
    let schema = r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"number"}}}"#;
    let tool = |number| ToolDefinition {
        name: name(number),
        tool_name: ToolName {
            name: name(number),
            namespace: None,
        },
        description: "A tool of the benchmark, with a description of ordinary length.".to_owned(),
        kind: ToolKind::Function,
        input_schema: serde_json::value::RawValue::from_string(schema.to_owned()).ok(),
        output_schema: None,
    };
    ExecuteRequest {
        exec_call_id: "bench".to_owned(),
        tools: (0..tools).map(tool).collect(),
        yield_time: Some(PATIENCE),
        ..ExecuteRequest::new(source)
    }
}

struct Delegate {
    parked: Mutex<mpsc::UnboundedSender<oneshot::Sender<()>>>,
}

impl SessionDelegate for Delegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        if invocation.tool_name.name != "park" {
            return Box::pin(async { Ok(invocation.input) });
        }
        let (release, released) = oneshot::channel();
        let parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        // The benchmark may have ended; then nobody wants to know.
        drop(parked.send(release));
        Box::pin(async move {
            drop(released.await);
            Ok(invocation.input)
        })
    }

    fn notify(
        &self,
        _: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Resident memory of a process, KiB.
fn resident_kib(process_id: Option<u32>) -> Option<i64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process_id?)).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Figures of a row, in microseconds.
struct Figures {
    count: usize,
    mean: f64,
    p50: f64,
    p95: f64,
    p99: f64,
}

fn figures(row: &Row) -> Option<Figures> {
    let mut samples: Vec<f64> = row.samples.iter().map(|s| s.as_secs_f64() * 1e6).collect();
    samples.sort_by(f64::total_cmp);
    let at = |percent: usize| samples.get((samples.len() * percent / 100).min(samples.len() - 1));
    Some(Figures {
        count: samples.len(),
        mean: samples.iter().sum::<f64>() / samples.len().max(1) as f64,
        p50: *samples.get(samples.len() / 2)?,
        p95: *at(95)?,
        p99: *at(99)?,
    })
}

fn print_table(options: &Options, rows: &[(Scenario, Vec<Row>)]) {
    for (number, host) in options.hosts.iter().enumerate() {
        println!("host {}: {}", label(number), host.display());
    }
    println!(
        "\ntimes in µs; ratio: p50 of host A over p50 of this host; memory: growth in KiB\n\n\
         | scenario | host | n | mean | p50 | p95 | p99 | ratio | memory |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (scenario, hosts) in rows {
        let first = hosts.first().and_then(figures).map(|figures| figures.p50);
        for (number, row) in hosts.iter().enumerate() {
            let (name, label) = (scenario.name(), label(number));
            let note = row
                .note
                .as_ref()
                .map_or(String::new(), |note| format!(" ({note})"));
            match figures(row) {
                None => println!("| {name} | {label} | 0 | | | | | | {note} |"),
                Some(Figures {
                    count,
                    mean,
                    p50,
                    p95,
                    p99,
                }) => {
                    let ratio = first.map_or(1.0, |first| first / p50);
                    println!(
                        "| {name} | {label} | {count} | {mean:.0} | {p50:.0} | {p95:.0} | {p99:.0} \
                         | {ratio:.2} | {}{note} |",
                        row.growth_kib
                    );
                }
            }
        }
    }
}

fn print_json(options: &Options, rows: &[(Scenario, Vec<Row>)]) {
    let mut results = Vec::new();
    for (scenario, hosts) in rows {
        for (host, row) in options.hosts.iter().zip(hosts) {
            let mut result = serde_json::json!({
                "scenario": scenario.name(),
                "host": host.display().to_string(),
                "memory_growth_kib": row.growth_kib,
                "note": row.note,
            });
            if let Some(figures) = figures(row) {
                result["samples"] = figures.count.into();
                result["mean_us"] = figures.mean.into();
                result["p50_us"] = figures.p50.into();
                result["p95_us"] = figures.p95.into();
                result["p99_us"] = figures.p99.into();
            }
            results.push(result);
        }
    }
    println!("{}", serde_json::json!({ "results": results }));
}

fn label(number: usize) -> char {
    char::from(b'A'.saturating_add(u8::try_from(number).unwrap_or(u8::MAX)))
}
