// SPDX-License-Identifier: Apache-2.0
//! The front end over streamable HTTP, on both of its sides.

use std::collections::HashMap;
use std::net::SocketAddr;

use code_mode_mcp::http::{
    END_GRACE, Gate, HEADER_TIMEOUT, MAX_CONNECTIONS, MAX_SESSIONS, PATH, SESSION_IDLE_TIME,
    serve_http,
};
use pretty_assertions::assert_eq;
use rmcp::model::{CallToolRequestParams, ClientConfig, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{front, servers, text};

const TOKEN: &str = "the-token-of-the-test";

struct Served {
    folder: TempDir,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    async fn new(kinds: &[&str], origins: &[&str]) -> Self {
        Self::at("127.0.0.1:0", kinds, origins).await
    }

    async fn at(address: &str, kinds: &[&str], origins: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let front = front(folder.path(), servers(folder.path(), kinds), json!({}));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Gate {
            token: TOKEN.to_owned(),
            origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            any_host: false,
        };
        let shutdown = CancellationToken::new();
        Self {
            task: tokio::spawn(serve_http(front, listener, gate, shutdown.clone())),
            folder,
            address,
            shutdown,
        }
    }

    fn url(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    fn transport(&self) -> StreamableHttpClientTransport<reqwest::Client> {
        install_provider();
        let config = StreamableHttpClientTransportConfig::with_uri(self.url()).auth_header(TOKEN);
        let client = reqwest::Client::builder().tls_certs_only([]).build();
        StreamableHttpClientTransport::with_client(client.expect("a client"), config)
    }

    async fn client(&self) -> RunningService<RoleClient, ClientConfig> {
        ClientConfig::default()
            .serve(self.transport())
            .await
            .unwrap()
    }

    /// The first line of the answer to a greeting with these headers.
    async fn status(&self, path: &str, headers: &str) -> String {
        let answer = self.answer(path, headers, &greeting()).await;
        answer.lines().next().unwrap_or_default().to_owned()
    }

    /// The head of the answer to a request with these headers.
    async fn answer(&self, path: &str, headers: &str, body: &Value) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let body = body.to_string();
        let head = self.head(path, headers, body.len());
        let request = format!("{head}{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let whole = |answer: &[u8]| answer.windows(4).any(|end| end == b"\r\n\r\n");
        while !whole(&answer) && stream.read_buf(&mut answer).await.unwrap() > 0 {}
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn head(&self, path: &str, headers: &str, bytes: usize) -> String {
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {bytes}\r\n{headers}\r\n",
            self.address,
        )
    }
}

fn greeting() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }})
}

/// The header that names a session in the answer to a greeting.
fn session_header(answer: &str) -> String {
    let named = answer
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:"));
    format!("{}\r\n", named.expect("a session"))
}

fn authorized() -> String {
    format!("Authorization: Bearer {TOKEN}\r\n")
}

fn install_provider() {
    // Another test may have been first.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
}

async fn exec(client: &RunningService<RoleClient, ClientConfig>, code: &str) -> String {
    let mut params = CallToolRequestParams::new("exec");
    params.arguments = json!({"code": code}).as_object().cloned();
    text(&client.call_tool(params).await.unwrap())
}

#[tokio::test]
async fn each_session_has_its_own_values_and_all_have_the_same_servers() {
    let served = Served::new(&["people"], &[]).await;
    let (one, other) = (served.client().await, served.client().await);
    assert_eq!(
        exec(
            &one,
            "store('key', 1); text((await tools.people__find({ id: 3 })).name)"
        )
        .await,
        "person 3"
    );
    assert_eq!(exec(&one, "text(load('key'))").await, "1");
    assert_eq!(exec(&other, "text(load('key'))").await, "undefined");
    served.shutdown.cancel();
    served.task.await.unwrap();
    drop(served.folder);
}

#[tokio::test]
async fn a_client_of_the_newest_revision_needs_no_session() {
    let served = Served::new(&[], &[]).await;
    let mode = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::LATEST],
    };
    let client = ClientConfig::default()
        .serve_with_lifecycle(served.transport(), mode)
        .await
        .unwrap();
    assert_eq!(exec(&client, "store('key', 1); text('kept')").await, "kept");
    assert_eq!(exec(&client, "text(load('key'))").await, "1");
}

#[tokio::test]
async fn nobody_comes_in_without_the_token_or_from_a_page_that_was_not_named() {
    let served = Served::new(&[], &["https://good.example"]).await;
    let right = authorized();
    for (path, headers, expected) in [
        (PATH, right.clone(), "200"),
        (PATH, String::new(), "401"),
        (PATH, "Authorization: Bearer wrong\r\n".to_owned(), "401"),
        (PATH, format!("Authorization: Basic {TOKEN}\r\n"), "401"),
        (
            PATH,
            format!("{right}Authorization: Bearer wrong\r\n"),
            "401",
        ),
        (
            PATH,
            format!("{right}Origin: https://good.example\r\n"),
            "200",
        ),
        (
            PATH,
            format!("{right}Origin: https://evil.example\r\n"),
            "403",
        ),
        ("/", right.clone(), "404"),
    ] {
        let status = served.status(path, &headers).await;
        assert!(status.contains(expected), "{path} {headers}: {status}");
    }
}

#[tokio::test]
async fn a_server_is_reached_over_http_with_its_headers() {
    let inner = Served::new(&["people"], &[]).await;
    let outer = tempfile::tempdir().unwrap();
    let mut headers = HashMap::from([("Authorization", format!("Bearer {TOKEN}"))]);
    let server = |headers: &HashMap<&str, String>| -> Value {
        json!({"inner": {"url": inner.url(), "headers": headers}})
    };
    let good = front(outer.path(), server(&headers), json!({}));
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    tokio::spawn(code_mode_mcp::serve_streams(good, reader, writer));
    let client = ClientConfig::default().serve(ours).await.unwrap();
    // A script within a script.
    let code = "text(await tools.inner__exec({ code: `text((await tools.people__find({ id: 5 })).name)` }))";
    assert_eq!(exec(&client, code).await, "person 5");

    headers.insert("Authorization", "Bearer not-the-token".to_owned());
    let bad = front(outer.path(), server(&headers), json!({}));
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    tokio::spawn(code_mode_mcp::serve_streams(bad, reader, writer));
    let client = ClientConfig::default().serve(ours).await.unwrap();
    let told = exec(&client, "await tools.inner__exec({ code: '' })").await;
    assert!(
        told.contains("the MCP server inner is not available"),
        "{told}"
    );
    assert!(!told.contains("not-the-token"), "{told}");
}

#[tokio::test]
async fn a_server_over_http_that_went_away_says_so_and_is_used_again_when_it_is_back() {
    let inner = Served::new(&["people"], &[]).await;
    let address = inner.address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut all = servers(folder.path(), &["chart"]);
    all["inner"] =
        json!({"url": inner.url(), "headers": {"Authorization": format!("Bearer {TOKEN}")}});
    let front = front(folder.path(), all, json!({}));
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (reader, writer) = tokio::io::split(theirs);
    tokio::spawn(code_mode_mcp::serve_streams(front, reader, writer));
    let client = ClientConfig::default().serve(ours).await.unwrap();
    let code = "try { text(await tools.inner__search({ query: 'person' })) } catch (e) { text('failed: ' + e.message) }
        text((await tools.chart__both({}))[0].text);";
    let there = exec(&client, code).await;
    assert!(there.contains("people__find"), "{there}");

    inner.shutdown.cancel();
    inner.task.await.unwrap();
    let gone = exec(&client, code).await;
    assert!(gone.starts_with("failed: the MCP server inner "), "{gone}");
    assert!(gone.ends_with("\na chart"), "{gone}");

    let _back = Served::at(&address, &["people"], &[]).await;
    // It is tried again after a pause, and a call in the meantime fails at once.
    while !exec(&client, code).await.contains("people__find") {}
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_makes_room_for_the_next_in_time() {
    let served = Served::new(&[], &[]).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let begun = Instant::now();
    let status = served.status(PATH, &authorized()).await;
    assert!(status.contains("200"), "{status}");
    assert!(begun.elapsed() >= HEADER_TIMEOUT, "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    // It was closed, whether or not something was said before.
    silent[0].read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn no_more_sessions_are_opened_than_there_is_room_for() {
    let served = Served::new(&[], &[]).await;
    for number in 0..MAX_SESSIONS {
        let status = served.status(PATH, &authorized()).await;
        assert!(status.contains("200"), "{number}: {status}");
    }
    let status = served.status(PATH, &authorized()).await;
    assert!(status.contains("500"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_ends() {
    let served = Served::new(&[], &[]).await;
    let greeted = served.answer(PATH, &authorized(), &greeting()).await;
    let headers = format!("{}{}", authorized(), session_header(&greeted));
    let ping = json!({"jsonrpc": "2.0", "id": 2, "method": "ping"});
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let answer = served.answer(PATH, &headers, &initialized).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let answer = served.answer(PATH, &headers, &ping).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    tokio::time::sleep(SESSION_IDLE_TIME + HEADER_TIMEOUT).await;
    let answer = served.answer(PATH, &headers, &ping).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_to_its_end_holds_no_shutdown_up() {
    let served = Served::new(&[], &[]).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let headers = format!("{}Expect: 100-continue\r\n", authorized());
    let head = served.head(PATH, &headers, 100);
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server says so once it reads what does not come.
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
    let begun = Instant::now();
    served.shutdown.cancel();
    served.task.await.unwrap();
    let took = begun.elapsed();
    assert!((END_GRACE..2 * END_GRACE).contains(&took), "{took:?}");
}
