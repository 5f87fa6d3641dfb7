// SPDX-License-Identifier: Apache-2.0
//! `code_mode describe`, `doctor`, `completions` and `man`.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::support::Fixture;
use code_mode_testsuite::host_program;
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
        "births",
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

/// What `doctor` says of the host under test, started with these arguments: its exit status and its checks by name.
fn examined(arguments: &str) -> (Option<i32>, BTreeMap<String, Value>) {
    let fixture = Fixture::new();
    let program = std::fs::canonicalize(host_program()).unwrap();
    let started = format!(
        "#!/bin/sh\nexec '{}' {arguments} \"$@\"\n",
        program.display()
    );
    let host = fixture.file("host.sh", &started);
    std::fs::set_permissions(&host, Permissions::from_mode(0o755)).unwrap();
    let outcome = fixture.run(&["doctor", "--json", "--host", host.to_str().unwrap()]);
    let checks = outcome.stdout.lines().map(|line| {
        let check: Value = serde_json::from_str(line).unwrap();
        (check["check"].as_str().unwrap().to_owned(), check)
    });
    (outcome.status, checks.collect())
}

#[test]
fn the_doctor_tells_how_cells_are_born_and_where() {
    let (status, checks) = examined("--limit ready-isolates=3");
    let births = &checks["births"];
    assert_eq!(
        (status, &births["status"]),
        (Some(0), &"ok".into()),
        "{births}"
    );
    let figures = &births["figures"];
    assert_eq!(
        (&figures["cells"], &figures["at_once"]),
        (&"forks".into(), &16.into())
    );
    // On a busy machine one may still be on its way.
    let ready = figures["ready"].as_u64().unwrap();
    assert!(ready <= 3, "{births}");
    let told = format!("cells are forked (1 zygote, {ready} ready ahead), the first after ");
    let detail = births["detail"].as_str().unwrap();
    assert!(detail.starts_with(&told), "{detail}");
    for time in ["first_ms", "at_once_ms"] {
        assert!(
            figures[time].as_f64().is_some_and(|time| time > 0.0),
            "{figures}"
        );
    }

    let (status, checks) = examined("--limit active-cells=2");
    assert_eq!(status, Some(0), "{checks:?}");
    assert_eq!(checks["births"]["figures"]["at_once"], 2);
}

#[test]
fn the_doctor_warns_of_cells_that_are_threads() {
    let (status, checks) = examined("--cells threads");
    let births = &checks["births"];
    assert_eq!(
        (status, &births["status"]),
        (Some(0), &"warn".into()),
        "{births}"
    );
    assert_eq!(births["figures"]["cells"], "threads");
    let remedy = births["remedy"].as_str().unwrap();
    assert!(remedy.contains("--cells threads"), "{remedy}");
}

#[test]
fn the_doctor_tells_why_no_cell_is_born_and_runs_no_more_scripts() {
    let (status, checks) = examined("--time-zone Europe/Nowhere");
    assert_eq!(status, Some(1), "{checks:?}");
    let births = &checks["births"];
    assert_eq!(births["status"], "fail", "{births}");
    let detail = births["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the first cell was not born: "),
        "{detail}"
    );
    assert!(detail.contains("Europe/Nowhere"), "{detail}");
    for check in ["ICU", "tool call", "ten execs", "heap limit", "CPU limit"] {
        assert_eq!(checks[check]["status"], "skip", "{check}");
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
