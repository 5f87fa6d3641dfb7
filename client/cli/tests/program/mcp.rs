// SPDX-License-Identifier: Apache-2.0
//! `code_mode mcp`, as an MCP client starts it and as a person manages it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;

use pretty_assertions::assert_eq;
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientConfig};
use rmcp::service::RunningService;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::support::{Fixture, GUARD, Running, program};

/// The servers of the package `client/mcp`: `MCP_TEST_SERVER`, or what Cargo has built beside the program.
fn server() -> PathBuf {
    if let Some(path) = std::env::var_os("MCP_TEST_SERVER") {
        // Absolute, because Bazel gives it relative to the test's working folder.
        return std::path::absolute(path).unwrap();
    }
    let server = program().with_file_name("mcp_test_server");
    assert!(
        server.is_file(),
        "{} is missing: build it with `cargo build -p code_mode_mcp`, or set MCP_TEST_SERVER",
        server.display()
    );
    server
}

fn servers(fixture: &Fixture, kinds: &[&str]) -> String {
    let servers = kinds.iter().map(|&kind| {
        (
            kind.to_owned(),
            json!({"command": server(), "args": [kind]}),
        )
    });
    let text = json!({"mcpServers": Value::Object(servers.collect())}).to_string();
    fixture.file("mcp.json", &format!("// the servers of the test\n{text}"));
    "mcp.json".to_owned()
}

struct Client {
    child: Child,
    client: RunningService<RoleClient, ClientConfig>,
}

impl Client {
    async fn start(fixture: &Fixture, arguments: &[&str]) -> Self {
        let mut command = tokio::process::Command::from(fixture.command(arguments));
        command.stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let streams = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let client = ClientConfig::default().serve(streams);
        let client = tokio::time::timeout(GUARD, client).await.unwrap().unwrap();
        Self { child, client }
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        let mut params = CallToolRequestParams::new(tool);
        params.arguments = arguments.as_object().cloned();
        tokio::time::timeout(GUARD, self.client.call_tool(params))
            .await
            .unwrap()
            .unwrap()
    }

    /// Closes the program's standard input and gives its status.
    async fn leave(mut self) -> Option<i32> {
        self.client.cancel().await.unwrap();
        let status = tokio::time::timeout(GUARD, self.child.wait())
            .await
            .unwrap()
            .unwrap();
        status.code()
    }
}

fn texts(result: &CallToolResult) -> Vec<&str> {
    result
        .content
        .iter()
        .filter_map(|block| block.as_text())
        .map(|block| &*block.text)
        .collect()
}

#[tokio::test]
async fn a_client_calls_three_servers_in_one_exec_and_gets_a_table_and_an_image() {
    let fixture = Fixture::new();
    let config = servers(&fixture, &["table", "people", "chart"]);
    let client = Client::start(
        &fixture,
        &["mcp", "--config", &config, "--audit", "audit.jsonl"],
    )
    .await;
    let tools = client.client.list_all_tools().await.unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["exec", "wait", "search"]);
    let code = "const [table, person, chart] = await Promise.all([
        tools.table__rows({ count: 2 }), tools.people__find({ id: 7 }), tools.chart__draw({}) ]);
        text(['id | amount', ...table.rows.map((row) => `${row.id} | ${row.amount}`)].join('\\n'));
        text({ owner: person.name });
        image(chart);";
    let result = client
        .call("exec", json!({"code": code, "yield_time_ms": 60_000}))
        .await;
    assert_eq!(
        texts(&result),
        ["id | amount\n1 | 10\n2 | 20", r#"{"owner":"person 7"}"#]
    );
    assert_eq!(result.content[2].as_image().unwrap().mime_type, "image/png");
    assert_eq!(
        result.structured_content,
        Some(json!({"owner": "person 7"}))
    );
    assert_eq!(client.leave().await, Some(0));

    let log = fixture.run(&["mcp", "log", "audit.jsonl"]);
    assert_eq!(log.status, Some(0), "{log:?}");
    for told in [
        "exec-1 runs",
        "table/rows",
        "people/find",
        "chart/draw",
        "ended as cell 1",
    ] {
        assert!(log.stdout.contains(told), "{log:?}");
    }
    assert_eq!(
        fixture
            .run(&["mcp", "log", "--failed", "audit.jsonl"])
            .stdout,
        ""
    );
}

#[tokio::test]
async fn tools_of_a_tools_file_stand_beside_those_of_servers() {
    let fixture = Fixture::new();
    fixture.tools(&[("shout", "tr a-z A-Z")]);
    let config = servers(&fixture, &["people"]);
    let client = Client::start(
        &fixture,
        &["mcp", "--config", &config, "--tools", "tools.json"],
    )
    .await;
    let code = "text(await tools.shout('hello')); text((await tools.people__find({ id: 1 })).name)";
    let result = client
        .call("exec", json!({"code": code, "yield_time_ms": 60_000}))
        .await;
    assert_eq!(texts(&result), ["HELLO", "person 1"]);
    assert_eq!(client.leave().await, Some(0));
}

/// Greets as an MCP client does, with this token, and gives all of the answer.
fn greet(address: &str, token: &str) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
    }})
    .to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    write!(
        stream,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_is_served_over_http_to_who_has_the_token_until_a_signal_comes() {
    let fixture = Fixture::new();
    fixture.file("token", "the-token-of-the-test\n");
    for (arguments, variable) in [
        (&["--token-file", "token"][..], None),
        (&[], Some("the-token-of-the-test")),
    ] {
        let config = servers(&fixture, &["people"]);
        let listen = ["mcp", "--config", &config, "--listen", "http://127.0.0.1:0"];
        let mut command = fixture.command(&[&listen, arguments].concat());
        command.envs(variable.map(|token| ("CODE_MODE_MCP_TOKEN", token)));
        let mut running = Running::start(command);
        running.wait_for_stderr("serving MCP at http://");
        let told = running.told();
        assert!(!told.contains("the-token-of-the-test"), "{told}");
        let (_, address) = told.trim_end().rsplit_once("http://").unwrap();
        let address = address.strip_suffix("/mcp").unwrap().to_owned();
        let refused = greet(&address, "another-token-altogether");
        assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
        let greeted = greet(&address, "the-token-of-the-test");
        assert!(greeted.starts_with("HTTP/1.1 200 "), "{greeted}");
        assert!(greeted.contains("\"serverInfo\""), "{greeted}");
        running.signal_alone(libc::SIGTERM);
        assert_eq!(running.finish().status, Some(143));
    }
}

#[test]
fn servers_are_added_listed_tested_and_removed() {
    let fixture = Fixture::new();
    let server = server().display().to_string();
    let added = fixture.run(&[
        "mcp",
        "add",
        "people",
        "--env",
        "KEY=${HOME}",
        "--",
        &server,
        "people",
    ]);
    assert_eq!(added.status, Some(0), "{added:?}");
    assert_eq!(
        fixture
            .run(&[
                "mcp",
                "add",
                "web",
                "--url",
                "http://127.0.0.1:1/mcp?key=x",
                "--header",
                "A=b"
            ])
            .status,
        Some(0)
    );
    let listed = fixture.run(&["mcp", "list"]);
    let expected = format!("people\t{server} with 1 arguments\nweb\thttp://127.0.0.1:1/mcp\n");
    assert_eq!(listed.stdout, expected);
    let tested = fixture.run(&["mcp", "test", "people"]);
    assert_eq!(tested.status, Some(0), "{tested:?}");
    assert_eq!(
        tested.stdout,
        "people: works, 5 tools: find, fail, count, hold, environment\n"
    );
    let tested = fixture.run(&["mcp", "test"]);
    assert_eq!(tested.status, Some(1), "{tested:?}");
    assert!(tested.stdout.contains("web: does not work: "), "{tested:?}");
    assert_eq!(fixture.run(&["mcp", "remove", "web"]).status, Some(0));
    assert_eq!(fixture.run(&["mcp", "remove", "web"]).status, Some(2));
    assert_eq!(fixture.run(&["mcp", "list"]).stdout.lines().count(), 1);
}

#[test]
fn several_files_count_and_toml_is_one_of_them() {
    let fixture = Fixture::new();
    let first = json!({"mcpServers": {
        "files": {"command": "x"}, "web": {"url": "http://127.0.0.1:1/a"},
    }});
    fixture.file("a.json", &first.to_string());
    let second = "[mcp_servers.web]\nurl = \"http://127.0.0.1:1/${NOWHERE:-b}\"\n";
    fixture.file("b.toml", second);
    let listed = fixture.run(&["mcp", "list", "--config", "a.json", "--config", "b.toml"]);
    assert_eq!(listed.stdout, "files\tx\nweb\thttp://127.0.0.1:1/b\n");
    assert!(
        listed
            .stderr
            .contains("replaces the one of an earlier file"),
        "{listed:?}"
    );
}

#[test]
fn an_installation_is_shown_carried_out_and_undone() {
    let fixture = Fixture::new();
    let before =
        "{\n  // mine\n  \"mcpServers\": {\n    \"files\": { \"command\": \"npx\" }\n  }\n}\n";
    let path = fixture.file(".claude.json", before);
    let asked = fixture.run(&["mcp", "install", "claude-code"]);
    assert_eq!(asked.status, Some(2), "{asked:?}");
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    let done = fixture.run(&["mcp", "install", "claude-code", "--take-over", "--yes"]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.contains("+    \"code_mode\": {"), "{done:?}");
    assert!(done.stderr.contains("taken over: files"), "{done:?}");
    assert_eq!(fixture.run(&["mcp", "list"]).stdout, "files\tnpx\n");
    assert_eq!(
        fixture
            .run(&["mcp", "uninstall", "claude-code", "--yes"])
            .status,
        Some(0)
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn what_cannot_be_served_is_refused_in_clear_words() {
    let fixture = Fixture::new();
    fixture.file("broken.json", "{");
    fixture.file("token", "fifteen bytes..\n");
    for (arguments, expected) in [
        (&["mcp", "--config", "broken.json"][..], "broken.json"),
        (
            &["mcp", "--config", "none.json"],
            "Failed to read the configuration",
        ),
        (&["mcp", "--listen", "http://0.0.0.0:0"], "--allow-remote"),
        (&["mcp", "--listen", "127.0.0.1:0"], "http://IP:PORT"),
        (
            &[
                "mcp",
                "--listen",
                "http://127.0.0.1:0",
                "--token-file",
                "token",
            ],
            "the token is shorter than 16 bytes",
        ),
        (&["mcp", "add", "x"], "behind --"),
        (
            &["mcp", "--audit", "/nowhere/x"],
            "Failed to open the audit log",
        ),
    ] {
        let outcome = fixture.run(arguments);
        assert_eq!(outcome.status, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
        assert_eq!(outcome.stdout, "");
    }
}
