// SPDX-License-Identifier: Apache-2.0
//! Every rule of the contract, against our host in this process and against the built program.

use std::process::Command;

use code_mode_host::HostConfig;
use code_mode_host::conformance::rules;

use crate::program::program;
use crate::support::play_here;

#[test]
fn the_host_in_this_process_keeps_every_rule() {
    let mut broken = Vec::new();
    for rule in rules().unwrap() {
        let config = HostConfig::of_arguments(&rule.arguments).unwrap();
        if let Err(mismatch) = play_here(config, &rule) {
            broken.push(format!("{}: {mismatch}", rule.rule));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_built_program_keeps_every_rule() {
    let host = program(
        option_env!("CARGO_BIN_EXE_code_mode_host"),
        "CODE_MODE_HOST",
    );
    let runner = program(
        option_env!("CARGO_BIN_EXE_conformance"),
        "CODE_MODE_CONFORMANCE",
    );
    let output = Command::new(runner)
        .args(["--host", &host])
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{table}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        table.contains("handshake/ready") && table.ends_with(", 0 differ\n"),
        "{table}"
    );
}

#[test]
fn the_runner_fails_when_a_rule_is_broken() {
    let runner = program(
        option_env!("CARGO_BIN_EXE_conformance"),
        "CODE_MODE_CONFORMANCE",
    );
    let run = |arguments: &[&str]| Command::new(&runner).args(arguments).output().unwrap();
    let broken = run(&["--host", "/bin/cat", "--rule", "handshake/ready"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&broken.stdout).contains("DIFFERS"));
    assert_eq!(run(&["--host", "/nonexistent"]).status.code(), Some(2));
    assert_eq!(run(&["--frobnicate"]).status.code(), Some(2));
}
