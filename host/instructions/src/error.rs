// SPDX-License-Identifier: Apache-2.0
//! Why nothing could be counted.

use std::io;
use std::path::PathBuf;

/// Why nothing could be counted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Valgrind does not start: mostly it is not there.
    #[error(
        "Failed to start {program}: {source}. Nothing was counted; valgrind is part of the build root (tools/root/packages.txt)"
    )]
    Valgrind {
        /// The path that was tried.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The host does not take or give what it should.
    #[error("Failed to talk to the host: {0}")]
    Stream(#[from] io::Error),
    /// The host says something that the scenario does not expect.
    #[error("Failed to play the scenario: {0}")]
    Unexpected(String),
    /// The host does not go on.
    #[error("The host had not finished {scenario} after {seconds} s")]
    Stuck {
        /// The scenario's name.
        scenario: &'static str,
        /// How long it was waited for, seconds.
        seconds: u64,
    },
    /// The host, or valgrind in its place, ended with an error.
    #[error("The host under valgrind ended with {0}")]
    Ended(std::process::ExitStatus),
    /// Callgrind's file cannot be read.
    #[error("Failed to read callgrind's file {path}: {source}")]
    Profile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Callgrind's file has no total.
    #[error("Callgrind's file {0} has no line `summary:` with a number")]
    NoTotal(PathBuf),
    /// More repetitions took fewer instructions, so the count is not to be trusted.
    #[error(
        "{scenario}: {many} instructions with many repetitions, {few} with few; is the count right?"
    )]
    Backwards {
        /// The scenario's name.
        scenario: &'static str,
        /// Instructions with few repetitions.
        few: u64,
        /// Instructions with many.
        many: u64,
    },
}
