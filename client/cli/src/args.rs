// SPDX-License-Identifier: Apache-2.0
//! The command line, as clap reads it.
//!
//! One declaration gives the parser, its errors, `--help`, the completions and the man pages.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use code_mode_api::Globals;

use crate::host_args::HostArgs;
use crate::limits::Limit;
use crate::mcp::args::McpArgs;
use crate::units::parse_duration;

/// Runs JavaScript that calls tools, in a host process of its own.
#[derive(Debug, Parser)]
#[command(name = "code_mode", version, max_term_width = 100)]
#[command(
    after_help = "Defaults come from code_mode.toml in this folder, then from \
    code_mode/config.toml in the user's configuration folder."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// When to use colours: auto (on terminals), always or never
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub color: Option<ColorWhen>,
    /// Say nothing but results and errors: no notices, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show tool calls on standard error; twice: diagnostics as well
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a script
    Run(RunArgs),
    /// Type scripts and see what they give
    Repl(ReplArgs),
    /// Print what a model is told about exec, wait and the tools
    Describe(DescribeArgs),
    /// Check that the host works, and say what to do where it does not
    Doctor(DoctorArgs),
    /// Give an MCP client exec, wait and search instead of all the tools of its servers
    Mcp(Box<McpArgs>),
    /// Print the completions for a shell
    #[command(
        after_help = "bash: code_mode completions bash > ~/.local/share/bash-completion/completions/code_mode\n\
        zsh:  code_mode completions zsh > a folder of $fpath, as _code_mode\n\
        fish: code_mode completions fish > ~/.config/fish/completions/code_mode.fish"
    )]
    Completions {
        /// bash, zsh or fish
        #[arg(hide_possible_values = true, value_parser = completions_shell)]
        shell: Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        #[arg(value_hint = ValueHint::DirPath)]
        folder: PathBuf,
    },
}

/// Options of the commands that open a session.
#[derive(Debug, Default, Args)]
pub struct SessionArgs {
    /// The tools that scripts may call (docs/cli.md, Tools file); may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tools: Vec<PathBuf>,
    /// Lower a bound of each script, such as heap=64MiB or cpu-time=5s; may be given several times
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = Limit::parse)]
    #[arg(long_help = crate::limits::LONG_HELP)]
    pub limits: Vec<Limit>,
    /// The globals of scripts: web, which adds URL, TextEncoder, console and their like, or contract (default web, where
    /// the host can be asked)
    #[arg(long, value_name = "WHICH", value_parser = globals)]
    pub globals: Option<Globals>,
    /// Read integers beyond 2^53 in tools' answers and stored values as bigints (else the host's choice)
    #[arg(long)]
    pub exact_integers: bool,
    /// Load the session's stored values from FILE and save them there at the end
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub store: Option<PathBuf>,
    /// Save images that scripts put out into DIR
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub images: Option<PathBuf>,
    #[command(flatten)]
    pub host: HostArgs,
}

fn globals(name: &str) -> Result<Globals, String> {
    match name {
        "contract" => Ok(Globals::Contract),
        "web" => Ok(Globals::Web),
        _ => Err("globals are contract or web".to_owned()),
    }
}

/// The arguments of `code_mode run`.
#[derive(Debug, Args)]
#[command(
    override_usage = "code_mode run [OPTIONS] SCRIPT [ARGS]... [-- ARGS...]\n       \
    code_mode run [OPTIONS] -e CODE [ARGS]... [-- ARGS...]"
)]
#[command(
    after_help = "Scripts see ARGS as `args`, a list of strings, and the value of --input as `input`.\n\
    What stands behind -- goes to the script even if it looks like an option.\n\
    Text goes to standard output as it comes, errors to standard error.\n\n\
    Exit status: 0 completed, 1 a script failed or timed out, 2 bad usage or set-up,\n\
    3 the host was lost, 129 ended by SIGHUP, 130 by Ctrl-C, 141 nobody reads standard output,\n\
    143 by SIGTERM."
)]
pub struct RunArgs {
    /// The script's file, or - for standard input; behind it the ARGS that it gets as `args`
    #[arg(value_name = "SCRIPT", value_hint = ValueHint::AnyPath)]
    pub words: Vec<OsString>,
    /// Run CODE instead of a file
    #[arg(short = 'e', long = "eval", value_name = "CODE")]
    pub eval: Option<String>,
    /// A value for the script's `input`: JSON, @FILE or @- for standard input
    #[arg(long, value_name = "JSON")]
    pub input: Option<String>,
    /// Run this script before, in the same session; may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub first: Vec<PathBuf>,
    /// Terminate a script D after it has started: 500ms, 30s, 5m, 1h or seconds
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Print one JSON object per event to standard output
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub session: SessionArgs,
}

/// The arguments of `code_mode repl`.
#[derive(Debug, Default, Args)]
#[command(after_help = "Type .help at the prompt.")]
pub struct ReplArgs {
    /// Leave a cell in the background after D (10s unless told otherwise)
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    pub yield_after: Option<Duration>,
    #[command(flatten)]
    pub session: SessionArgs,
}

/// The arguments of `code_mode describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// The tools that scripts may call (docs/cli.md, Tools file); may be given several times
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tools: Vec<PathBuf>,
    /// The globals that scripts will have, as for run
    #[arg(long, value_name = "WHICH", value_parser = globals)]
    pub globals: Option<Globals>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `code_mode doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 when every check passed, 1 when one failed.")]
pub struct DoctorArgs {
    /// Print one JSON object per check
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub host: HostArgs,
}

/// Where a script comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// `-`.
    Stdin,
    /// A file.
    File(PathBuf),
    /// The code of `-e`.
    Code(String),
}

impl RunArgs {
    /// The scripts in order, and the arguments of the last one.
    ///
    /// # Errors
    /// In words for people, when there is no script, standard input is asked for twice, or an
    /// argument is no text.
    pub fn scripts(&self) -> Result<(Vec<Script>, Vec<String>), String> {
        let mut scripts: Vec<Script> = self
            .first
            .iter()
            .map(|path| script(path.as_os_str()))
            .collect();
        let mut words = self.words.as_slice();
        match (&self.eval, words.split_first()) {
            (Some(code), _) => scripts.push(Script::Code(code.clone())),
            (None, Some((first, rest))) => {
                scripts.push(script(first));
                words = rest;
            }
            (None, None) => {
                return Err(
                    "no script given: name a file, - for standard input, or -e CODE".into(),
                );
            }
        }
        let readers = scripts
            .iter()
            .filter(|script| **script == Script::Stdin)
            .count();
        if readers + usize::from(self.input.as_deref() == Some("@-")) > 1 {
            return Err("standard input (-) can be read only once".into());
        }
        let argument = |word: &OsString| {
            let text = word.to_str().map(str::to_owned);
            text.ok_or_else(|| format!("the argument {} is not UTF-8 text", word.display()))
        };
        Ok((
            scripts,
            words.iter().map(argument).collect::<Result<_, _>>()?,
        ))
    }
}

fn script(name: &std::ffi::OsStr) -> Script {
    if name == "-" {
        Script::Stdin
    } else {
        Script::File(name.into())
    }
}

fn completions_shell(name: &str) -> Result<Shell, String> {
    match name {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("there are completions for bash, zsh and fish".into()),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
