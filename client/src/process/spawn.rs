// SPDX-License-Identifier: Apache-2.0
//! Starting a host program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use tokio::sync::{oneshot, watch};

use super::parent::die_with_parent;
use super::reap::{self, Exit, KillOnDrop, KillSwitch};
use super::{env, fds};
use crate::config::ProviderConfig;

/// Why a host program could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error(
        "Failed to find the host program {}: it is neither a path nor in PATH; build or install \
         it, or configure its path", .0.display()
    )]
    NotFound(PathBuf),
    #[error("Failed to start a thread for the host process: {0}")]
    Thread(io::Error),
    #[error(
        "Failed to start the host program in the working folder {}: {}", .0.display(), .1
    )]
    Folder(PathBuf, io::Error),
    #[error("Failed to start the host program {}: {}{}", .0.display(), .1, hint(.1))]
    Program(PathBuf, io::Error),
    #[error("{0}")]
    Connect(String),
    #[error("Failed to take over the pipes of the host process: {0}")]
    Pipes(io::Error),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; build or install it, or configure its path",
        io::ErrorKind::PermissionDenied => "; make it executable",
        _ => "",
    }
}

/// A program that has just started.
pub(super) struct Started {
    pub(super) pid: u32,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    pub(super) switch: KillOnDrop,
    pub(super) exit: watch::Receiver<Option<Exit>>,
}

/// Starts the configured program on a thread of its own, which then waits for it and reaps it.
///
/// The thread is essential: `PR_SET_PDEATHSIG` fires when the *thread* that forked ends, so a child
/// forked on a pooled thread would be killed when the pool shrinks. It also makes reaping
/// independent of any async runtime, so that a host leaves no zombie even while the embedder's
/// runtime shuts down.
pub(super) async fn spawn(config: &ProviderConfig) -> Result<Started, SpawnError> {
    let path = config.environment.set.get(&OsString::from("PATH")).cloned();
    let path = path.or_else(|| std::env::var_os("PATH"));
    let program = env::resolve(&config.program, path.as_deref())
        .ok_or_else(|| SpawnError::NotFound(config.program.clone()))?;
    let mut command = command(&program, config);
    let folder = config.working_folder.clone();
    let (started, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("code-mode-host".to_owned())
        .stack_size(SUPERVISOR_STACK_BYTES)
        .spawn(move || match command.spawn() {
            Err(error) => drop(started.send(Err(cause(program, folder, error)))),
            Ok(child) => supervise(child, started),
        })
        .map_err(SpawnError::Thread)?;
    receiver.await.unwrap_or_else(|_| {
        Err(SpawnError::Thread(io::Error::other(
            "it ended before the program had started",
        )))
    })
}

/// Tells a working folder that cannot be entered from a program that cannot be started: the system
/// reports both in the same words.
fn cause(program: PathBuf, folder: Option<PathBuf>, error: io::Error) -> SpawnError {
    // To look at its "." takes what entering it takes.
    let entered = folder.map(|folder| match std::fs::metadata(folder.join(".")) {
        Ok(_) => Ok(()),
        Err(error) => Err(SpawnError::Folder(folder, error)),
    });
    match entered {
        Some(Err(error)) => error,
        Some(Ok(())) | None => SpawnError::Program(program, error),
    }
}

/// Stack of the thread that waits for a host: it runs one system call at a time.
const SUPERVISOR_STACK_BYTES: usize = 128 * 1024;

fn supervise(mut child: Child, started: oneshot::Sender<Result<Started, SpawnError>>) {
    let switch = KillSwitch::new(&child);
    let (sender, exit) = watch::channel(None);
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let result = match pipes {
        (Some(stdin), Some(stdout), Some(stderr)) => {
            let pid = child.id();
            Ok(Started {
                pid,
                stdin,
                stdout,
                stderr,
                switch: KillOnDrop(switch.clone()),
                exit,
            })
        }
        _ => Err(SpawnError::Pipes(io::Error::other("a pipe is missing"))),
    };
    let failed = result.is_err();
    // A caller that has gone meanwhile drops the program's owner and thereby kills it.
    drop(started.send(result));
    if failed {
        switch.kill();
    }
    reap::wait(child, &switch, &sender);
}

fn command(program: &std::path::Path, config: &ProviderConfig) -> Command {
    let mut command = Command::new(program);
    command
        .args(&config.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: a Ctrl-C on the embedder's terminal is the embedder's to handle, and
        // killing the group ends whatever a wrapper has started.
        .process_group(0);
    env::apply(&mut command, &config.environment);
    if let Some(folder) = &config.working_folder {
        command.current_dir(folder);
    }
    let limits = config.resource_limits;
    let parent = std::process::id();
    // SAFETY: the closure runs in the child between fork and exec. It makes only system calls
    // (prctl, getppid, close_range or getdents64 with fcntl, setrlimit), allocates nothing and takes
    // no lock.
    unsafe {
        command.pre_exec(move || {
            die_with_parent(parent)?;
            // The descriptors first: a lowered limit would hide those above it.
            fds::close_on_exec_from_three()?;
            limits.install()
        });
    }
    command
}
