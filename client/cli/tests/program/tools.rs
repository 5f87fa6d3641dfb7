// SPDX-License-Identifier: Apache-2.0
//! `code_mode describe`, `doctor`, `completions` and `man`.

use super::support::Fixture;
use pretty_assertions::assert_eq;
use serde_json::Value;

#[test]
fn a_healthy_host_passes_every_check() {
    let outcome = Fixture::new().run(&["doctor"]);
    assert_eq!(
        outcome.status,
        Some(0),
        "{}{}",
        outcome.stdout,
        outcome.stderr
    );
    for check in [
        "memory",
        "host program",
        "version",
        "sandbox",
        "confinement",
        "handshake",
        "capabilities",
        "start-up",
        "ICU",
        "tool call",
        "ten execs",
        "heap limit",
        "CPU limit",
    ] {
        let line = outcome
            .stdout
            .lines()
            .find(|line| line.get(5..).is_some_and(|rest| rest.starts_with(check)));
        // Free memory is a matter of the machine.
        let marks: &[&str] = if check == "memory" {
            &["ok  ", "warn"]
        } else {
            &["ok  "]
        };
        let mark = line
            .and_then(|line| line.get(..4))
            .unwrap_or_else(|| panic!("no {check}"));
        assert!(marks.contains(&mark), "{}", outcome.stdout);
    }
}

#[test]
fn a_broken_host_fails_with_what_to_do() {
    let outcome = Fixture::new().run(&["doctor", "--host", "/bin/false"]);
    assert_eq!(outcome.status, Some(1));
    assert!(
        outcome.stdout.contains("FAIL version"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("FAIL handshake"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("what to do: "),
        "{}",
        outcome.stdout
    );
    let outcome = Fixture::new().run(&["doctor", "--host", "none"]);
    assert!(
        outcome.stdout.contains("FAIL host program"),
        "{}",
        outcome.stdout
    );
    assert_eq!(outcome.status, Some(1));
}

#[test]
fn descriptions_help_and_version_need_no_host() {
    let fixture = Fixture::new();
    fixture.tools(&[("get-it", "cat")]);
    let described = fixture.run(&["describe", "--tools", "tools.json"]);
    assert!(
        described
            .stdout
            .contains("get_it(input?: unknown): Promise<unknown>;")
    );
    assert!(
        fixture
            .run(&["help", "run"])
            .stdout
            .contains("--timeout <D>")
    );
    assert!(fixture.run(&["--version"]).stdout.starts_with("code_mode "));
    assert_eq!(fixture.run(&["help"]).status, Some(0));
}

#[test]
fn doctor_and_describe_speak_json() {
    let fixture = Fixture::new();
    let outcome = fixture.run(&["doctor", "--json", "--host", "none"]);
    let checks: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = checks.last().unwrap();
    assert_eq!(
        (&last["check"], &last["status"]),
        (&"host program".into(), &"fail".into())
    );
    assert!(last["remedy"].is_string(), "{last}");
    assert_eq!(outcome.status, Some(1));
    fixture.tools(&[("get-it", "cat")]);
    let outcome = fixture.run(&["describe", "--json", "--tools", "tools.json"]);
    let described: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(described["tools"][0]["script_name"], "get_it");
}

#[test]
fn completions_and_man_pages_are_made_from_the_command_line() {
    let fixture = Fixture::new();
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef code_mode"),
        ("fish", "complete -c code_mode"),
    ] {
        let outcome = fixture.run(&["completions", shell]);
        assert_eq!(outcome.status, Some(0));
        assert!(outcome.stdout.contains(mark), "{shell}: {}", outcome.stdout);
    }
    assert_eq!(fixture.run(&["man", "pages"]).status, Some(0));
    let pages = fixture.folder.path().join("pages");
    let run = std::fs::read_to_string(pages.join("code_mode-run.1")).unwrap();
    assert!(run.contains("timeout"), "{run}");
    assert!(pages.join("code_mode.1").is_file());
    assert!(!pages.join("code_mode-tool-guard.1").exists());
}

#[test]
fn a_reader_of_a_description_that_goes_away_is_status_141() {
    let fixture = Fixture::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for arguments in [
        ["describe", "--json"],
        ["completions", "bash"],
        ["help", "run"],
    ] {
        let mut command = fixture.command(&arguments);
        command.stdout(writer.try_clone().unwrap());
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(141), "{arguments:?}");
    }
}
