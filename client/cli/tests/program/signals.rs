// SPDX-License-Identifier: Apache-2.0
//! How signals end `code_mode`, its scripts and their tools.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use pretty_assertions::assert_eq;

use super::support::{Fixture, GUARD, Running, SIGNAL_HOST};

/// A tool that tells that it runs, and leaves a child which holds the pipe `alive` open for writing for
/// as long as it lives.
const LINGER: &str = "(exec >alive; echo up; exec sleep 1000) & wait";

/// A pipe whose end tells that every process that holds it open for writing has gone.
struct Alive {
    pieces: mpsc::Receiver<Option<Vec<u8>>>,
}

impl Alive {
    fn new(fixture: &Fixture) -> Self {
        let path = fixture.folder.path().join("alive");
        let made = std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let (sender, pieces) = mpsc::channel();
        thread::spawn(move || read(&path, &sender));
        Self { pieces }
    }

    fn wait_until_up(&self) {
        assert_eq!(
            self.pieces.recv_timeout(GUARD).unwrap(),
            Some(b"up\n".to_vec())
        );
    }

    fn wait_until_gone(&self) {
        assert_eq!(self.pieces.recv_timeout(GUARD).unwrap(), None);
    }
}

fn read(path: &Path, pieces: &mpsc::Sender<Option<Vec<u8>>>) {
    // Opening waits for the first writer.
    let mut pipe = File::open(path).unwrap();
    let mut piece = [0; 64];
    while let Ok(read @ 1..) = pipe.read(&mut piece) {
        pieces.send(Some(piece[..read].to_vec())).unwrap();
    }
    // A test that has failed listens no more.
    let _ = pieces.send(None);
}

fn lingering(fixture: &Fixture) -> (Running, Alive) {
    let alive = Alive::new(fixture);
    fixture.tools(&[("linger", LINGER)]);
    fixture.file("a.js", "store('n', 1); text('up'); await tools.linger();");
    let arguments = [
        "run",
        "a.js",
        "--tools",
        "tools.json",
        "--store",
        "store.json",
    ];
    let running = Running::start(fixture.command(&arguments));
    alive.wait_until_up();
    (running, alive)
}

#[test]
fn each_signal_ends_tools_with_their_children_and_saves_the_store() {
    for (signal, status, words) in [
        (libc::SIGINT, 130, "interrupted by Ctrl-C"),
        (libc::SIGTERM, 143, "SIGTERM received"),
        (libc::SIGHUP, 129, "SIGHUP received"),
    ] {
        let fixture = Fixture::new();
        let (running, alive) = lingering(&fixture);
        running.signal_alone(signal);
        alive.wait_until_gone();
        let outcome = running.finish();
        assert_eq!(outcome.status, Some(status), "{}", outcome.stderr);
        assert_eq!(outcome.stderr, format!("a.js was terminated: {words}\n"));
        let kept = fs::read_to_string(fixture.folder.path().join("store.json")).unwrap();
        assert_eq!(kept, "{\n  \"n\": 1\n}\n");
    }
}

#[test]
fn tools_end_with_their_children_when_the_program_is_killed() {
    let fixture = Fixture::new();
    let (running, alive) = lingering(&fixture);
    running.signal_alone(libc::SIGKILL);
    alive.wait_until_gone();
    assert_eq!(running.finish().status, None);
}

#[test]
fn a_program_that_shall_outlive_its_terminal_does() {
    let fixture = Fixture::new();
    fixture.gate();
    fixture.tools(&[("wait", "cat gate")]);
    fixture.file(
        "a.js",
        "text('up'); yield_control(); await tools.wait(); text('done');",
    );
    let inner = fixture.command(&["run", "a.js", "--tools", "tools.json"]);
    let mut command = fixture.wrapped("sh", &["-c", "trap '' HUP; exec \"$@\"", "sh"], &inner);
    command.stdin(std::process::Stdio::null());
    let mut running = Running::start(command);
    running.wait_for_stdout("up");
    running.signal_alone(libc::SIGHUP);
    fixture.file("gate", "\n");
    let outcome = running.finish();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("up\ndone\n", Some(0))
    );
}

#[test]
fn ctrl_c_terminates_the_cell_and_says_so() {
    let fixture = Fixture::new();
    fixture.file(
        "a.js",
        "text('up'); yield_control(); await new Promise(() => {});",
    );
    fixture.file("b.js", "text('never');");
    let mut running = Running::start(fixture.command(&["run", "--first", "a.js", "b.js"]));
    running.wait_for_stdout("up");
    running.signal(libc::SIGINT);
    let outcome = running.finish();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("up\n", Some(130))
    );
    assert_eq!(
        outcome.stderr,
        "a.js was terminated: interrupted by Ctrl-C\n"
    );
}

#[test]
fn ctrl_c_ends_the_wait_for_a_script_that_does_not_come() {
    let fixture = Fixture::new();
    fixture.gate();
    // The script comes from a pipe that nobody writes to; opening it for both keeps it open.
    let both = std::fs::File::options()
        .read(true)
        .write(true)
        .open(fixture.folder.path().join("gate"))
        .unwrap();
    let mut command = fixture.command(&["run", "-"]);
    command.stdin(both.try_clone().unwrap());
    let running = Running::start(command);
    running.wait_until_it_catches(libc::SIGINT);
    running.signal(libc::SIGINT);
    let outcome = running.finish();
    assert_eq!(outcome.status, Some(130));
    assert!(
        outcome.stderr.starts_with("nothing was run: "),
        "{}",
        outcome.stderr
    );
}

#[test]
fn sigterm_terminates_the_cell_with_a_status_of_its_own() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text('up'); yield_control(); for (;;);");
    let mut running = Running::start(fixture.command(&["run", "a.js"]));
    running.wait_for_stdout("up");
    running.signal(libc::SIGTERM);
    let outcome = running.finish();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("up\n", Some(143))
    );
}

#[test]
fn a_second_ctrl_c_kills_even_a_host_that_is_stuck() {
    let fixture = Fixture::new();
    fixture.tools(&[("signal_host", SIGNAL_HOST)]);
    fixture.file(
        "a.js",
        "text('up'); yield_control(); await tools.signal_host('STOP');",
    );
    let mut running =
        Running::start(fixture.command(&["run", "a.js", "--json", "--tools", "tools.json"]));
    running.wait_for_stdout("tool_result");
    running.signal(libc::SIGINT);
    running.wait_for_stderr("Ctrl-C again to leave without waiting");
    running.signal(libc::SIGINT);
    let outcome = running.finish();
    assert_eq!(outcome.status, Some(130));
    assert!(
        outcome.stderr.contains("killed by a second signal"),
        "{}",
        outcome.stderr
    );
}
