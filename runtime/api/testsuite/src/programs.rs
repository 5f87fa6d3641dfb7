// SPDX-License-Identifier: Apache-2.0
//! Where the programs are that tests run.

use std::path::PathBuf;

/// The host program under test: what `CODE_MODE_HOST` names, or else what Cargo has built beside the
/// test.
///
/// # Panics
/// When there is none: a test over the real host is about nothing else.
pub fn host_program() -> PathBuf {
    program("code_mode_host", "CODE_MODE_HOST")
}

/// A program of the package of its name: what the environment variable names, or else what Cargo has
/// built beside the test.
///
/// # Panics
/// When there is none.
#[track_caller]
fn program(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        // Absolute, because Bazel gives it relative to the test's working folder.
        return std::path::absolute(path).expect("a path");
    }
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("target/debug above target/debug/deps");
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is missing: build it with `cargo build -p {name}`, or set {variable}",
        program.display()
    );
    program
}
