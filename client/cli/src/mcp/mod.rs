// SPDX-License-Identifier: Apache-2.0
//! `code_mode mcp`: the MCP front end, and what manages it.

pub mod args;
mod files;
mod local;
mod manage;
mod serve;

use crate::context::Context;
use crate::interrupts::Interrupts;
use crate::paths::resolve;
use crate::reporter::Reporter;
use crate::set_up_error::SetUpError;
use crate::status::Status;

use args::{McpArgs, McpCommand};

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
