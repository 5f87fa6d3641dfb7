// SPDX-License-Identifier: Apache-2.0
//! The escape suite: what native code in a confined cell tries does not succeed, and harms nobody else.
//!
//! Each attempt is made twice in a process of its own: in a confined cell, where it must fail or end that
//! cell alone, and in a cell without confinement, where it must succeed, so that no row holds for another
//! reason than the confinement.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CellLimits, ContentItem};
use code_mode_engine::ScriptOptions;
use code_mode_engine::limits::{DEFAULT_HEAP_BYTES, EffectiveLimits};
use code_mode_engine::platform::Jit;
use code_mode_fork::attempts::{ATTEMPTS, Attempt, MAKE_CODE, Proof, SECRET, Surroundings};
use code_mode_fork::{
    CellMemory, Confinement, DeathNote, Exit, FromCell, KernelCall, Lifespan, Link, LinkReader,
    Nursery, NurseryConfig, Program, REFUSALS_TOLD, Run, Starter, ToCell,
};
use tempfile::TempDir;

/// How long a cell may take for anything.
const GUARD: Duration = Duration::from_secs(60);

/// The longest text that a cell says here, bytes.
const LONGEST_TEXT: u64 = 1 << 20;

/// The processes of cells that are confined, or are not.
struct Cells {
    nursery: Nursery,
}

impl Cells {
    fn new(confinement: Confinement) -> Self {
        Self::with_jit(confinement, Jit::On)
    }

    fn with_jit(confinement: Confinement, jit: Jit) -> Self {
        let program = Program::At(env!("CARGO_BIN_EXE_hostile_cell").into());
        let starter = Starter::start(&program).expect("a starter starts");
        let config = NurseryConfig {
            heap_bytes: DEFAULT_HEAP_BYTES,
            data_bytes: CellMemory::for_limits(DEFAULT_HEAP_BYTES, DEFAULT_HEAP_BYTES).bytes,
            ready: 2,
            confinement,
            jit,
            lifespan: Lifespan::default(),
        };
        let handle = tokio::runtime::Handle::current();
        Self {
            nursery: Nursery::new(Arc::new(starter), config, &handle),
        }
    }

    /// A cell that runs this script.
    async fn run(&self, source: &str) -> Cell {
        let child = self.nursery.birth().await.expect("a process is born");
        let (link, mut reader) = child.link().expect("a reactor runs");
        reader.set_bounds(LONGEST_TEXT, Duration::ZERO);
        link.send(&ToCell::Run(Box::new(Run {
            source: source.to_owned(),
            limits: EffectiveLimits::of_operator(&CellLimits::default(), 1 << 20, 1 << 20),
            answer_spin: Duration::ZERO,
            options: ScriptOptions::default(),
            tools: Vec::new(),
            stored: Some(Vec::new()),
        })));
        Cell { link, reader }
    }
}

/// A cell that runs.
struct Cell {
    link: Link,
    reader: LinkReader,
}

/// How a cell has ended.
#[derive(Debug, PartialEq)]
enum End {
    /// By itself: what it has put out.
    Texts(Vec<String>),
    /// By a call that is forbidden.
    Forbidden(KernelCall),
    /// Without a word.
    Silence(Exit),
}

impl Cell {
    fn pid(&self) -> i32 {
        self.link.process().pid()
    }

    async fn next(&mut self) -> Option<FromCell> {
        let next = self.reader.next(&self.link, false);
        let next = tokio::time::timeout(GUARD, next).await;
        next.expect("the cell says something")
            .expect("what it says makes sense")
    }

    /// The next text.
    async fn text(&mut self) -> String {
        match self.next().await {
            Some(FromCell::Output(ContentItem::Text(text))) => text,
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    async fn end(mut self) -> End {
        let mut texts = Vec::new();
        let end = loop {
            match self.next().await {
                Some(FromCell::Output(ContentItem::Text(text))) => texts.push(text),
                Some(FromCell::End(None)) => break End::Texts(texts),
                Some(FromCell::Note(DeathNote::Forbidden(number))) => {
                    break End::Forbidden(KernelCall(number));
                }
                None => {
                    let exit = self.link.reap().await;
                    return End::Silence(exit.expect("the process is reaped"));
                }
                other => panic!("a cell said {other:?}"),
            }
        };
        self.link.process().kill();
        self.link.reap().await.expect("the process is reaped");
        end
    }
}

/// What stands around the cells, for as long as it lives.
struct World {
    folder: TempDir,
    port: u16,
    _listeners: (TcpListener, UnixListener, UnixListener),
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("read-me"), "secret").expect("a file");
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = tcp.local_addr().expect("an address").port();
        let unix = UnixListener::bind(folder.path().join("listening")).expect("a socket");
        let mut world = Self {
            folder,
            port,
            _listeners: (tcp, unix.try_clone().expect("a descriptor"), unix),
        };
        let name = world.around(0).abstract_name();
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        world._listeners.2 = UnixListener::bind_addr(&address).expect("a socket");
        world
    }

    fn around(&self, neighbour: i32) -> Surroundings {
        Surroundings {
            host: std::process::id().cast_signed(),
            secret: (&raw const SECRET).expose_provenance(),
            neighbour,
            port: self.port,
            folder: self.folder.path().to_owned(),
        }
    }
}

/// What an attempt has come to.
#[derive(Debug)]
enum Outcome {
    Succeeded,
    /// It failed, with these words, and its cell went on.
    Failed(String),
    /// Its cell was ended, for this call.
    Ended(KernelCall),
    /// Its cell was ended for a call that it made with all signals blocked, so nobody could say which.
    Killed,
}

/// Has a cell try something beside a neighbour, who must not notice.
async fn try_in(cells: &Cells, attempt: &Attempt) -> Outcome {
    let world = World::new();
    let neighbour_source = "text('here'); const until = Date.now() + 1e6; \
        await new Promise(r => setTimeout(r, until)); text('never')";
    let mut neighbour = cells.run(neighbour_source).await;
    assert_eq!(neighbour.text().await, "here");
    let around = world.around(neighbour.pid());
    let key = format!("attempt: {}: {}", attempt.name, around.encode());
    let cell = cells.run(&format!("text(load({key:?}))")).await;
    let end = cell.end().await;
    assert!(
        neighbour
            .link
            .process()
            .try_reap()
            .expect("a child")
            .is_none(),
        "{} has ended a neighbour",
        attempt.name
    );
    let trace = match attempt.proof {
        Proof::Word => None,
        Proof::Trace(name) => Some(around.place(name)),
    };
    match (trace, end) {
        (Some(trace), end) if trace.exists() => {
            assert!(
                !matches!(end, End::Forbidden(_)),
                "{} left a trace, and was ended",
                attempt.name
            );
            Outcome::Succeeded
        }
        (_, End::Forbidden(call)) => Outcome::Ended(call),
        (_, End::Silence(Exit::Signal(libc::SIGSYS))) => Outcome::Killed,
        (None, End::Texts(texts)) if texts == ["done"] => Outcome::Succeeded,
        (_, end) => Outcome::Failed(format!("{end:?}")),
    }
}

/// The attempts that end nobody: one finds nothing to use, and one makes a call that is refused without
/// the signal that would have ended it.
const ENDING_NOBODY: [&str; 2] = [
    "use an inherited descriptor",
    "go on after a forbidden call",
];

#[tokio::test]
async fn what_a_confined_cell_must_not_do_fails_and_ends_nobody_else() {
    let cells = Cells::new(Confinement::BestEffort);
    for attempt in ATTEMPTS {
        match try_in(&cells, attempt).await {
            Outcome::Ended(call) => assert!(call.name().is_some(), "{}: {call}", attempt.name),
            // So does the C library when it makes a thread.
            Outcome::Killed if attempt.name == "make a thread" => {}
            Outcome::Failed(words) if ENDING_NOBODY.contains(&attempt.name) => {
                assert!(words.starts_with("Texts"), "{}: {words}", attempt.name);
            }
            other => panic!("{}: {other:?}", attempt.name),
        }
        assert_eq!(
            cells.run("text('next')").await.end().await,
            End::Texts(vec!["next".to_owned()]),
            "after a cell has tried to {}",
            attempt.name
        );
    }
}

#[tokio::test]
async fn the_same_attempts_succeed_without_confinement() {
    // Where the kernel lets only chosen processes be traced, this one chooses all.
    // SAFETY: the call takes two numbers.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let cells = Cells::new(Confinement::None);
    let mut refused = Vec::new();
    for attempt in ATTEMPTS {
        match try_in(&cells, attempt).await {
            Outcome::Succeeded => {}
            other => refused.push(format!("{}: {other:?}", attempt.name)),
        }
    }
    assert!(refused.is_empty(), "these prove nothing: {refused:#?}");
}

#[tokio::test]
async fn without_machine_code_scripts_run_and_no_memory_becomes_code() {
    let cells = Cells::with_jit(Confinement::BestEffort, Jit::Off);
    let source = "let s = 0; for (let i = 0; i < 1e6; i++) s += i % 7; text(s); \
        text('aXbX'.replace(/x/gi, '-')); text(new Function('return 2')()); \
        text([3, 1, 2].sort().join()); text(new Intl.NumberFormat('de').format(1234.5))";
    let texts = ["2999997", "a-b-", "2", "1,2,3", "1.234,5"].map(str::to_owned);
    assert_eq!(
        cells.run(source).await.end().await,
        End::Texts(texts.to_vec())
    );
    match try_in(&cells, &MAKE_CODE).await {
        Outcome::Ended(call) => assert_eq!(call.name(), Some("mmap")),
        other => panic!("{other:?}"),
    }
    let cells = Cells::new(Confinement::BestEffort);
    let made = try_in(&cells, &MAKE_CODE).await;
    assert!(matches!(made, Outcome::Succeeded), "{made:?}");
}

#[tokio::test]
async fn a_confined_cell_that_was_stopped_goes_on() {
    let cells = Cells::new(Confinement::BestEffort);
    let source = "text('here'); await new Promise(r => setTimeout(r, 300)); text('there')";
    let mut cell = cells.run(source).await;
    assert_eq!(cell.text().await, "here");
    let stat = format!("/proc/{}/stat", cell.pid());
    let state = || {
        let stat = std::fs::read_to_string(&stat).expect("the process is there");
        stat.rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
    };
    for (signal, expected) in [(libc::SIGSTOP, 'T'), (libc::SIGCONT, 'S')] {
        // SAFETY: the call takes two numbers; the process is a child that was not reaped.
        unsafe { libc::kill(cell.pid(), signal) };
        let begun = std::time::Instant::now();
        while state() != Some(expected) {
            assert!(begun.elapsed() < GUARD, "the cell is never {expected}");
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(cell.end().await, End::Texts(vec!["there".to_owned()]));
}

#[tokio::test]
async fn a_forbidden_call_is_known_by_its_name() {
    let cells = Cells::new(Confinement::BestEffort);
    for (name, expected) in [
        ("read a file", "openat"),
        ("execute a program", "execve"),
        ("listen over TCP", "socket"),
        ("signal the host", "kill"),
    ] {
        let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == name);
        let attempt = attempt.expect("there is such an attempt");
        match try_in(&cells, attempt).await {
            Outcome::Ended(call) => assert_eq!(call.name(), Some(expected), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// What a host does as well: it asks about files, makes channels and threads, and has the descriptors
/// that it was started with.
const ALLOWED_TO_HOSTS: [&str; 4] = [
    "look at a file",
    "make a pair of sockets",
    "make a thread",
    "use an inherited descriptor",
];

/// Has a process that is confined as a host is try something: whether it has succeeded, and what stands
/// on its standard error.
fn try_as_host(confinement: &str, listening: &str, attempt: &Attempt) -> (bool, String) {
    let world = World::new();
    let around = world.around(0);
    let tried = std::process::Command::new(env!("CARGO_BIN_EXE_hostile_host"))
        .args([confinement, listening, attempt.name, &around.encode()])
        .output()
        .expect("it can be started");
    let word = String::from_utf8_lossy(&tried.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&tried.stderr).into_owned();
    let succeeded = match attempt.proof {
        Proof::Word => word == "done",
        Proof::Trace(name) => around.place(name).exists(),
    };
    assert!(
        succeeded || word == "done" || word.starts_with("refused: "),
        "{}: {word}, {:?}, {stderr}",
        attempt.name,
        tried.status
    );
    (succeeded, stderr)
}

#[test]
fn what_a_confined_host_must_not_do_is_refused_and_named_and_succeeds_otherwise() {
    // As above.
    // SAFETY: the call takes two numbers.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    // A host has no neighbour.
    let rows = ATTEMPTS
        .iter()
        .filter(|attempt| !attempt.name.contains("neighbour"));
    for attempt in rows {
        let (succeeded, _) = try_as_host("none", "stdio", attempt);
        assert!(succeeded, "{} proves nothing", attempt.name);
        let allowed = ALLOWED_TO_HOSTS.contains(&attempt.name);
        for listening in ["stdio", "sockets"] {
            let (succeeded, stderr) = try_as_host("best-effort", listening, attempt);
            assert_eq!(
                succeeded, allowed,
                "{} on {listening}: {stderr}",
                attempt.name
            );
            if allowed {
                assert_eq!(stderr, "", "{}", attempt.name);
            }
        }
    }
    let attempt = |name: &str| {
        let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == name);
        attempt.expect("there is such an attempt")
    };
    for (name, call) in [
        ("execute a program", "execve, number 59"),
        ("fork", "clone, number 56"),
        ("write a file", "openat, number 257"),
        ("connect over TCP", "socket, number 41"),
        ("signal the host", "kill, number 62"),
    ] {
        let (_, stderr) = try_as_host("best-effort", "sockets", attempt(name));
        let expected = format!("code_mode_host: a call into the kernel was refused: {call}\n");
        assert_eq!(stderr, expected, "{name}");
    }
}

#[test]
fn a_host_that_is_refused_again_and_again_fills_no_log() {
    let world = World::new();
    let attempt = ATTEMPTS
        .iter()
        .find(|attempt| attempt.name == "signal the host");
    let name = attempt.expect("there is such an attempt").name;
    let around = world.around(0).encode();
    for (times, told) in [
        (REFUSALS_TOLD, REFUSALS_TOLD),
        (2 * REFUSALS_TOLD, REFUSALS_TOLD),
    ] {
        let tried = std::process::Command::new(env!("CARGO_BIN_EXE_hostile_host"))
            .args(["best-effort", "stdio", name, &around, &times.to_string()])
            .output()
            .expect("it can be started");
        let word = String::from_utf8_lossy(&tried.stdout);
        assert!(word.starts_with("refused: "), "{word}");
        let stderr = String::from_utf8_lossy(&tried.stderr);
        let refused = "code_mode_host: a call into the kernel was refused: kill, number 62";
        assert_eq!(stderr.lines().filter(|line| *line == refused).count(), told);
    }
}
