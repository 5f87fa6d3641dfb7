// SPDX-License-Identifier: Apache-2.0
//! `code_mode mcp add`, `list`, `remove`, `test`, `log`, `install` and `uninstall`.

use std::env;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use code_mode_mcp::audit::{self, AuditEvent, Outcome};
use code_mode_mcp::clients::{Client, Places, Plan};
use code_mode_mcp::config::TransportSpec;
use code_mode_mcp::edit::Document;
use code_mode_mcp::upstream::{Upstreams, shown};
use serde_json::{Value, json};

use super::args::{AddArgs, ClientName, ConfigArgs, InstallArgs};
use super::files::{files, load, notice, own_file, print};
use crate::context::Context;
use crate::reporter::Reporter;
use crate::set_up_error::SetUpError;
use crate::status::Status;

/// The object that holds the servers in a file of ours.
const MEMBER: &str = "mcpServers";

pub async fn add(
    args: AddArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    let server = match (&args.url, args.command.split_first()) {
        (Some(url), None) => with_table(json!({"url": url}), "headers", &args.headers),
        (None, Some((program, rest))) => with_table(
            json!({"command": program, "args": rest}),
            "env",
            &args.environment,
        ),
        _ => {
            return Err(SetUpError::new(
                "name the server's program behind --, or its address with --url",
            ));
        }
    };
    let path = one_file(&args.config, context)?;
    let mut document = Document::open(&path).map_err(SetUpError::new)?;
    let member = member_of(&document);
    document
        .set(member, &args.name, &server)
        .map_err(SetUpError::new)?;
    document.change().apply().map_err(SetUpError::new)?;
    notice(
        reporter,
        format!(
            "{} is in {}; try it: code_mode mcp test {}",
            args.name,
            path.display(),
            args.name
        ),
    )
    .await;
    Ok(Status::Completed)
}

/// A file of Codex names its servers otherwise.
fn member_of(document: &Document) -> &'static str {
    if document.names("mcp_servers").is_empty() {
        MEMBER
    } else {
        "mcp_servers"
    }
}

fn with_table(mut server: Value, member: &str, pairs: &[(String, String)]) -> Value {
    if !pairs.is_empty() {
        let table = pairs
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        server[member] = Value::Object(table.collect());
    }
    server
}

fn one_file(args: &ConfigArgs, context: &Context) -> Result<PathBuf, SetUpError> {
    let mut files = files(args, context)?;
    match files.len() {
        1 => Ok(files.remove(0)),
        _ => Err(SetUpError::new("name one file with --config")),
    }
}

pub async fn remove(
    name: &str,
    args: &ConfigArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    let path = one_file(args, context)?;
    let mut document = Document::open(&path).map_err(SetUpError::new)?;
    let member = member_of(&document);
    if !document.remove(member, name) {
        return Err(SetUpError::new(format!(
            "{} has no server {name}",
            path.display()
        )));
    }
    document.change().apply().map_err(SetUpError::new)?;
    notice(
        reporter,
        format!("{name} is no longer in {}", path.display()),
    )
    .await;
    Ok(Status::Completed)
}

pub async fn list(
    args: &ConfigArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    let config = load(args, context, reporter).await?;
    if config.servers.is_empty() {
        notice(reporter, "there are no servers".to_owned()).await;
    }
    for server in &config.servers {
        let line = match &server.transport {
            Ok(spec) => format!("{}\t{}", server.name, described(spec)),
            Err(problem) => format!("{}\tcannot be used: {problem}", server.name),
        };
        print(reporter, line).await;
    }
    Ok(Status::Completed)
}

/// Without arguments and headers, which may hold credentials.
fn described(spec: &TransportSpec) -> String {
    match spec {
        TransportSpec::Command { arguments, .. } if !arguments.is_empty() => {
            format!("{} with {} arguments", shown(spec), arguments.len())
        }
        _ => shown(spec),
    }
}

pub async fn test(
    name: Option<&str>,
    args: &ConfigArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    let mut config = load(args, context, reporter).await?;
    if let Some(name) = name {
        config.servers.retain(|server| server.name == name);
        if config.servers.is_empty() {
            return Err(SetUpError::new(format!("there is no server {name}")));
        }
    }
    let upstreams = Upstreams::new(config.servers);
    // They start at the same time and are told of in order.
    upstreams.begin_all();
    let mut failed = false;
    for server in upstreams.servers() {
        server.settled().await;
        let snapshot = server.snapshot();
        let told = match snapshot.problem() {
            Some(problem) => {
                failed = true;
                format!("{}: does not work: {problem}", server.spec().name)
            }
            None => {
                let names: Vec<&str> = snapshot.tools.iter().map(|tool| &*tool.name).collect();
                format!(
                    "{}: works, {} tools: {}",
                    server.spec().name,
                    names.len(),
                    listed(&names)
                )
            }
        };
        print(reporter, told).await;
        for warning in &*snapshot.warnings {
            notice(reporter, format!("{}: {warning}", server.spec().name)).await;
        }
    }
    upstreams.shutdown().await;
    Ok(if failed {
        Status::ScriptFailed
    } else {
        Status::Completed
    })
}

/// Names that are shown one by one.
const MAX_SHOWN_NAMES: usize = 20;

fn listed(names: &[&str]) -> String {
    let shown = names.get(..MAX_SHOWN_NAMES).unwrap_or(names).join(", ");
    match names.len().checked_sub(MAX_SHOWN_NAMES) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}

pub async fn log(path: &Path, failed: bool, reporter: &Reporter) -> Result<Status, SetUpError> {
    for line in audit::read(path).map_err(SetUpError::new)? {
        match line {
            Ok(line) => {
                if let Some(text) = told(&line.event, failed) {
                    print(reporter, format!("{} {text}", line.time)).await;
                }
            }
            Err(number) => {
                notice(
                    reporter,
                    format!("line {number} is no line of an audit log"),
                )
                .await
            }
        }
    }
    Ok(Status::Completed)
}

/// One line for people; nothing for what ended well when only the rest is wanted.
fn told(event: &AuditEvent, failed: bool) -> Option<String> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Ok => "ok",
        Outcome::Error => "error",
        Outcome::Refused => "refused",
        Outcome::Cancelled => "cancelled",
    };
    match event {
        AuditEvent::Exec {
            session,
            exec,
            sha256,
            bytes,
        } => (!failed).then(|| {
            format!(
                "{session} {exec} runs {bytes} bytes, sha256 {}",
                sha256.get(..12).unwrap_or(sha256)
            )
        }),
        AuditEvent::Call {
            session,
            exec,
            server,
            tool,
            input_bytes,
            ms,
            outcome,
            error,
            ..
        } => {
            if failed && *outcome == Outcome::Ok {
                return None;
            }
            let whose = if server.is_empty() {
                String::new()
            } else {
                format!("{server}/")
            };
            let why = error
                .as_ref()
                .map(|error| format!(": {}", error.lines().next().unwrap_or_default()));
            Some(format!(
                "{session} {exec}   {whose}{tool} {input_bytes} bytes, {ms} ms, {}{}",
                word(outcome),
                why.unwrap_or_default()
            ))
        }
        AuditEvent::End {
            session,
            exec,
            cell,
            outcome,
            ms,
        } => {
            if failed && *outcome == Outcome::Ok {
                return None;
            }
            Some(format!(
                "{session} {exec} ended as cell {cell} after {ms} ms, {}",
                word(outcome)
            ))
        }
    }
}

pub async fn install(
    args: InstallArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    let own = match args.config.config.as_slice() {
        [] => own_file()?,
        _ => one_file(&args.config, context)?,
    };
    let program = env::current_exe().map_err(SetUpError::new)?;
    let mut arguments = vec!["mcp".to_owned()];
    if !args.config.config.is_empty() {
        let path = own
            .to_str()
            .ok_or_else(|| SetUpError::new("the configuration's path is not UTF-8 text"))?;
        arguments.extend(["--config".to_owned(), path.to_owned()]);
    }
    let client = Client::from(args.client);
    let plan = with_places(|places| {
        let take_over = args.take_over.then_some(own.as_path());
        client.install(places, &program, &arguments, take_over)
    })?;
    let taken =
        (!plan.servers.is_empty()).then(|| format!("taken over: {}", plan.servers.join(", ")));
    if !plan.left.is_empty() {
        notice(
            reporter,
            format!(
                "not taken over, since {} has others of these names: {}",
                own.display(),
                plan.left.join(", ")
            ),
        )
        .await;
    }
    carry_out(plan, args.yes, taken, reporter).await
}

pub async fn uninstall(
    client: ClientName,
    yes: bool,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    let plan = with_places(|places| Client::from(client).uninstall(places))?;
    let back =
        (!plan.servers.is_empty()).then(|| format!("given back: {}", plan.servers.join(", ")));
    carry_out(plan, yes, back, reporter).await
}

fn with_places<E: std::fmt::Display>(
    make: impl FnOnce(&Places<'_>) -> Result<Plan, E>,
) -> Result<Plan, SetUpError> {
    let home = env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute());
    let home = home.ok_or_else(|| SetUpError::new("HOME is not set"))?;
    let places = Places {
        home: &home,
        lookup: &|name| env::var(name).ok(),
    };
    make(&places).map_err(SetUpError::new)
}

/// Shows what is to change, asks, and does it.
async fn carry_out(
    plan: Plan,
    yes: bool,
    done: Option<String>,
    reporter: &Reporter,
) -> Result<Status, SetUpError> {
    if plan.is_empty() {
        notice(
            reporter,
            format!("{} is as it should be already", plan.client.path.display()),
        )
        .await;
        return Ok(Status::Completed);
    }
    print(reporter, plan.diff()).await;
    if !yes && !agreed(reporter).await? {
        notice(reporter, "nothing was changed".to_owned()).await;
        return Ok(Status::ScriptFailed);
    }
    plan.apply().map_err(SetUpError::new)?;
    if let Some(copy) = plan.copy.iter().find(|copy| copy.after.is_some()) {
        notice(
            reporter,
            format!("a copy of the file as it was is {}", copy.path.display()),
        )
        .await;
    }
    if let Some(done) = done {
        notice(reporter, done).await;
    }
    Ok(Status::Completed)
}

async fn agreed(reporter: &Reporter) -> Result<bool, SetUpError> {
    if !io::stdin().is_terminal() {
        return Err(SetUpError::new(
            "nobody can be asked here; give --yes to change the file",
        ));
    }
    notice(reporter, "Change it? [y/N]".to_owned()).await;
    reporter.printer().flush().await;
    // Reading may take as long as it pleases the user.
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let line = answer
        .await
        .map_err(SetUpError::new)?
        .map_err(SetUpError::new)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn of_many_names_the_first_are_shown_and_the_others_counted() {
        let names = vec!["x"; MAX_SHOWN_NAMES + 2];
        let all = vec!["x"; MAX_SHOWN_NAMES].join(", ");
        assert_eq!(listed(&names[..MAX_SHOWN_NAMES]), all);
        assert_eq!(listed(&names), format!("{all} and 2 more"));
        assert_eq!(listed(&[]), "");
    }
}
