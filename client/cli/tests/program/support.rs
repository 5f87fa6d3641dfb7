// SPDX-License-Identifier: Apache-2.0
//! Runs the real `code_mode` against the real host.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use code_mode_testsuite::host_program;
use tempfile::TempDir;

/// Guard against a hang; no test waits for it.
pub const GUARD: Duration = Duration::from_secs(60);

/// A tool that kills the host with the signal that its input names. The host is the other child of
/// the tool's parent.
pub const SIGNAL_HOST: &str = r#"
signal=$(tr -d '"')
for task in /proc/$PPID/task/*; do
  for child in $(cat $task/children); do
    if [ "$(cat /proc/$child/comm)" = code_mode_host ]; then kill -"$signal" "$child"; exit 0; fi
  done
done
echo "no code_mode_host below $PPID" >&2
exit 1
"#;

/// The program under test: `CODE_MODE`, or the one that was built with the tests.
pub fn program() -> PathBuf {
    let path =
        env::var_os("CODE_MODE").map_or(env!("CARGO_BIN_EXE_code_mode").into(), PathBuf::from);
    fs::canonicalize(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder with scripts, and the program to run them.
pub struct Fixture {
    pub folder: TempDir,
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Fixture {
    /// An empty folder.
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Makes a pipe named `gate`: who reads it waits until somebody writes to it.
    pub fn gate(&self) {
        let made = Command::new("mkfifo")
            .arg(self.folder.path().join("gate"))
            .status()
            .unwrap();
        assert!(made.success());
    }

    /// Writes `tools.json` with these tools: names and shell scripts.
    pub fn tools(&self, tools: &[(&str, &str)]) {
        let tools: Vec<_> = tools
            .iter()
            .map(
                |(name, script)| serde_json::json!({"name": name, "command": ["sh", "-c", script]}),
            )
            .collect();
        self.file("tools.json", &serde_json::Value::from(tools).to_string());
    }

    /// The program in this folder, with these arguments, in a process group of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("CODE_MODE_HOST", host_program())
            .env("HOME", self.folder.path())
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("CODE_MODE_CONFIG")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("NO_COLOR")
            .env_remove("BUILD_WORKING_DIRECTORY")
            .env_remove("CODE_MODE_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }

    /// A command, started by another program with these arguments of its own before it.
    pub fn wrapped(&self, program: &str, arguments: &[&str], inner: &Command) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        Running::start(self.command(arguments)).finish()
    }

    /// Runs the program to its end with this on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        let mut running = Running::start(command);
        let mut stdin = running.child.stdin.take().unwrap();
        let input = input.to_owned();
        let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
        let outcome = running.finish();
        writer.join().unwrap().unwrap();
        outcome
    }
}

/// A program that runs; dropped before its end, it is killed.
pub struct Running {
    pub child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    shown: String,
    told: String,
}

impl Running {
    /// Starts the program.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = lines_of(child.stdout.take().unwrap());
        let stderr = lines_of(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
            shown: String::new(),
            told: String::new(),
        }
    }

    /// Waits until standard output has a line with this in it.
    pub fn wait_for_stdout(&mut self, wanted: &str) {
        wait_for(&self.stdout, &mut self.shown, wanted);
    }

    /// Waits until standard error has a line with this in it.
    pub fn wait_for_stderr(&mut self, wanted: &str) {
        wait_for(&self.stderr, &mut self.told, wanted);
    }

    /// What it has said on standard error up to the last line that was waited for.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// Sends a signal to the program alone.
    pub fn signal_alone(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: `kill` takes no pointers; the child was not waited for, so the number is its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    }

    /// Sends a signal to the program's whole process group, as a terminal does.
    pub fn signal(&self, signal: libc::c_int) {
        let group = libc::pid_t::try_from(self.child.id()).unwrap();
        // SAFETY: `killpg` takes no pointers; the child was not waited for, so its group is its own.
        assert_eq!(unsafe { libc::killpg(group, signal) }, 0);
    }

    /// Waits until the program handles this signal itself.
    pub fn wait_until_it_catches(&self, signal: libc::c_int) {
        let path = format!("/proc/{}/status", self.child.id());
        let deadline = Instant::now() + GUARD;
        loop {
            let status = fs::read_to_string(&path).unwrap();
            let caught = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:"))
                .unwrap();
            let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
            if caught & (1 << (signal - 1)) != 0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "it never handles signal {signal}"
            );
            thread::yield_now();
        }
    }

    /// Closes this side of standard output.
    pub fn stop_reading(&mut self) {
        self.stdout = mpsc::channel().1;
    }

    /// Waits for the end of the program and of its output.
    pub fn finish(mut self) -> Outcome {
        let (done, status) = mpsc::channel();
        let id = libc::pid_t::try_from(self.child.id()).unwrap();
        thread::spawn(move || done.send(wait_for_exit(id)));
        let Ok(status) = status.recv_timeout(GUARD) else {
            panic!(
                "the program did not end; it said {:?}",
                self.stderr.try_iter().collect::<Vec<_>>()
            );
        };
        for (lines, text) in [
            (&self.stdout, &mut self.shown),
            (&self.stderr, &mut self.told),
        ] {
            while let Ok(line) = lines.recv_timeout(GUARD) {
                text.push_str(&line);
            }
        }
        Outcome {
            status: ExitStatus::from_raw(status).code(),
            stdout: std::mem::take(&mut self.shown),
            stderr: std::mem::take(&mut self.told),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the program has ended, as it does in a test that passes.
        let _ = self.child.kill();
    }
}

fn wait_for_exit(id: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: the pointer is valid for writing one integer, which is all that the call does.
    let waited = unsafe { libc::waitpid(id, &raw mut status, 0) };
    assert_eq!(waited, id);
    status
}

fn lines_of(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).unwrap() > 0 {
            // Nobody listens any more: this side of the stream is closed by returning.
            if lines
                .send(String::from_utf8(std::mem::take(&mut line)).unwrap())
                .is_err()
            {
                return;
            }
        }
    });
    receiver
}

fn wait_for(lines: &mpsc::Receiver<String>, text: &mut String, wanted: &str) {
    loop {
        let line = lines
            .recv_timeout(GUARD)
            .unwrap_or_else(|error| panic!("{error}: no {wanted:?} after {text:?}"));
        text.push_str(&line);
        if line.contains(wanted) {
            return;
        }
    }
}
