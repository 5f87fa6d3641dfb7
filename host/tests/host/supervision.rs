// SPDX-License-Identifier: Apache-2.0
//! What fails, fails the connection, in time and with its reason.
//!
//! Cells run on threads here: in processes of their own they cannot fail the runtime.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use code_mode_host::{EXIT_DEADLINE, HostConfig, ServeError, serve};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::support::{Client, PIPE_BYTES, SLACK, check, execute, frame, run, within};

/// A script that no thread can be made to stop, although it was told to: the builtin never looks, and
/// comes to no end that a test could see.
const UNSTOPPABLE: &str = "Array.prototype.includes.call({ length: 2 ** 53 - 1 }, 1)";

#[test]
fn a_runtime_that_fails_answers_every_pending_request_and_ends_the_connection() {
    let mut config = HostConfig::default();
    config.runtime.cell_limits.cpu_time = Some(Duration::from_millis(50));
    check(
        config,
        &r#"
        ready code_mode/errors-v1
        open s1
        execute 1 s1 yield_control(); await new Promise(() => {})
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Yielded":"$any"}}}
        > {"type":"operation/request","id":2,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":60000}}}
        > {"type":"operation/request","id":3,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"await new Promise(() => {})","yield_time_ms":60000,"max_output_tokens":null}}}
        started 3 2
        > {"type":"operation/request","id":4,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"UNSTOPPABLE","yield_time_ms":60000,"max_output_tokens":null}}}
        started 4 3
        < {"type":"operation/response","id":2,"result":{"status":"error","message":"$text","code":"runtime-lost","side_effects":"possible"}}
        <& {"type":"execute/initialResponse","id":3,"result":{"status":"error","message":"$text","code":"runtime-lost","side_effects":"possible"}}
        <& {"type":"execute/initialResponse","id":4,"result":{"status":"error","message":"$text","code":"runtime-lost","side_effects":"possible"}}
        end failed
        "#
        .replace("UNSTOPPABLE", UNSTOPPABLE),
    );
}

/// A stream that behaves until it has passed this many bytes, and then as it was told.
struct Faulty<S> {
    stream: S,
    bytes: usize,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Fail,
    Panic,
}

impl<S> Faulty<S> {
    fn pass(&mut self, bytes: usize) -> io::Result<()> {
        match self.bytes.checked_sub(bytes) {
            Some(rest) => {
                self.bytes = rest;
                Ok(())
            }
            None => match self.then {
                Then::Fail => Err(io::Error::other("a test wants it so")),
                Then::Panic => panic!("a test wants it so"),
            },
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Faulty<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(self.pass(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Faulty<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pass(bytes.len())?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves a client that starts a spinning cell, over streams of which one is faulty, and gives the
/// error and what the failure hook was told.
fn serve_faulty(read_bytes: usize, write_bytes: usize, then: Then) -> (ServeError, Vec<String>) {
    run(async {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hook = Arc::clone(&told);
        let config = HostConfig {
            on_failure: Some(Arc::new(move |error| {
                hook.lock().unwrap().push(error.to_string())
            })),
            ..HostConfig::default()
        };
        let (stream, host) = tokio::io::duplex(PIPE_BYTES);
        let (reader, writer) = tokio::io::split(host);
        let reader = Faulty {
            stream: reader,
            bytes: read_bytes,
            then,
        };
        let writer = Faulty {
            stream: writer,
            bytes: write_bytes,
            then,
        };
        let mut client = Client {
            stream,
            served: tokio::spawn(serve(reader, writer, config)),
        };
        let hello = serde_json::json!({
            "type": "connection/hello", "supportedVersions": [1],
            "requiredCapabilities": [], "optionalCapabilities": [],
        });
        let open = serde_json::json!({
            "type": "operation/request", "id": 1,
            "request": {"method": "session/open", "sessionId": "s1"},
        });
        let spin = |id| {
            let request = execute(&[], "for (;;) {}");
            frame(&serde_json::json!({"type": "operation/request", "id": id, "request": request}))
        };
        // In one write, since the host may be gone before a second one.
        let requests = [frame(&hello), frame(&open), spin(2), spin(3)].concat();
        client.stream.write_all(&requests).await.unwrap();
        let start = Instant::now();
        while client.next().await.is_some() {}
        let error = client.end().await.unwrap_err();
        assert!(
            start.elapsed() < EXIT_DEADLINE + SLACK,
            "the end took {:?}",
            start.elapsed()
        );
        let told = told.lock().unwrap().clone();
        (error, told)
    })
}

/// Bytes after which a stream of the client above is within its requests.
const SOME_BYTES: usize = 500;
const ENOUGH: usize = usize::MAX;

#[test]
fn a_reader_that_fails_or_panics_fails_the_connection() {
    let (error, told) = serve_faulty(SOME_BYTES, ENOUGH, Then::Fail);
    assert!(matches!(error, ServeError::Read(_)), "{error}");
    assert_eq!(told, [error.to_string()]);
    let (error, told) = serve_faulty(SOME_BYTES, ENOUGH, Then::Panic);
    assert_eq!(
        error.to_string(),
        "the reader ended: it panicked: a test wants it so"
    );
    assert_eq!(told, [error.to_string()]);
}

#[test]
fn a_writer_that_fails_or_panics_fails_the_connection() {
    let (error, told) = serve_faulty(ENOUGH, 200, Then::Fail);
    assert!(matches!(error, ServeError::Write(_)), "{error}");
    assert_eq!(told, [error.to_string()]);
    let (error, told) = serve_faulty(ENOUGH, 200, Then::Panic);
    assert_eq!(
        error.to_string(),
        "the writer ended: it panicked: a test wants it so"
    );
    assert_eq!(told, [error.to_string()]);
}

#[test]
fn a_reader_that_panics_leaves_the_pending_requests_answered() {
    run(async {
        let (stream, host) = tokio::io::duplex(PIPE_BYTES);
        let (reader, writer) = tokio::io::split(host);
        let reader = Faulty {
            stream: reader,
            bytes: 700,
            then: Then::Panic,
        };
        let served = tokio::spawn(serve(reader, writer, HostConfig::default()));
        let mut client = Client { stream, served };
        client.ready().await;
        client.execute(1, &[], "await new Promise(() => {})").await;
        assert_eq!(
            client.next().await.unwrap()["result"]["value"]["cellId"],
            "1"
        );
        client.execute(2, &[], &"/".repeat(700)).await;
        let answer = within(client.next()).await.unwrap();
        assert_eq!(answer["type"], "execute/initialResponse");
        assert_eq!(answer["result"]["status"], "error");
        assert!(client.next().await.is_none());
    });
}

#[test]
fn after_a_violation_the_client_gets_no_more_answers() {
    check(
        HostConfig::default(),
        r#"
        ready
        open s1
        execute 1 s1 for (;;) {}
        started 1 1
        > {"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s2"}}
        end failed
        "#,
    );
}
