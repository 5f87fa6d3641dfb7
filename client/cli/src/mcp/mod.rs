//! `code_mode mcp`: the MCP front end, and what manages it.

pub mod args;
mod local;
mod manage;
mod serve;

use std::env;
use std::path::PathBuf;

use code_mode_mcp::config::{self, Config};

use crate::Context;
use crate::events::Reporter;
use crate::interrupts::Interrupts;
use crate::output::Stream;
use crate::paths::resolve;
use crate::session::SetUpError;
use crate::settings::user_folder;
use crate::status::Status;

use args::{ConfigArgs, McpArgs, McpCommand};

/// Carries out a command line of `code_mode mcp`.
pub async fn run(
    args: McpArgs,
    context: &Context,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Status {
    let done = match args.command {
        None => serve::run(args.serve, context, reporter, interrupts).await,
        Some(command) => tokio::select! {
            done = manage(command, context, reporter) => done,
            why = interrupts.next() => Ok(Status::of_termination(why)),
        },
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            reporter.problem(error.message).await;
            error.status
        }
    }
}

async fn manage(
    command: McpCommand,
    context: &Context,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    match command {
        McpCommand::Add(args) => manage::add(args, context, reporter).await,
        McpCommand::List(config) => manage::list(&config, context, reporter).await,
        McpCommand::Remove { name, config } => {
            manage::remove(&name, &config, context, reporter).await
        }
        McpCommand::Test { name, config } => {
            manage::test(name.as_deref(), &config, context, reporter).await
        }
        McpCommand::Log { file, failed } => {
            manage::log(&resolve(&context.folder, &file), failed, reporter).await
        }
        McpCommand::Install(args) => manage::install(args, context, reporter).await,
        McpCommand::Uninstall { client, yes } => manage::uninstall(client, yes, reporter).await,
    }
}

/// The configuration files of the command line, or else the user's own.
///
/// A file in the working folder never counts by itself: a folder that somebody else wrote must not choose
/// the programs that are started.
fn files(args: &ConfigArgs, context: &Context) -> Result<Vec<PathBuf>, SetUpError> {
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
fn own_file() -> Result<PathBuf, SetUpError> {
    let folder = user_folder()
        .ok_or_else(|| SetUpError::new("name a file with --config: HOME is not set"))?;
    Ok(folder.join("code_mode/mcp.json"))
}

/// Reads the configuration and tells what was passed over.
async fn load(
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

async fn notice(reporter: &Reporter, text: String) {
    reporter.report(crate::events::Event::Notice(text)).await;
}

async fn print(reporter: &Reporter, text: String) {
    reporter.printer().line(Stream::Stdout, text).await;
}
