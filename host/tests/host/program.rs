// SPDX-License-Identifier: Apache-2.0
//! The built program in a process of its own, and clients of it that read and write frames.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::support::{GUARD, execute, frame};

/// The path of a program of this package, as Cargo or Bazel gives it.
pub fn program(cargo: Option<&str>, bazel: &str) -> String {
    cargo
        .map(str::to_owned)
        .or_else(|| std::env::var(bazel).ok())
        .unwrap_or_else(|| {
            panic!("neither Cargo nor the variable {bazel} says where the program is")
        })
}

pub fn host() -> Command {
    let mut host = Command::new(program(
        option_env!("CARGO_BIN_EXE_code_mode_host"),
        "CODE_MODE_HOST",
    ));
    host.env_remove("RUST_LOG");
    host
}

/// A host that is killed when the test is over.
pub struct Host {
    pub child: Child,
    pub input: Option<ChildStdin>,
    pub output: ChildStdout,
}

impl Host {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = host();
        command.args(arguments);
        Self::from(command)
    }

    pub fn from(mut command: Command) -> Self {
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

    pub fn ready(arguments: &[&str]) -> Self {
        let mut host = Self::start(arguments);
        host.send(&hello());
        assert_eq!(next(&mut host.output).unwrap()["type"], "connection/ready");
        host.send(&open());
        assert_eq!(next(&mut host.output).unwrap()["result"]["status"], "ok");
        host
    }

    pub fn send(&mut self, message: &Value) {
        self.input
            .as_mut()
            .unwrap()
            .write_all(&frame(message))
            .unwrap();
    }

    /// The status and standard error once the host has ended by itself.
    pub fn end(mut self) -> (Option<i32>, String) {
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

pub fn hello() -> Value {
    json!({
        "type": "connection/hello", "supportedVersions": [1],
        "requiredCapabilities": [], "optionalCapabilities": [],
    })
}

pub fn open() -> Value {
    request(0, &json!({"method": "session/open", "sessionId": "s1"}))
}

pub fn request(id: i64, request: &Value) -> Value {
    json!({"type": "operation/request", "id": id, "request": request})
}

pub fn next(output: &mut impl Read) -> Option<Value> {
    let mut length = [0; 4];
    output.read_exact(&mut length).ok()?;
    let mut payload = vec![0; u32::from_le_bytes(length) as usize];
    output.read_exact(&mut payload).ok()?;
    Some(serde_json::from_slice(&payload).unwrap())
}

pub fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// A host that leads a group, with a script that waits for a tool; and the id of that call.
pub fn waiting_for_a_tool(arguments: &[&str]) -> (Host, Value) {
    use std::os::unix::process::CommandExt;
    let mut command = host();
    command.args(arguments).process_group(0);
    let mut host = Host::from(command);
    for message in [
        hello(),
        open(),
        request(1, &execute(&["gate"], "text(await tools.gate())")),
    ] {
        host.send(&message);
    }
    for _ in 0..3 {
        next(&mut host.output).unwrap();
    }
    let call = next(&mut host.output).unwrap();
    assert_eq!(call["type"], "delegate/request", "{call}");
    (host, call["id"].clone())
}
