//! The program `code_mode`; everything is in [`code_mode_cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    code_mode_cli::main(std::env::args_os().skip(1))
}
