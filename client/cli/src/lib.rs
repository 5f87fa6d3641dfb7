// SPDX-License-Identifier: Apache-2.0
//! The command line `code_mode`: scripts, tools and the host for people at a terminal and for scripts
//! of a shell.
//!
//! # Purpose
//! [`main`] carries out one command line: `program`. `args` declares it; `run`, `repl`, `describe`, `doctor` and
//! `mcp` carry the commands out; `output` is the only module that writes to the standard streams. Scripts
//! run in sessions of `code_mode_embed`, over a provider that only `connect` makes, so that all of it is
//! tested against sessions without a process. `docs/cli.md` documents it for users.
//!
//! # Life cycle
//! A command reads all its files, finds the host, opens a session, drives cells one after the other,
//! saves the stored values and closes the session. A signal ends the cell first, a second one all.
//!
//! # Threads
//! A Tokio runtime of its own does the work. One thread owns both output streams, one reads the prompt,
//! one starts tool commands and lives as long as they may. A second process of this program ends tool
//! commands if this one is killed (`guard`).
//!
//! # Limits
//! `file_tools::MAX_TOOL_PROCESSES`, `command_tool::MAX_TOOL_OUTPUT_BYTES`, `tools_file::MAX_FILE_BYTES`,
//! `repl_scope::MAX_CARRIED_BYTES` and `repl_lines::MAX_HISTORY` bound what it holds.

mod args;
mod background;
mod births;
mod cell_runner;
mod command_tool;
mod connect;
mod context;
mod doctor;
mod edited;
mod file_tools;
mod guard;
mod host_args;
mod host_processes;
mod images;
mod interrupts;
mod limits;
mod mcp;
mod output;
mod paths;
mod program;
mod progress;
mod repl;
mod repl_commands;
mod repl_complete;
mod repl_entry;
mod repl_lines;
mod repl_scope;
mod reporter;
mod run;
mod script_globals;
mod session;
mod set_up_error;
mod settings;
mod snippet;
mod status;
mod store_file;
mod suggest;
mod terminal;
mod tools_file;
mod units;

#[cfg(test)]
mod fake_session;

pub use program::main;
