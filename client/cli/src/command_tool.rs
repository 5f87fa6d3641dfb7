// SPDX-License-Identifier: Apache-2.0
//! Runs the command behind a tool.
//!
//! # Caveats
//! A call lasts until the program has exited and its standard output and error are closed, so a
//! child that it leaves behind with these open prolongs it.
//! The program leads a process group of its own. The group is killed when the call is cancelled, and
//! when this program ends in any way; what has moved to another group lives on.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use code_mode_api::{RawJson, ToolError};
use code_mode_client::die_with_parent;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::guard::{Guard, Watched};
use crate::tools_file::ToolCommand;

/// Bytes of a tool's standard output; a tool that writes more is killed and the call fails.
pub const MAX_TOOL_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the end of a tool's standard error that an error carries.
pub const MAX_STDERR_TAIL_BYTES: usize = 2 * 1024;

/// Starts the commands behind tools.
///
/// A thread of its own starts them: the kernel ends a command with the *thread* that has started it,
/// and this one lives as long as the starter does.
pub struct Starter {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    guard: Arc<Guard>,
}

struct Job {
    command: Command,
    watched: Option<Watched>,
    started: oneshot::Sender<io::Result<ToolProcess>>,
}

impl Job {
    /// Starts the command. Who no longer waits for it drops it, and what it has started by then as well.
    fn run(mut self) {
        let process = self.command.spawn().map(|child| ToolProcess {
            child,
            watched: self.watched,
        });
        let _ = self.started.send(process);
    }
}

impl Starter {
    /// Starts commands that `guard` watches over.
    pub fn new(guard: Arc<Guard>) -> Self {
        Self {
            jobs: Mutex::default(),
            guard,
        }
    }

    /// Runs `command` in `folder` with `input` on its standard input and gives its standard output:
    /// as JSON if it is JSON, else as a string.
    ///
    /// Dropping the future kills the program and its process group.
    ///
    /// # Errors
    /// When the program cannot be started, ends with a status other than 0 (then with the end of its
    /// standard error), or writes more than [`MAX_TOOL_OUTPUT_BYTES`] or something other than text.
    pub async fn call(
        &self,
        command: &ToolCommand,
        folder: &Path,
        input: &RawValue,
    ) -> Result<RawJson, ToolError> {
        let name = command.program.display();
        let mut process = self
            .start(command, folder)
            .await
            .map_err(|error| ToolError::new(format!("failed to start {name}: {error}")))?;
        let (output, tail, status) = process
            .finish(input)
            .await
            .map_err(|error| ToolError::new(format!("{name}: {error}")))?;
        if !status.success() {
            return Err(ToolError::new(failure(&name.to_string(), status, &tail)));
        }
        let text = String::from_utf8(output)
            .map_err(|_| ToolError::new(format!("{name}: its output is not UTF-8 text")))?;
        Ok(json_or_text(text))
    }

    async fn start(&self, command: &ToolCommand, folder: &Path) -> io::Result<ToolProcess> {
        let (started, process) = oneshot::channel();
        let watched = self.guard.watch()?;
        let job = Job {
            command: prepared(command, folder, watched.as_ref()),
            watched,
            started,
        };
        let gone = || io::Error::other("the thread that starts commands has ended");
        self.jobs()?.send(job).map_err(|_| gone())?;
        process.await.map_err(|_| gone())?.map_err(|error| {
            // The system reports a missing folder as it reports a missing program.
            if error.kind() == io::ErrorKind::NotFound && !folder.is_dir() {
                let cause = format!("the working folder {} is not there", folder.display());
                return io::Error::new(error.kind(), cause);
            }
            error
        })
    }

    fn jobs(&self) -> io::Result<mpsc::Sender<Job>> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = &*jobs {
            return Ok(jobs.clone());
        }
        let (sender, receiver) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("tools".into())
            .spawn(move || {
                let _entered = runtime.enter();
                receiver.into_iter().for_each(Job::run);
            })?;
        Ok(jobs.insert(sender).clone())
    }
}

fn prepared(tool: &ToolCommand, folder: &Path, watched: Option<&Watched>) -> Command {
    let mut command = Command::new(&tool.program);
    command
        .args(&tool.arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let parent = std::process::id();
    let announce = watched.map(Watched::announcement);
    // SAFETY: the closure runs in the child between fork and exec. It makes only system calls
    // (prctl, getppid, getpid, write), allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            die_with_parent(parent)?;
            // By now the child leads its own group: `process_group` comes before this.
            announce.as_ref().map_or(Ok(()), |announce| announce())
        });
    }
    command
}

/// The JSON value that `text` is, or else the JSON string that holds it.
fn json_or_text(text: String) -> RawJson {
    if let Ok(value) = serde_json::from_str::<&RawValue>(&text) {
        return value.to_owned();
    }
    let string = serde_json::Value::String(text).to_string();
    RawValue::from_string(string).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn failure(name: &str, status: ExitStatus, tail: &[u8]) -> String {
    let tail = String::from_utf8_lossy(tail);
    let tail = tail.trim();
    if tail.is_empty() {
        format!("{name} failed with {status} and said nothing on standard error")
    } else {
        format!("{name} failed with {status}: {tail}")
    }
}

/// A running program; dropped before its end, it takes its process group with it.
struct ToolProcess {
    child: Child,
    /// Watched over by the guard until the program is waited for.
    watched: Option<Watched>,
}

impl ToolProcess {
    /// The program's process group; `None` once it was waited for.
    fn group(&self) -> Option<libc::pid_t> {
        let id = self.child.id()?;
        libc::pid_t::try_from(id).ok()
    }

    async fn finish(&mut self, input: &RawValue) -> io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
        let (stdin, stdout, stderr) = (
            self.child.stdin.take(),
            self.child.stdout.take(),
            self.child.stderr.take(),
        );
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(io::Error::other("its standard streams are missing"));
        };
        // The program is waited for last: until then its process id, which names the group, cannot
        // be given to another process.
        let ((), output, tail) = tokio::try_join!(
            write_input(stdin, input.get().as_bytes()),
            read_bounded(stdout, MAX_TOOL_OUTPUT_BYTES),
            read_tail(stderr, MAX_STDERR_TAIL_BYTES),
        )?;
        let status = self.child.wait().await?;
        self.watched = None;
        Ok((output, tail, status))
    }
}

impl Drop for ToolProcess {
    fn drop(&mut self) {
        if let Some(group) = self.group() {
            // SAFETY: `killpg` takes no pointers and touches no memory of this process. The group is
            // known only until the child was waited for, so the number still names this child's.
            unsafe { libc::killpg(group, libc::SIGKILL) };
        }
    }
}

async fn write_input(mut stdin: ChildStdin, input: &[u8]) -> io::Result<()> {
    match stdin.write_all(input).await {
        // A program need not read its input.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

async fn read_bounded(stream: impl AsyncRead + Unpin, maximum: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream
        .take(maximum as u64 + 1)
        .read_to_end(&mut bytes)
        .await?;
    if bytes.len() > maximum {
        return Err(io::Error::other(format!(
            "its output exceeds {maximum} bytes"
        )));
    }
    Ok(bytes)
}

/// Reads to the end and keeps the last `maximum` bytes.
async fn read_tail(mut stream: impl AsyncRead + Unpin, maximum: usize) -> io::Result<Vec<u8>> {
    let mut tail = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(tail);
        }
        tail.extend_from_slice(piece.get(..read).unwrap_or_default());
        let excess = tail.len().saturating_sub(maximum);
        tail.drain(..excess);
    }
}

#[cfg(test)]
#[path = "command_tool_tests.rs"]
mod tests;
