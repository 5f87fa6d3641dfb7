// SPDX-License-Identifier: Apache-2.0
//! A soak of a few seconds over the real host process: nothing is wrong and nothing is left.

use std::path::PathBuf;
use std::process::Command;

use code_mode_testsuite::host_program;
use pretty_assertions::assert_eq;

#[test]
fn a_host_comes_back_to_what_it_was_after_mixed_work_floods_and_kills() {
    let program = std::path::absolute(PathBuf::from(env!("CARGO_BIN_EXE_soak"))).expect("a path");
    let output = Command::new(program)
        .args([
            "--seconds",
            "5",
            "--sample",
            "1",
            "--workers",
            "3",
            "--host",
        ])
        .arg(host_program())
        .output()
        .expect("the program runs");
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{table}");
    assert_eq!(output.status.code(), Some(0), "{table}");
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(lines[0][..4], ["seconds", "done", "killed", "wrong"]);
    assert!(lines.len() >= 4, "{table}");
    let last = lines.last().expect("there are lines");
    let done: u64 = last[1].parse().expect("a number");
    assert!(done > 64, "{table}");
    assert_eq!(last[3], "0", "{table}");
}
