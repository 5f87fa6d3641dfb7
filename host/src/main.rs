//! The program `code_mode_host`; see [`code_mode_host::process`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    code_mode_host::process::main()
}
