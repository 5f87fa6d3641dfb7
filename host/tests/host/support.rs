// SPDX-License-Identifier: Apache-2.0
//! Hosts in this process and clients that speak frames only.

use std::future::Future;
use std::time::Duration;

use code_mode_host::V1Timings;
use code_mode_host::conformance::{End, Host, Mismatch, Tolerance, Transcript, play};
use code_mode_host::{HostConfig, ServeError, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

/// Bytes that a stream of a test holds, as many as a pipe of Linux.
pub const PIPE_BYTES: usize = 64 << 10;

/// How long anything in a test may take; only a defect takes so long.
pub const GUARD: Duration = Duration::from_secs(60);

/// What a loaded machine, or a V8 that verifies its heap, may take beyond a deadline.
pub const SLACK: Duration = Duration::from_secs(3);

/// Plays a transcript against a host with this configuration.
#[track_caller]
pub fn check(config: HostConfig, steps: &str) {
    let transcript = Transcript::parse(steps).expect("the transcript can be understood");
    if let Err(mismatch) = play_here(config, &transcript) {
        panic!("{mismatch}\nin the transcript\n{steps}");
    }
}

/// Plays a transcript against a host in this process.
pub fn play_here(config: HostConfig, transcript: &Transcript) -> Result<(), Mismatch> {
    let tolerance = if config.timings != V1Timings::None {
        Tolerance::Timings
    } else {
        Tolerance::Strict
    };
    run(async {
        let (client, host) = tokio::io::duplex(PIPE_BYTES);
        let (reader, writer) = tokio::io::split(host);
        let drain = config.drain.clone();
        let served = tokio::spawn(serve(reader, writer, config));
        let (reader, writer) = tokio::io::split(client);
        let terminate = || -> Result<(), String> {
            let drain = drain.as_ref().ok_or("this host hears no signals")?;
            drain.begin();
            Ok(())
        };
        let end = async {
            match served.await {
                Ok(Ok(())) => End::Clean,
                Ok(Err(error)) => End::Failed(error.to_string()),
                Err(error) => End::Failed(error.to_string()),
            }
        };
        let host = Host {
            reader,
            writer,
            terminate,
            end,
        };
        play(transcript, host, tolerance).await
    })
}

/// Runs a test's future on a Tokio runtime of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    tokio.expect("Tokio starts").block_on(within(future))
}

/// A future that must not take longer than the guard.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future)
        .await
        .expect("the host goes on before the guard is over")
}

/// A client for tests that are more than an exchange of known frames.
pub struct Client {
    pub stream: DuplexStream,
    pub served: JoinHandle<Result<(), ServeError>>,
}

impl Client {
    /// A client of a new host, behind streams that hold this many bytes.
    pub fn new(config: HostConfig, stream_bytes: usize) -> Self {
        let (stream, host) = tokio::io::duplex(stream_bytes);
        let (reader, writer) = tokio::io::split(host);
        Self {
            stream,
            served: tokio::spawn(serve(reader, writer, config)),
        }
    }

    /// Shakes hands and opens the session `s1` with request 0.
    pub async fn ready(&mut self) {
        self.send(&json!({
            "type": "connection/hello", "supportedVersions": [1],
            "requiredCapabilities": [], "optionalCapabilities": [],
        }))
        .await;
        assert_eq!(self.next().await.unwrap()["type"], "connection/ready");
        let open = json!({"method": "session/open", "sessionId": "s1"});
        self.request(0, open).await;
        assert_eq!(self.next().await.unwrap()["result"]["status"], "ok");
    }

    pub async fn request(&mut self, id: i64, request: Value) {
        self.send(&json!({"type": "operation/request", "id": id, "request": request}))
            .await;
    }

    pub async fn execute(&mut self, id: i64, tools: &[&str], source: &str) {
        self.request(id, execute(tools, source)).await;
    }

    pub async fn send(&mut self, message: &Value) {
        self.stream
            .write_all(&frame(message))
            .await
            .expect("the host takes the frame");
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        if self.stream.read_exact(&mut length).await.is_err() {
            return None;
        }
        let mut payload = vec![0; u32::from_le_bytes(length) as usize];
        self.stream
            .read_exact(&mut payload)
            .await
            .expect("frames are whole");
        Some(serde_json::from_slice(&payload).expect("frames hold JSON"))
    }

    /// How the host has ended.
    pub async fn end(self) -> Result<(), ServeError> {
        self.served.await.expect("the host does not panic")
    }
}

/// A request that executes a source in session `s1`.
pub fn execute(tools: &[&str], source: &str) -> Value {
    let tools: Vec<Value> = tools
        .iter()
        .map(|name| {
            json!({
                "name": name, "tool_name": {"name": name, "namespace": null}, "description": "",
                "kind": "function", "input_schema": null, "output_schema": null,
            })
        })
        .collect();
    json!({
        "method": "session/execute", "sessionId": "s1",
        "request": {
            "tool_call_id": "call-1", "enabled_tools": tools, "source": source,
            "yield_time_ms": null, "max_output_tokens": null,
        },
    })
}

/// A message as a frame.
pub fn frame(message: &Value) -> Vec<u8> {
    let payload = message.to_string();
    let length = u32::try_from(payload.len()).expect("a test's frame is short");
    [&length.to_le_bytes(), payload.as_bytes()].concat()
}
