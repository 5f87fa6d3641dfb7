// SPDX-License-Identifier: Apache-2.0
//! How signals end `code_mode`, its scripts and their tools.

use std::fs;

use code_mode_testsuite::Alive;
use pretty_assertions::assert_eq;

use super::support::{Fixture, Running, SIGNAL_HOST};

fn lingering(fixture: &Fixture) -> (Running, Alive) {
    let alive = Alive::new(fixture.folder.path());
    fixture.tools(&[("linger", &alive.script())]);
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
