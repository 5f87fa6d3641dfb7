// SPDX-License-Identifier: Apache-2.0
//! The options that say which host to use.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Which host to use.
#[derive(Debug, Default, Args)]
pub struct HostArgs {
    /// The code_mode_host program (else CODE_MODE_HOST, else beside this program)
    #[arg(long, value_name = "PATH|URL", value_hint = ValueHint::FilePath)]
    pub host: Option<PathBuf>,
}
