// SPDX-License-Identifier: Apache-2.0
//! The configuration of the MCP front end: where it is, and how people are told about it.

use std::env;
use std::path::PathBuf;

use code_mode_mcp::config::{self, Config};

use super::args::ConfigArgs;
use crate::context::Context;
use crate::output::Stream;
use crate::paths::resolve;
use crate::reporter::{Report, Reporter};
use crate::set_up_error::SetUpError;
use crate::settings::user_folder;

/// The configuration files of the command line, or else the user's own.
///
/// A file in the working folder never counts by itself: a folder that somebody else wrote must not choose
/// the programs that are started.
pub fn files(args: &ConfigArgs, context: &Context) -> Result<Vec<PathBuf>, SetUpError> {
    if args.config.is_empty() {
        return Ok(vec![own_file()?]);
    }
    Ok(args
        .config
        .iter()
        .map(|path| resolve(&context.folder, path))
        .collect())
}

/// The user's own file.
pub fn own_file() -> Result<PathBuf, SetUpError> {
    let folder = user_folder()
        .ok_or_else(|| SetUpError::new("name a file with --config: HOME is not set"))?;
    Ok(folder.join("code_mode/mcp.json"))
}

/// Reads the configuration and tells what was passed over.
pub async fn load(
    args: &ConfigArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Config, SetUpError> {
    let mut files = files(args, context)?;
    if args.config.is_empty() {
        // Nobody has named it, so it need not be there.
        files.retain(|file| file.exists());
    }
    let config = config::load(&files, &|name| env::var(name).ok()).map_err(SetUpError::new)?;
    for warning in &config.warnings {
        notice(reporter, warning.clone()).await;
    }
    Ok(config)
}

/// Words for people, unless they want none.
pub async fn notice(reporter: &Reporter, text: String) {
    reporter.report(Report::Notice(text)).await;
}

/// A result.
pub async fn print(reporter: &Reporter, text: String) {
    reporter.printer().line(Stream::Stdout, text).await;
}
