// SPDX-License-Identifier: Apache-2.0
//! The program `exec_overhead` over the real host process; nothing here looks at a time.

use std::path::PathBuf;
use std::process::{Command, Output};

use code_mode_testsuite::host_program;
use pretty_assertions::assert_eq;
use serde_json::Value;

/// The scenario that starts fastest, measured as briefly as can be.
const BRIEF: [&str; 8] = [
    "--samples",
    "2",
    "--rounds",
    "1",
    "--warm-iterations",
    "1",
    "--only",
    "warm exec, 0",
];

fn exec_overhead(arguments: &[&str]) -> Output {
    // Absolute, because Bazel gives it relative to the test's working folder.
    let program = std::path::absolute(PathBuf::from(env!("CARGO_BIN_EXE_exec_overhead")));
    Command::new(program.expect("a path"))
        .args(arguments)
        .env("CODE_MODE_HOST", host_program())
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output is text")
}

#[test]
fn the_table_has_a_line_for_each_scenario_that_is_chosen() {
    let output = exec_overhead(&BRIEF);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(
        table.starts_with(&format!("A: {}\n", host_program().display())),
        "{table}"
    );
    for scenario in ["warm exec, 0 tools ", "warm exec, 0 tools, back to back "] {
        let line = format!("| {scenario}");
        assert_eq!(table.matches(&line).count(), 1, "{table}");
    }
}

#[test]
fn two_hosts_with_arguments_of_their_own_take_turns_and_json_holds_their_figures() {
    let host = host_program();
    let host = host.to_str().expect("a path that is text");
    let hosts = [
        "--host",
        host,
        "--host-arg",
        "--limit",
        "--host-arg",
        "active-cells=2",
    ];
    let parked = ["--host", host, "--json", "--only", "10 parked cells"];
    let output = exec_overhead(&[&hosts[..], &parked, &BRIEF[..6], &["--pause", "0"]].concat());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        json["subjects"][0]["name"],
        format!("{host} --limit active-cells=2")
    );
    let results = json["results"].as_array().expect("a list of results");
    let scenarios: Vec<&Value> = results.iter().map(|result| &result["scenario"]).collect();
    assert_eq!(scenarios, ["10 parked cells", "10 parked cells"]);
    assert_eq!(results[0]["samples"], 2);
    assert_eq!(
        results[0]["note"],
        "stopped at 2 of 10 by the host's cap of 2 active cells"
    );
    assert_eq!(results[1]["samples"], 10);
    assert_eq!(results[1]["note"], Value::Null);
    assert!(results[1]["kib_per_cell"].is_number(), "{json}");
    assert!(results[1]["p50_over_first"].is_number(), "{json}");
}

#[test]
fn a_host_is_measured_over_each_transport() {
    let host = host_program();
    let host = host.to_str().expect("a path that is text");
    let hosts = [
        "--host",
        host,
        "--transport",
        "grpc",
        "--host",
        host,
        "--transport",
        "unix",
        "--host",
        host,
        "--transport",
        "grpc+stdio",
    ];
    let output = exec_overhead(&[&hosts[..], &BRIEF].concat());
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    let legend = format!("A: {host} over grpc\nB: {host} over unix\nC: {host} over grpc+stdio\n");
    assert!(table.starts_with(&legend), "{table}");
}

#[test]
fn a_host_that_cannot_be_started_fails_the_run_and_says_why() {
    let output = exec_overhead(&[&BRIEF[..], &["--host", "/nowhere/at/all"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    assert!(
        table.contains("failed: the code-mode host could not be started"),
        "{table}"
    );
}

#[test]
fn wrong_use_is_status_two_with_the_reason_and_the_usage() {
    let output = exec_overhead(&["--samples", "0"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let error = text(&output.stderr);
    assert!(
        error.starts_with("exec_overhead: --samples has to be at least 1\n\nUsage: "),
        "{error}"
    );
}
