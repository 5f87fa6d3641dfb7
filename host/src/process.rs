// SPDX-License-Identifier: Apache-2.0
//! The program `code_mode_host`: one connection over standard input and output, or the listeners that
//! its command line names.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use code_mode_runtime::{Cells, Forked, Program, Runtime, RuntimeConfig, Starter};
use tracing::Level;

use crate::args::{self, Args, CellMode, Command};
use crate::listening::DEFAULT_DRAIN;
use crate::serve::serve_directly;
use crate::signals::drain_on_signals;
use crate::sockets::Sockets;
use crate::stdio::Stdio;
use crate::{
    Drain, EXIT_DEADLINE, FailureHook, HostConfig, ServeError, confinement, doors, logging, version,
};

/// Exit status after a clean end of input.
pub(crate) const EXIT_SUCCESS: u8 = 0;
/// Exit status after a failure of the connection that is nobody's fault here: its streams have failed.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// Exit status when the program cannot do what it was asked.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Exit status after a violation of the protocol by the client.
pub(crate) const EXIT_VIOLATION: u8 = 3;
/// Exit status when the client has read nothing for too long.
pub(crate) const EXIT_STALLED: u8 = 4;
/// Exit status when more was to be held for a client that reads too slowly than there may be.
pub(crate) const EXIT_OVERFLOW: u8 = 5;
/// Exit status after a failure of the host itself.
pub(crate) const EXIT_INTERNAL: u8 = 6;

/// Freed memory that each heap of the allocator keeps for the next payload instead of giving it back,
/// in bytes; the page faults of fresh memory take up to a fifth of the time of a payload of 1 MiB.
/// glibc makes eight heaps per processor at most, each when a thread needs it.
const KEPT_HEAP_BYTES: libc::c_int = 4 << 20;

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
    let prepared = Sockets::bind(&args.listening)
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
    config.drain = Some(Drain::new(args.listening.drain.unwrap_or(DEFAULT_DRAIN)));
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

#[expect(unsafe_code, reason = "the allocator is set by its C interface only")]
pub(crate) fn keep_freed_memory() {
    // SAFETY: mallopt takes two integers and only sets the allocator's parameters, under its lock.
    let kept = unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_HEAP_BYTES) == 1
            && libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_HEAP_BYTES) == 1
    };
    if !kept {
        tracing::debug!("the allocator gives freed memory back at once");
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

/// Has signals begin the drain.
pub(crate) fn hear_signals(drain: Option<&Drain>) -> Result<(), String> {
    drain
        .map_or(Ok(()), drain_on_signals)
        .map_err(|error| format!("Failed to hear signals: {error}"))
}

/// One thread is enough: all that takes long happens on the threads of the cells, and a second one
/// would cost each message a hop.
fn tokio_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Says the reason of the first failure, and ends the process in time whatever hangs.
pub(crate) fn exit_in_time() -> FailureHook {
    Arc::new(|error: &ServeError| {
        let status = exit_status(error);
        // First of all: whatever follows may hang.
        let watch = std::thread::Builder::new()
            .name("exit-deadline".to_owned())
            .spawn(move || {
                std::thread::sleep(EXIT_DEADLINE.saturating_sub(logging::LOG_FLUSH));
                exit_now(status);
            });
        if tracing::enabled!(Level::ERROR) {
            tracing::error!(%error, "the connection failed");
        } else {
            complain(&error.to_string());
        }
        if let Err(error) = watch {
            // Without the thread nothing else would end a process that hangs.
            complain(&format!(
                "Failed to start the thread that ends the process: {error}"
            ));
            exit_now(status);
        }
    })
}

/// How the process ends after this failure.
pub(crate) fn exit_status(error: &ServeError) -> u8 {
    match error {
        error if error.is_violation() => EXIT_VIOLATION,
        ServeError::Read(_) | ServeError::Write(_) => EXIT_FAILURE,
        ServeError::Stalled { .. } => EXIT_STALLED,
        ServeError::OutgoingOverflow { .. } => EXIT_OVERFLOW,
        _ => EXIT_INTERNAL,
    }
}

/// Ends the process without the destructors of V8, whose threads may still be at work: setting V8
/// up when the connection is over that soon, or in a cell that could not be stopped.
#[expect(unsafe_code, reason = "the standard library's exit runs destructors")]
pub(crate) fn exit_now(status: u8) -> ! {
    logging::flush();
    // SAFETY: `_exit` has no precondition; it ends the process at once. Nothing is left that could be
    // written: frames are by then, and so is the log, unless nobody reads it.
    unsafe { libc::_exit(libc::c_int::from(status)) }
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

/// Says why the program does not do what it was asked.
pub(crate) fn complain(message: &str) {
    logging::line(&format!("code_mode_host: {message}"));
}
