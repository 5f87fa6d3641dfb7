// SPDX-License-Identifier: Apache-2.0
//! What every command works with.

use std::path::PathBuf;

use crate::settings::Settings;

/// What a command works with beside its arguments.
pub struct Context {
    /// Where relative paths start and tools run.
    pub folder: PathBuf,
    /// The defaults of the configuration.
    pub settings: Settings,
    /// The version of this program.
    pub version: &'static str,
}
