// SPDX-License-Identifier: Apache-2.0
//! Serves MCP clients, over standard input and output or over HTTP.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;

use code_mode_mcp::audit::Audit;
use code_mode_mcp::http::{Gate, PATH, serve_http};
use code_mode_mcp::{Front, Parts, serve_streams};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::args::ServeArgs;
use super::files::{load, notice};
use super::local::local_tools;
use crate::connect;
use crate::context::Context;
use crate::interrupts::Interrupts;
use crate::limits::{Limit, cell_limits};
use crate::paths::resolve;
use crate::reporter::Reporter;
use crate::set_up_error::SetUpError;
use crate::status::Status;
use crate::tools_file::{self, read_text};

/// The environment variable that holds the token of HTTP clients.
const TOKEN_VARIABLE: &str = "CODE_MODE_MCP_TOKEN";

/// Bytes that a token has at least: fewer could be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// Serves until the client has gone or a signal comes.
pub async fn run(
    args: ServeArgs,
    context: &Context,
    reporter: &Reporter,
    interrupts: &mut Interrupts,
) -> Result<Status, SetUpError> {
    let front = front(&args, context, reporter).await?;
    let status = match args.listen {
        None => {
            // Standard output is the client's from here on: nothing else in this program writes to it.
            let served = serve_streams(Arc::clone(&front), tokio::io::stdin(), tokio::io::stdout());
            tokio::select! {
                served = served => served.map(|()| Status::Completed).map_err(SetUpError::new),
                why = interrupts.next() => Ok(Status::of_termination(why)),
            }
        }
        Some(address) => {
            let listener = listen(address, args.allow_remote).await?;
            let gate = gate(&args, context, reporter).await?;
            let bound = listener.local_addr().map_err(SetUpError::new)?;
            notice(reporter, format!("serving MCP at http://{bound}{PATH}")).await;
            let shutdown = CancellationToken::new();
            let mut serving = tokio::spawn(serve_http(
                Arc::clone(&front),
                listener,
                gate,
                shutdown.clone(),
            ));
            tokio::select! {
                served = &mut serving => served.map(|()| Status::Completed).map_err(SetUpError::new),
                why = interrupts.next() => {
                    shutdown.cancel();
                    // Its own failure would be none of the user's, who has ended it.
                    let _ = serving.await;
                    Ok(Status::of_termination(why))
                }
            }
        }
    };
    tokio::select! {
        () = front.upstreams().shutdown() => {}
        // A second signal ends the wait for servers that do not end.
        _ = interrupts.next() => {}
    }
    status
}

async fn front(
    args: &ServeArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Arc<Front>, SetUpError> {
    let config = load(&args.config, context, reporter).await?;
    let paths: Vec<_> = args
        .mcp_tools
        .iter()
        .map(|path| resolve(&context.folder, path))
        .collect();
    let tools = tools_file::load_all(&paths, reporter.colors().stderr).map_err(SetUpError::new)?;
    if config.servers.is_empty() && tools.is_empty() {
        notice(
            reporter,
            "there are no servers yet: code_mode mcp add, or --config FILE".to_owned(),
        )
        .await;
    }
    let audit = match &args.audit {
        None => None,
        Some(path) => Some(Audit::open(&resolve(&context.folder, path)).map_err(SetUpError::new)?),
    };
    let provider = connect::provider(&args.host, context)?;
    let configured = context
        .settings
        .limits
        .iter()
        .flat_map(|limits| limits.value.iter());
    let limits: Vec<&Limit> = configured.chain(&args.limits).collect();
    Ok(Front::new(Parts {
        config,
        local: local_tools(tools, context.folder.clone()),
        audit,
        provider,
        limits: cell_limits(limits),
        catalog_bytes: args.catalog_bytes,
    }))
}

async fn listen(address: SocketAddr, allow_remote: bool) -> Result<TcpListener, SetUpError> {
    if !address.ip().is_loopback() && !allow_remote {
        return Err(SetUpError::new(format!(
            "{address} can be reached from other machines, without encryption; listen on 127.0.0.1, or give \
             --allow-remote"
        )));
    }
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| SetUpError::new(format!("Failed to listen on {address}: {error}")))
}

async fn gate(
    args: &ServeArgs,
    context: &Context,
    reporter: &Reporter,
) -> Result<Gate, SetUpError> {
    let given = match &args.token_file {
        Some(path) => {
            let path = resolve(&context.folder, path);
            let text = read_text(&path);
            Some(text.map_err(|cause| {
                SetUpError::new(format!(
                    "Failed to read the token {}: {cause}",
                    path.display()
                ))
            })?)
        }
        None => env::var(TOKEN_VARIABLE).ok(),
    };
    let token = match given.map(|token| token.trim().to_owned()) {
        Some(token) if token.len() < MIN_TOKEN_BYTES => {
            return Err(SetUpError::new(format!(
                "the token is shorter than {MIN_TOKEN_BYTES} bytes and could be guessed"
            )));
        }
        Some(token) => token,
        None => {
            let token = code_mode_mcp::http::new_token();
            notice(reporter, format!("the token of this run is {token}")).await;
            token
        }
    };
    Ok(Gate {
        token,
        origins: args.allow_origin.clone(),
        any_host: args.allow_remote,
    })
}
