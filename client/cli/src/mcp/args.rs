// SPDX-License-Identifier: Apache-2.0
//! The command line of `code_mode mcp`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};
use code_mode_mcp::DEFAULT_CATALOG_BYTES;
use code_mode_mcp::clients::Client;

use crate::host_args::HostArgs;
use crate::limits::Limit;

/// The arguments of `code_mode mcp`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a command it serves one MCP client over standard input and output, or with --listen \
    many over HTTP.\nSee docs/mcp.md."
)]
pub struct McpArgs {
    #[command(subcommand)]
    pub command: Option<McpCommand>,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Which configuration files count.
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// The MCP servers, as clients describe them: JSON or TOML; may be given several times
    /// (else code_mode/mcp.json in the user's configuration folder)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Vec<PathBuf>,
}

/// The arguments of the server.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Tools that are commands (docs/cli.md, Tools file); may be given several times
    #[arg(long = "tools", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub mcp_tools: Vec<PathBuf>,
    /// Bytes of declarations that the description of exec holds; beyond it tools are looked up
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CATALOG_BYTES)]
    pub catalog_bytes: usize,
    /// Write each script's hash and each call into FILE, as JSON lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub audit: Option<PathBuf>,
    /// Serve over streamable HTTP at URL, such as http://127.0.0.1:7777
    #[arg(long, value_name = "URL", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,
    /// The file that holds the token of HTTP clients (else CODE_MODE_MCP_TOKEN, else a new one is told)
    #[arg(long, value_name = "FILE", requires = "listen", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Let web pages of this origin call, such as https://app.example.com; may be given several times
    #[arg(long, value_name = "ORIGIN", requires = "listen")]
    pub allow_origin: Vec<String>,
    /// Listen on an address that other machines can reach; nothing is encrypted
    #[arg(long, requires = "listen")]
    pub allow_remote: bool,
    /// Lower a bound of each script, such as heap=64MiB; may be given several times
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = Limit::parse)]
    #[arg(long_help = crate::limits::LONG_HELP)]
    pub limits: Vec<Limit>,
    #[command(flatten)]
    pub host: HostArgs,
}

/// The commands of `code_mode mcp`.
#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// Add a server to the configuration, or replace it
    #[command(
        override_usage = "code_mode mcp add [OPTIONS] NAME -- COMMAND [ARGS]...\n       \
        code_mode mcp add [OPTIONS] NAME --url URL"
    )]
    Add(AddArgs),
    /// List the servers of the configuration
    List(ConfigArgs),
    /// Remove a server from the configuration
    Remove {
        /// Its name
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Start the servers and say which of them work, and with which tools
    Test {
        /// Only this server
        name: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Show an audit log
    Log {
        /// The file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Only what did not end well
        #[arg(long)]
        failed: bool,
    },
    /// Write this program into a client's configuration
    Install(InstallArgs),
    /// Undo install
    Uninstall {
        /// The client
        client: ClientName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// The arguments of `code_mode mcp add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Its name; scripts call its tools tools.NAME__TOOL
    pub name: String,
    /// The address of a server over streamable HTTP
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    pub url: Option<String>,
    /// A header of every request, such as Authorization='Bearer ${TOKEN}'; may be given several times
    #[arg(long = "header", value_name = "NAME=VALUE", requires = "url", value_parser = pair)]
    pub headers: Vec<(String, String)>,
    /// A variable of its environment, such as KEY='${KEY}'; may be given several times
    #[arg(long = "env", value_name = "NAME=VALUE", conflicts_with = "url", value_parser = pair)]
    pub environment: Vec<(String, String)>,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The arguments of `code_mode mcp install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The client
    pub client: ClientName,
    /// Move the servers that the client has into the configuration of code_mode
    #[arg(long)]
    pub take_over: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// A client that can be installed into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientName {
    /// Claude Code: ~/.claude.json
    ClaudeCode,
    /// The Codex CLI: ~/.codex/config.toml
    Codex,
    /// The Gemini CLI: ~/.gemini/settings.json
    Gemini,
}

impl From<ClientName> for Client {
    fn from(name: ClientName) -> Self {
        match name {
            ClientName::ClaudeCode => Self::ClaudeCode,
            ClientName::Codex => Self::Codex,
            ClientName::Gemini => Self::Gemini,
        }
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let address = text
        .strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'));
    let address = address.ok_or("write http://IP:PORT, such as http://127.0.0.1:7777")?;
    let address = address.replace("localhost", "127.0.0.1");
    address
        .parse()
        .map_err(|_| "write http://IP:PORT, such as http://127.0.0.1:7777".to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
