// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;
use crate::fake::FakeSubject;

/// Exit status, output and error output of the program over fake subjects.
fn run_line(line: &str, subject: &FakeSubject) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(
        &Program::Hosts { default_host: None },
        line.split_whitespace().map(OsString::from),
        |options| {
            let fake = |_| Box::new(subject.clone()) as Box<dyn Subject>;
            options.hosts.iter().map(fake).collect()
        },
        &mut out,
        &mut err,
    );
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.unwrap(), text(out), text(err))
}

const ONE: &str = "--host a --only back --samples 2 --warm-iterations 1";

#[test]
fn a_run_prints_its_table_and_succeeds() {
    let (status, out, err) = run_line(ONE, &FakeSubject::default());
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(
        out.contains("| warm exec, 0 tools, back to back | A  |  2 |"),
        "{out}"
    );
}

#[test]
fn json_is_one_object_on_one_line() {
    let (status, out, _) = run_line(&format!("{ONE} --json"), &FakeSubject::default());
    assert_eq!(status, 0);
    assert_eq!(out.lines().count(), 1);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["results"][0]["samples"], 2);
}

#[test]
fn a_failure_is_in_the_table_and_in_the_exit_status() {
    let subject = FakeSubject {
        error_text: Some("Error: no".to_owned()),
        ..FakeSubject::default()
    };
    let (status, out, _) = run_line(ONE, &subject);
    assert_eq!(status, 1);
    assert!(out.contains("failed: a script ended as"), "{out}");
}

#[test]
fn wrong_use_says_what_is_wrong_and_then_the_usage() {
    let (status, out, err) = run_line("--host a --samples 0", &FakeSubject::default());
    assert_eq!((status, out.as_str()), (2, ""));
    assert!(
        err.starts_with("exec_overhead: --samples has to be at least 1\n\nUsage: "),
        "{err}"
    );
}

#[test]
fn help_goes_to_the_output_and_succeeds() {
    let (status, out, err) = run_line("--help", &FakeSubject::default());
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("Usage: exec_overhead"));
}
