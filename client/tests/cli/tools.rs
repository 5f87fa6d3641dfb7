//! `code_mode repl`, `describe`, `doctor` and `help`.

use super::support::{Fixture, SIGNAL_HOST};
use pretty_assertions::assert_eq;

#[test]
fn the_prompt_shows_values_and_goes_on_after_errors() {
    let input = "1 + 1\nconst x = 5; text(x)\n[1,\n2].map((n) => n * 2)\n`a${\n1}`\nawait Promise.resolve('w');\n\
                 let y = ;\nthrow new Error('bad')\n'still here'\n";
    let outcome = Fixture::new().run_with_input(&["repl"], input);
    assert_eq!(outcome.stdout, "2\n5\n[2,4]\na1\nw\nstill here\n");
    assert!(outcome.stderr.contains("Error: bad"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("SyntaxError"), "{}", outcome.stderr);
    assert_eq!(outcome.status, Some(0));
}

#[test]
fn a_cell_goes_to_the_background_and_its_result_is_fetched() {
    let fixture = Fixture::new();
    fixture.gate();
    fixture.tools(&[("wait", "cat gate"), ("go", "echo > gate")]);
    let input = "text('first'); await tools.wait(); text('last');\n.cells\n\
                 await tools.go(); text('gone');\n.wait 1\n.cells\n";
    let arguments = ["repl", "--tools", "tools.json", "--yield-after", "2s"];
    let outcome = fixture.run_with_input(&arguments, input);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"first"), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("text('first'); await"),
        "{}",
        outcome.stdout
    );
    assert_eq!(lines[2..], ["gone", "last", "no cells in the background"]);
    assert!(
        outcome.stderr.contains("runs on; .wait"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_lost_host_is_said_and_the_next_entry_has_the_stored_values() {
    let fixture = Fixture::new();
    fixture.tools(&[("signal_host", SIGNAL_HOST)]);
    let input = "store('kept', 1);\nawait tools.signal_host('KILL');\nstore('new', load('kept') + 1);\n.store\n";
    let arguments = ["repl", "--tools", "tools.json", "--store", "store.json"];
    let outcome = fixture.run_with_input(&arguments, input);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.status),
        ("kept: 1\nnew: 2\n", Some(0))
    );
    assert!(
        outcome
            .stderr
            .contains("the next entry starts a fresh host"),
        "{}",
        outcome.stderr
    );
    let kept = std::fs::read_to_string(fixture.folder.path().join("store.json")).unwrap();
    assert_eq!(kept, "{\n  \"kept\": 1,\n  \"new\": 2\n}\n");
}

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
    assert!(fixture.run(&["help", "run"]).stdout.contains("--timeout D"));
    assert!(fixture.run(&["--version"]).stdout.starts_with("code_mode "));
    assert_eq!(fixture.run(&["help"]).status, Some(0));
}
