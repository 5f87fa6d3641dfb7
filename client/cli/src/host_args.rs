// SPDX-License-Identifier: Apache-2.0
//! The options that say which host to use.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Which host to use.
#[derive(Debug, Default, Args)]
pub struct HostArgs {
    /// The code_mode_host program, or the address of a host: https://HOST:PORT, http://HOST:PORT or unix:PATH
    /// (else CODE_MODE_HOST, else beside this program)
    #[arg(long, value_name = "PATH|URL", value_hint = ValueHint::FilePath)]
    pub host: Option<PathBuf>,
    /// A file with the token that the host at an address asks for
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub host_token_file: Option<PathBuf>,
    /// The certificates, in PEM, that may vouch for an https host (else those that this machine trusts)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub host_ca_file: Option<PathBuf>,
}
