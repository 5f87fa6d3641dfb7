// SPDX-License-Identifier: Apache-2.0
//! The program `soak`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    code_mode_overhead::soak_main()
}
