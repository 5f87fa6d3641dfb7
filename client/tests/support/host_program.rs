// SPDX-License-Identifier: Apache-2.0
//! Where the host program under test is.

use std::path::PathBuf;

/// The host program under test: `CODE_MODE_HOST`, or what Cargo has built beside this test.
pub fn host_program() -> PathBuf {
    if let Some(path) = std::env::var_os("CODE_MODE_HOST") {
        // Absolute, because Bazel gives it relative to the test's working folder.
        return std::path::absolute(path).expect("a path");
    }
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("target/debug above target/debug/deps");
    let host = folder.join("code_mode_host");
    assert!(
        host.is_file(),
        "{} is missing: build it with `cargo build -p code_mode_host`, or set CODE_MODE_HOST",
        host.display()
    );
    host
}
