// SPDX-License-Identifier: Apache-2.0
//! The process of a server: what it starts with, what it says on standard error, and how it ends.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::config::TransportSpec;

/// Variables that every server gets where they are set: who and where one is, and how programs of the
/// usual kinds reach the network. All others, credentials above all, are named in the configuration.
const INHERITED: [&str; 33] = [
    "HOME",
    "LOGNAME",
    "USER",
    "PATH",
    "SHELL",
    "TERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "npm_config_cache",
];

/// How long a server may take to end once its input is closed, and again once it was asked to by SIGTERM
/// (2 s each); then its process group is killed.
const END_GRACE: Duration = Duration::from_secs(2);

/// Lines of standard error that are kept for an error.
const KEPT_LINES: usize = 8;

/// Bytes of one such line that are kept.
const KEPT_LINE_BYTES: usize = 400;

/// The last lines of a server's standard error.
#[derive(Clone, Default)]
pub struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    /// The lines, or nothing if there are none.
    pub fn text(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    fn add(&self, line: &[u8]) {
        let kept = line.get(..KEPT_LINE_BYTES).unwrap_or(line);
        let text = String::from_utf8_lossy(kept).trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

/// A server's process with its streams.
pub struct Process {
    /// The process; dropping it kills it, without its group.
    pub child: Child,
    /// What it reads.
    pub input: ChildStdin,
    /// What it writes.
    pub output: ChildStdout,
    /// What it has said on standard error.
    pub words: LastWords,
}

/// Starts the program of `spec` in a process group of its own.
///
/// # Errors
/// When the program cannot be executed.
pub fn start(
    program: &Path,
    arguments: &[String],
    environment: &BTreeMap<String, String>,
    folder: Option<&Path>,
) -> io::Result<Process> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(
            INHERITED
                .iter()
                .filter_map(|&name| Some((name, env::var_os(name)?))),
        )
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec the closure makes two system calls, prctl with constants and
    // getppid without arguments, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the signal was set.
            if libc::getppid() as u32 != parent {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
    let input = child.stdin.take().ok_or_else(broken)?;
    let output = child.stdout.take().ok_or_else(broken)?;
    let words = LastWords::default();
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(keep_words(stderr, words.clone()));
    }
    Ok(Process {
        child,
        input,
        output,
        words,
    })
}

/// How a command is told of in errors.
pub fn shown(spec: &TransportSpec) -> String {
    match spec {
        TransportSpec::Command { program, .. } => program.display().to_string(),
        TransportSpec::Http { url, .. } => {
            // What stands behind `?` may be a key.
            url.split(['?', '#']).next().unwrap_or_default().to_owned()
        }
    }
}

/// Reads until the end, so that the server never waits for room; a line is cut, never held whole.
async fn keep_words(stderr: ChildStderr, words: LastWords) {
    keep_lines(stderr, &words).await;
}

async fn keep_lines(stream: impl AsyncRead + Unpin, words: &LastWords) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut reader).take(KEPT_LINE_BYTES as u64 + 1);
        match limited.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => words.add(&line),
        }
    }
}

/// Waits until the process has ended, after its input was closed, and helps if it does not; says how it
/// ended.
pub async fn end(child: &mut Child) -> String {
    let group = child.id().and_then(|id| libc::pid_t::try_from(id).ok());
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        if let Ok(ended) = tokio::time::timeout(END_GRACE, child.wait()).await {
            // Whatever it has started and left behind ends with it.
            kill_group(group, libc::SIGKILL);
            return status(ended);
        }
        kill_group(group, signal);
    }
    status(child.wait().await)
}

fn kill_group(group: Option<libc::pid_t>, signal: libc::c_int) {
    if let Some(group) = group.filter(|group| *group > 1) {
        // SAFETY: `killpg` takes no pointers and touches no memory of this process. The group is the
        // child's own, which was made with it; nobody else can have its number while a member lives.
        unsafe { libc::killpg(group, signal) };
    }
}

fn status(ended: io::Result<std::process::ExitStatus>) -> String {
    match ended {
        Ok(status) => status.to_string(),
        Err(error) => format!("its status could not be had: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;

    fn shell(script: &str, environment: &[(&str, &str)]) -> Process {
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let arguments = ["-c".to_owned(), script.to_owned()];
        start(Path::new("/bin/sh"), &arguments, &environment, None).unwrap()
    }

    async fn output(mut process: Process) -> String {
        let mut text = String::new();
        process.output.read_to_string(&mut text).await.unwrap();
        end(&mut process.child).await;
        text
    }

    #[tokio::test]
    async fn a_server_gets_what_is_configured_and_nothing_else_of_ours() {
        // Cargo and Bazel set variables for tests that no server should see.
        let script = "echo \"$KEY\"; env | grep -c -E '^(CARGO|TEST_|RUNFILES)' || true";
        assert_eq!(
            output(shell(script, &[("KEY", "value")])).await,
            "value\n0\n"
        );
    }

    #[tokio::test]
    async fn the_last_words_of_a_server_are_kept_and_bounded() {
        let words = LastWords::default();
        let mut text = "y".repeat(10 * KEPT_LINE_BYTES);
        for number in 0..20 {
            text.push_str(&format!("\nline {number}"));
        }
        keep_lines(text.as_bytes(), &words).await;
        let kept = words.text().unwrap();
        assert_eq!(kept.lines().count(), KEPT_LINES);
        assert!(kept.ends_with("line 19"), "{kept}");
        assert!(kept.lines().all(|line| line.len() <= KEPT_LINE_BYTES));
    }

    #[tokio::test]
    async fn a_server_whose_input_ends_may_end_by_itself() {
        let mut process = shell("cat; exit 3", &[]);
        process.input.write_all(b"x").await.unwrap();
        drop(process.input);
        assert_eq!(end(&mut process.child).await, "exit status: 3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_end_is_killed_with_all_that_it_has_started() {
        let script = "trap '' TERM; (trap '' TERM; exec sleep 1000) & echo $!; wait; sleep 1000";
        let mut process = shell(script, &[]);
        let mut id = String::new();
        BufReader::new(&mut process.output)
            .read_line(&mut id)
            .await
            .unwrap();
        let begun = Instant::now();
        assert_eq!(end(&mut process.child).await, "signal: 9 (SIGKILL)");
        // It had its time after the end of its input, and again after it was asked to end.
        let took = begun.elapsed();
        assert!((2 * END_GRACE..3 * END_GRACE).contains(&took), "{took:?}");
        // The pipe is closed once nobody holds it.
        let mut rest = String::new();
        process.output.read_to_string(&mut rest).await.unwrap();
    }
}
