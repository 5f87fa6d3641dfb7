// SPDX-License-Identifier: Apache-2.0
//! The smallest program whose file can run cells: for embedders whose own program cannot call
//! [`code_mode_runtime::entry`] first of all, and for tests.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    code_mode_runtime::entry();
    // Whoever starts it by hand is told what it is; there is nothing else that it does.
    ExitCode::from(2)
}
