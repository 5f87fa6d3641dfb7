// SPDX-License-Identifier: Apache-2.0
//! The program `code_mode_host`: one connection over standard input and output, or the listeners that
//! its command line names.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use code_mode_runtime::{Cells, Forked, Program, Runtime, RuntimeConfig, Starter};

use crate::args::{self, Args, CellMode, Command};
use crate::exit::{
    EXIT_FAILURE, EXIT_SUCCESS, EXIT_USAGE, complain, exit_in_time, exit_now, exit_status,
};
use crate::inherited::Inherited;
use crate::memory::keep_freed_memory;
use crate::serve::serve_directly;
use crate::signals::hear_signals;
use crate::sockets::Sockets;
use crate::stdio::Stdio;
use crate::{HostConfig, confinement, doors, logging, version};

/// Runs the program with the process's arguments and gives its exit status. `version` is what
/// `--version` and the log say about the program.
///
/// To be called on the main thread, before there is another. In a process that was started to run cells
/// it does not return.
pub fn main(version: &'static str) -> ExitCode {
    code_mode_runtime::entry();
    version::set(version);
    let timings = std::env::var(args::V1_TIMINGS).ok();
    let args = match Args::parse(std::env::args().skip(1), timings) {
        Ok(args) => args,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let done = match args.command {
        Command::Help => print(&args::help()),
        Command::Version => versions().and_then(|version| print(&version)),
        Command::CheckConfinement => {
            return match confinement::check(args.confinement) {
                Ok((lines, true)) => finish(print(&lines)),
                Ok((lines, false)) => {
                    finish(print(&lines));
                    ExitCode::from(EXIT_FAILURE)
                }
                Err(error) => {
                    complain(&error);
                    ExitCode::from(EXIT_FAILURE)
                }
            };
        }
        Command::Serve => return serve(args, version),
    };
    finish(done)
}

fn finish(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// Makes what needs rights, gives these up, and serves. The order is what the confinement rests on: the
/// starter of processes and the sockets come before it, threads and the first byte of a client after it.
fn serve(args: Args, version: &'static str) -> ExitCode {
    // First of all: nothing that is started here is to have them too.
    let inherited = match args.listening.inherited.then(Inherited::take).transpose() {
        Ok(inherited) => inherited.unwrap_or_default(),
        Err(error) => {
            complain(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let cells = match cells(&args) {
        Ok(cells) => cells,
        Err(error) => {
            complain(&format!(
                "Failed to start the process that cells are forked by: {error}; \
                 --cells threads runs them within the host"
            ));
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    let prepared = Sockets::bind(&args.listening, inherited)
        .and_then(|sockets| Ok((sockets, confinement::enforce(&args)?)));
    let (sockets, lacking) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            complain(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Err(error) = logging::start(args.log_format) {
        complain(&format!("Failed to start the thread that logs: {error}"));
        return ExitCode::from(EXIT_FAILURE);
    }
    tracing::info!(version, "code_mode_host starts");
    if args.cells == CellMode::Threads {
        tracing::warn!(
            "cells run on threads of the host, which is not confined: a script that breaks V8 ends it"
        );
    }
    if !lacking.is_empty() {
        let lacking = lacking.join("; ");
        tracing::warn!(lacking, "the host runs without all of its confinement");
    }
    let mut config = args.config;
    config.runtime.cells = cells;
    config.drain = Some(args.listening.new_drain());
    if args.listening.is_frames_only() {
        serve_stdio(config)
    } else {
        doors::serve(config, args.listening, sockets)
    }
}

/// Starts what cells are to run in. The kernel ends forked cells when this thread ends, so it is the main
/// one.
fn cells(args: &Args) -> io::Result<Cells> {
    match args.cells {
        CellMode::Threads => Ok(Cells::Threads),
        CellMode::Forks => {
            let starter = Starter::start_in(&Program::ThisOne, &args.region)?;
            allow_descriptors();
            Ok(Cells::Forks(Forked {
                starter: Arc::new(starter),
                confinement: args.confinement,
                jit: args.jit,
            }))
        }
    }
}

/// Allows this process as many descriptors as it can have: each cell takes two.
#[expect(unsafe_code, reason = "the standard library cannot set limits")]
fn allow_descriptors() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls take a pointer to one limit, which is valid.
    let allowed = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
        }
    };
    if !allowed {
        let error = io::Error::last_os_error();
        complain(&format!(
            "the host may run out of descriptors for its cells: {error}"
        ));
    }
}

fn serve_stdio(mut config: HostConfig) -> ExitCode {
    keep_freed_memory();
    config.on_failure = Some(exit_in_time());
    let started = Stdio::take()
        .map_err(|error| error.to_string())
        .and_then(|stdio| {
            let tokio =
                tokio_runtime().map_err(|error| format!("Failed to start Tokio: {error}"))?;
            Ok((stdio, tokio))
        });
    let (stdio, tokio) = match started {
        Ok(started) => started,
        Err(message) => {
            complain(&message);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let served = tokio.block_on(async {
        hear_signals(config.drain.as_ref())?;
        let ends = stdio.connect().map_err(|error| error.to_string())?;
        let served = serve_directly(ends.source, ends.sink, Some(ends.direct), config).await;
        Ok::<_, String>((served, ends.output_thread))
    });
    match served {
        Ok((Ok(()), output_thread)) => match output_thread.map(std::thread::JoinHandle::join) {
            None | Some(Ok(Ok(_))) => exit_now(EXIT_SUCCESS),
            Some(Ok(Err(error))) => {
                complain(&format!("Failed to write to standard output: {error}"));
                exit_now(EXIT_FAILURE)
            }
            Some(Err(_)) => exit_now(EXIT_FAILURE),
        },
        // The reason was told when it came up.
        Ok((Err(error), _)) => exit_now(exit_status(&error)),
        Err(message) => {
            complain(&message);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// One thread is enough: all that takes long happens on the threads of the cells, and a second one
/// would cost each message a hop.
fn tokio_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn versions() -> io::Result<String> {
    let tokio = tokio_runtime()?;
    // Whether the sandbox is on is known once V8 runs.
    let _runtime = Runtime::new(RuntimeConfig::default(), tokio.handle().clone(), None)
        .map_err(io::Error::other)?;
    Ok(format!(
        "code_mode_host {}\nV8 {}\nsandbox {}\n",
        version::version(),
        Runtime::v8_version(),
        if Runtime::sandbox_enabled() {
            "on"
        } else {
            "off"
        },
    ))
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
