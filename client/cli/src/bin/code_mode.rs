// SPDX-License-Identifier: Apache-2.0
//! The program `code_mode`; everything is in [`code_mode_cli`].

use std::process::ExitCode;

/// The version, with the revision where the build was stamped with one. Only programs are stamped, so
/// that another revision of the same sources compiles nothing anew.
const VERSION: &str = match option_env!("CODE_MODE_STAMPED_VERSION") {
    Some(stamped) => stamped,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    code_mode_cli::main(VERSION, std::env::args_os().skip(1))
}
