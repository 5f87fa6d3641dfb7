// SPDX-License-Identifier: Apache-2.0
//! `code_mode run`.

use std::fs;

use super::support::{Fixture, Running, SIGNAL_HOST, program};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

#[test]
fn text_goes_to_standard_output_and_the_status_is_0() {
    let fixture = Fixture::new();
    fixture.file(
        "a.js",
        "text('hello'); text({ a: [1, null] }); notify('half way');",
    );
    let outcome = fixture.run(&["run", "a.js"]);
    assert_eq!(outcome.stdout, "hello\n{\"a\":[1,null]}\n");
    assert_eq!(outcome.stderr, "[notify] half way\n");
    assert_eq!(outcome.status, Some(0));
}

#[test]
fn a_script_can_come_from_standard_input() {
    let outcome = Fixture::new().run_with_input(&["run", "-"], "text(await 42)");
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("42\n", Some(0)));
}

#[test]
fn scripts_have_the_globals_of_the_web_unless_somebody_says_otherwise() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text(typeof URL)");
    for (options, has) in [
        (&["run", "a.js"][..], "function\n"),
        (&["run", "a.js", "--globals", "contract"], "undefined\n"),
        (&["run", "a.js", "--globals", "web"], "function\n"),
    ] {
        let outcome = fixture.run(options);
        assert_eq!((outcome.stdout.as_str(), outcome.status), (has, Some(0)));
    }
}

#[test]
fn output_is_shown_while_the_script_runs_on() {
    let fixture = Fixture::new();
    fixture.gate();
    fixture.tools(&[("wait", "cat gate")]);
    fixture.file("a.js", "text('first'); await tools.wait(); text('second');");
    let mut running = Running::start(fixture.command(&["run", "a.js", "--tools", "tools.json"]));
    running.wait_for_stdout("first");
    fixture.file("gate", "\n");
    let outcome = running.finish();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("first\nsecond\n", Some(0))
    );
}

#[test]
fn images_are_named() {
    let fixture = Fixture::new();
    fixture.file(
        "a.js",
        "image('data:image/png;base64,' + 'A'.repeat(16384));",
    );
    let outcome = fixture.run(&["run", "a.js"]);
    assert_eq!(
        outcome.stdout,
        "[image 1: image/png, 12 KiB, detail high]\n"
    );
}

#[test]
fn tools_run_in_the_callers_folder_and_their_failures_are_errors_in_the_script() {
    let fixture = Fixture::new();
    fixture.tools(&[
        ("read", "cat note.txt"),
        ("fail", "echo no luck >&2; exit 3"),
        ("echo", "cat"),
    ]);
    fixture.file("note.txt", "written here");
    fixture.file(
        "a.js",
        "const [note, echo] = await Promise.all([tools.read(), tools.echo({ a: 1 })]);
         text(note); text(echo.a);
         try { await tools.fail(); } catch (e) { text(e.message); }",
    );
    let outcome = fixture.run(&["run", "a.js", "--tools", "tools.json"]);
    assert_eq!(
        outcome.stdout,
        "written here\n1\nsh failed with exit status: 3: no luck\n"
    );
    assert_eq!(outcome.status, Some(0));
}

#[test]
fn relative_paths_start_where_bazel_was_called() {
    let fixture = Fixture::new();
    fixture.tools(&[("read", "cat note.txt")]);
    fixture.file("note.txt", "written here");
    fixture.file("a.js", "text(await tools.read());");
    let mut command = fixture.command(&["run", "a.js", "--tools", "tools.json"]);
    command
        .current_dir("/")
        .env("BUILD_WORKING_DIRECTORY", fixture.folder.path());
    let outcome = Running::start(command).finish();
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("written here\n", Some(0))
    );
}

#[test]
fn a_failing_script_keeps_its_output_and_has_status_1() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text('before');\nthrow new TypeError('no');");
    fixture.file("b.js", "text('never');");
    let outcome = fixture.run(&["run", "--first", "a.js", "b.js"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("before\n", Some(1))
    );
    assert!(
        outcome.stderr.starts_with("a.js failed: TypeError: no"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("exec_main.mjs:2:7"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn wrong_usage_and_set_up_have_status_2_and_say_what_to_do() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text(1);");
    fixture.file(
        "tools.json",
        "[\n  {\"name\": \"a\", \"command\": \"ls\"}\n]",
    );
    for (arguments, expected) in [
        (
            vec!["run", "a.js", "--tool", "x"],
            "a similar argument exists: '--tools'",
        ),
        (
            vec!["run", "none.js"],
            "failed to read the script none.js: No such file",
        ),
        (
            vec!["run", "a.js", "--tools", "tools.json"],
            "error: [0].command: must be a list, not a string",
        ),
        (
            vec!["run", "a.js", "--store", "none/s.json"],
            "there is no folder",
        ),
        (
            vec!["run", "a.js", "--host", "none"],
            "the host program named by --host cannot be run",
        ),
        (
            vec!["run", "a.js", "--host", "/bin/false"],
            "could not be started",
        ),
        (
            vec!["run", "a.js", "--host", "grpc://localhost:1"],
            "Failed to connect to http://localhost:1",
        ),
        (vec!["run", "a.js", "--input", "{\"a\":}"], "--> --input:1:"),
    ] {
        let outcome = fixture.run(&arguments);
        assert_eq!(outcome.status, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
        assert!(
            outcome.stderr.contains(expected),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn a_host_that_is_nowhere_is_an_error_with_every_place() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text(1);");
    // Copied away, the program has no host beside it.
    let copy = fixture.folder.path().join("code_mode");
    fs::copy(program(), &copy).unwrap();
    let mut command = std::process::Command::new(copy);
    command
        .args(["run", "a.js"])
        .current_dir(fixture.folder.path())
        .env_remove("CODE_MODE_HOST")
        .env_remove("BUILD_WORKING_DIRECTORY");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches("/code_mode_host: ").count(), 4, "{stderr}");
}

#[test]
fn a_lost_host_has_status_3_and_its_cause_is_said() {
    let fixture = Fixture::new();
    fixture.tools(&[("signal_host", SIGNAL_HOST)]);
    fixture.file(
        "a.js",
        "text('before'); yield_control(); await tools.signal_host('KILL');",
    );
    fixture.file("b.js", "text('never');");
    let outcome = fixture.run(&["run", "--first", "a.js", "b.js", "--tools", "tools.json"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("before\n", Some(3))
    );
    assert!(
        outcome.stderr.contains("side effects: possible"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_script_that_takes_too_long_is_terminated() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text('before'); for (;;);");
    let outcome = fixture.run(&["run", "a.js", "--timeout", "500ms"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("before\n", Some(1))
    );
    assert_eq!(
        outcome.stderr,
        "a.js was terminated: timed out after 500ms\n"
    );
}

#[test]
fn scripts_of_one_run_share_the_session_and_the_store_file_outlives_it() {
    let fixture = Fixture::new();
    fixture.file("put.js", "store('n', { v: (load('n')?.v ?? 0) + 1 });");
    fixture.file("get.js", "text(load('n'));");
    for expected in ["{\"v\":1}\n", "{\"v\":2}\n"] {
        let outcome = fixture.run(&[
            "run",
            "--first",
            "put.js",
            "get.js",
            "--store",
            "store.json",
        ]);
        assert_eq!(
            (outcome.stdout.as_str(), outcome.status),
            (expected, Some(0))
        );
    }
    let kept: Value =
        serde_json::from_slice(&fs::read(fixture.folder.path().join("store.json")).unwrap())
            .unwrap();
    assert_eq!(kept, json!({"n": {"v": 2}}));
}

#[test]
fn what_fails_before_a_script_is_a_json_line_too() {
    let fixture = Fixture::new();
    fixture.file("a.js", "text(1);");
    let settings = fixture.file("user.toml", "timeout = 'soon'\n");
    let fine = fixture.file("fine.toml", "");
    for (arguments, file, expected) in [
        (
            vec!["run", "a.js", "--tool", "x", "--json"],
            &fine,
            "unexpected argument '--tool'",
        ),
        (vec!["run", "--json"], &fine, "no script given"),
        (
            vec!["run", "none.js", "--json"],
            &fine,
            "failed to read the script none.js",
        ),
        (
            vec!["run", "a.js", "--json", "--host", "none"],
            &fine,
            "cannot be run",
        ),
        (
            vec!["run", "a.js", "--json"],
            &settings,
            "Failed to understand the configuration",
        ),
        (
            vec!["describe", "--json", "--tools", "none.json"],
            &fine,
            "none.json",
        ),
    ] {
        let mut command = fixture.command(&arguments);
        command.env("CODE_MODE_CONFIG", file);
        let outcome = Running::start(command).finish();
        assert_eq!(outcome.status, Some(2), "{arguments:?}");
        let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(told["event"], "problem", "{arguments:?}");
        let message = told["message"].as_str().unwrap();
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
    // What stands behind -- is the script's.
    let outcome = fixture.run(&["run", "none.js", "--", "--json"]);
    assert_eq!((outcome.stdout.as_str(), outcome.status), ("", Some(2)));
}

#[test]
fn each_event_is_a_json_line() {
    let fixture = Fixture::new();
    fixture.tools(&[("echo", "cat")]);
    fixture.file(
        "a.js",
        "notify('n'); text(await tools.echo([1])); throw new Error('no');",
    );
    let outcome = fixture.run(&["run", "a.js", "--json", "--tools", "tools.json"]);
    assert_eq!(outcome.status, Some(1));
    let events: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let named = |name: &str| {
        events
            .iter()
            .find(|event| event["event"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(named("started")["script"], "a.js");
    assert_eq!(named("notification")["text"], "n");
    assert_eq!(named("tool_call")["input"], json!([1]));
    assert_eq!(named("tool_result")["result"], json!([1]));
    assert_eq!(named("text")["text"], "[1]");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["event"], &last["status"]),
        (&json!("ended"), &json!("failed"))
    );
    assert!(last["error"].as_str().unwrap().starts_with("Error: no"));
}

#[test]
fn a_reader_that_goes_away_ends_the_script_quietly() {
    let fixture = Fixture::new();
    fixture.tools(&[("pause", ":")]);
    fixture.file(
        "a.js",
        "for (;;) { text('x'.repeat(100000)); yield_control(); await tools.pause(); }",
    );
    let mut running = Running::start(fixture.command(&["run", "a.js", "--tools", "tools.json"]));
    running.wait_for_stdout("x");
    running.stop_reading();
    let outcome = running.finish();
    assert_eq!(outcome.status, Some(141));
    assert_eq!(
        outcome.stderr,
        "a.js was terminated: standard output can no longer be written\n"
    );
}

#[test]
fn dozens_of_tool_calls_run_in_parallel() {
    let fixture = Fixture::new();
    fixture.tools(&[("double", "echo $(( $(cat) * 2 ))")]);
    fixture.file(
        "a.js",
        "const all = await Promise.all(Array.from({ length: 100 }, (_, i) => tools.double(i)));
         text(all.reduce((a, b) => a + b));",
    );
    let outcome = fixture.run(&["run", "a.js", "--tools", "tools.json"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("9900\n", Some(0))
    );
}
