//! The built program: its streams, its arguments, and how it ends.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use code_mode_host::EXIT_DEADLINE;
use serde_json::{Value, json};

use crate::support::{GUARD, execute, frame};

/// What a loaded machine may take beyond a deadline.
const SLACK: Duration = Duration::from_secs(3);

/// The path of a program of this package, as Cargo or Bazel gives it.
pub fn program(cargo: Option<&str>, bazel: &str) -> String {
    cargo
        .map(str::to_owned)
        .or_else(|| std::env::var(bazel).ok())
        .unwrap_or_else(|| {
            panic!("neither Cargo nor the variable {bazel} says where the program is")
        })
}

fn host() -> Command {
    let mut host = Command::new(program(
        option_env!("CARGO_BIN_EXE_code_mode_host"),
        "CODE_MODE_HOST",
    ));
    host.env_remove("RUST_LOG");
    host
}

/// A host that is killed when the test is over.
struct Host {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Host {
    fn start(arguments: &[&str]) -> Self {
        let mut command = host();
        command.args(arguments);
        Self::from(command)
    }

    fn from(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = child.stdout.take().unwrap();
        Self {
            child,
            input,
            output,
        }
    }

    fn ready(arguments: &[&str]) -> Self {
        let mut host = Self::start(arguments);
        host.send(&hello());
        assert_eq!(next(&mut host.output).unwrap()["type"], "connection/ready");
        host.send(&open());
        assert_eq!(next(&mut host.output).unwrap()["result"]["status"], "ok");
        host
    }

    fn send(&mut self, message: &Value) {
        self.input
            .as_mut()
            .unwrap()
            .write_all(&frame(message))
            .unwrap();
    }

    /// The status and standard error once the host has ended by itself.
    fn end(mut self) -> (Option<i32>, String) {
        let mut stderr = self.child.stderr.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            // The test has given up if nobody listens.
            let _ = sender.send(text);
        });
        let stderr = receiver
            .recv_timeout(GUARD)
            .expect("the host ends by itself");
        (self.child.wait().unwrap().code(), stderr)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It has mostly ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hello() -> Value {
    json!({
        "type": "connection/hello", "supportedVersions": [1],
        "requiredCapabilities": [], "optionalCapabilities": [],
    })
}

fn open() -> Value {
    request(0, &json!({"method": "session/open", "sessionId": "s1"}))
}

fn request(id: i64, request: &Value) -> Value {
    json!({"type": "operation/request", "id": id, "request": request})
}

fn next(output: &mut impl Read) -> Option<Value> {
    let mut length = [0; 4];
    output.read_exact(&mut length).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(length) as usize];
    output.read_exact(&mut payload).ok()?;
    Some(serde_json::from_slice(&payload).unwrap())
}

fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn help_and_version_are_printed_and_unknown_arguments_are_usage_errors() {
    let help = finish(host().arg("--help"));
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("Usage: code_mode_host") && text.contains("--limit NAME=VALUE"));

    let version = finish(host().arg("--version"));
    assert!(version.status.success());
    let text = String::from_utf8(version.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("code_mode_host "), "{text}");
    assert!(lines[1].starts_with("V8 ") && lines[1].len() > 8, "{text}");
    assert_eq!(lines[2], "sandbox on");

    for arguments in [
        &["--frobnicate"][..],
        &["--listen", "tcp"],
        &["--limit", "heap=x"],
    ] {
        let refused = finish(host().args(arguments));
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        assert!(refused.stdout.is_empty());
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--help"));
    }
}

#[test]
fn an_empty_input_is_a_clean_end() {
    let output = finish(&mut host());
    assert!(output.status.success());
    assert!(
        output.stdout.is_empty() && output.stderr.is_empty(),
        "{output:?}"
    );
}

#[test]
fn the_end_of_input_ends_a_spinning_cell_and_the_process_cleanly_and_in_time() {
    let mut host = Host::ready(&[]);
    host.send(&request(1, &execute(&[], "for (;;) {}")));
    assert_eq!(
        next(&mut host.output).unwrap()["result"]["value"]["cellId"],
        "1"
    );
    let start = Instant::now();
    drop(host.input.take());
    let (status, stderr) = host.end();
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(
        start.elapsed() < EXIT_DEADLINE + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_violation_ends_the_process_in_time_with_the_reason_on_standard_error() {
    let mut host = Host::ready(&[]);
    host.send(&request(1, &execute(&[], "for (;;) {}")));
    assert_eq!(
        next(&mut host.output).unwrap()["result"]["value"]["cellId"],
        "1"
    );
    let start = Instant::now();
    host.send(&hello());
    let (status, stderr) = host.end();
    assert_eq!(status, Some(1));
    assert!(stderr.contains("protocol violation by the client: a second connection/hello"));
    assert!(
        start.elapsed() < EXIT_DEADLINE + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_a_failed_host_alive() {
    let mut host = Host::ready(&[]);
    host.send(&request(1, &execute(&[], "text('x'.repeat(4 << 20))")));
    host.send(&request(2, &execute(&[], "for (;;) {}")));
    let start = Instant::now();
    host.send(&hello());
    let (status, _) = host.end();
    assert_eq!(status, Some(1));
    assert!(
        start.elapsed() < EXIT_DEADLINE + SLACK,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn the_reason_is_told_whatever_the_log_filter_says_and_in_the_format_asked_for() {
    for (filter, format) in [
        ("off", "text"),
        ("warn", "json"),
        ("no such filter!", "text"),
    ] {
        let mut child = host()
            .args(["--log-format", format])
            .env("RUST_LOG", filter)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(&[1, 0, 0, 0, b'{'])
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("protocol violation by the client"),
            "{filter}: {stderr}"
        );
        if format == "json" {
            let line: Value = serde_json::from_str(stderr.lines().next().unwrap()).unwrap();
            assert_eq!(line["level"], "ERROR");
        }
    }
}

#[test]
fn descriptor_1_is_standard_error_so_that_nothing_else_writes_into_the_frames() {
    let host = Host::ready(&[]);
    let descriptor =
        |number: u32| std::fs::read_link(format!("/proc/{}/fd/{number}", host.child.id())).unwrap();
    assert_eq!(descriptor(1), descriptor(2));
}

#[test]
fn limits_of_the_command_line_are_in_force() {
    let mut host = Host::ready(&["--limit", "source=5"]);
    host.send(&request(1, &execute(&[], "text('too long')")));
    let answer = next(&mut host.output).unwrap();
    let message = answer["result"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("the limit of 5 source bytes is reached"),
        "{message}"
    );
}

#[test]
fn timings_are_sent_with_the_flag_only() {
    for (arguments, timings) in [(&[][..], false), (&["--timings"][..], true)] {
        let mut host = Host::ready(arguments);
        host.send(&request(1, &execute(&[], "text(1)")));
        next(&mut host.output).unwrap();
        let first = next(&mut host.output).unwrap();
        let result = &first["result"]["value"]["Result"];
        assert_eq!(result["code_mode_host_duration_ns"].is_u64(), timings);
    }
}

#[test]
fn files_and_sockets_serve_as_well_as_pipes() {
    let shutdown = request(2, &json!({"method": "session/shutdown", "sessionId": "s1"}));
    let session = [frame(&hello()), frame(&open()), frame(&shutdown)].concat();
    let last = |mut output: Box<dyn Read>| {
        let frames: Vec<Value> = std::iter::from_fn(|| next(&mut output)).collect();
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert_eq!(frames[2]["result"]["value"]["type"], "session/closed");
    };

    let mut input = tempfile::tempfile().unwrap();
    input.write_all(&session).unwrap();
    input.rewind().unwrap();
    let mut output = tempfile::tempfile().unwrap();
    let status = host().stdin(input).stdout(file(&output)).status().unwrap();
    assert!(status.success());
    output.rewind().unwrap();
    last(Box::new(output));

    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let output: OwnedFd = theirs.try_clone().unwrap().into();
    let mut child = host()
        .stdin(OwnedFd::from(theirs))
        .stdout(output)
        .spawn()
        .unwrap();
    ours.write_all(&session).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(child.wait().unwrap().success());
    last(Box::new(ours));
}

fn file(file: &File) -> File {
    file.try_clone().unwrap()
}

#[test]
fn spans_are_told_on_standard_error_if_they_are_asked_for_and_frames_stay_alone_on_the_output() {
    for (filter, format, told) in [
        (None, "text", false),
        (Some("code_mode::timing=debug"), "text", true),
        (Some("code_mode::timing=debug"), "json", true),
        (Some("code_mode::timing=info"), "text", false),
    ] {
        let mut command = host();
        command.args(["--log-format", format]);
        if let Some(filter) = filter {
            command.env("RUST_LOG", filter);
        }
        let mut host = Host::from(command);
        for message in [hello(), open(), request(1, &execute(&[], "text(1)"))] {
            host.send(&message);
        }
        let types: Vec<Value> = (0..5)
            .map(|_| next(&mut host.output).unwrap()["type"].take())
            .collect();
        assert_eq!(
            types,
            [
                "connection/ready",
                "operation/response",
                "operation/response",
                "execute/initialResponse",
                "cell/closed"
            ]
        );
        drop(host.input.take());
        let (status, stderr) = host.end();
        assert_eq!(status, Some(0));
        let encoded = |line: &&str| {
            ["encode", "close", "bytes", "time.busy", "time.idle"]
                .iter()
                .all(|part| line.contains(part))
        };
        let count = stderr.lines().filter(encoded).count();
        assert_eq!(count, if told { 5 } else { 0 }, "{filter:?}: {stderr}");
        assert!(told || stderr.is_empty(), "{filter:?}: {stderr}");
    }
}
