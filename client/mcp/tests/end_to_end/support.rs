// SPDX-License-Identifier: Apache-2.0
//! A client of the SDK, the front end, the real host, and servers as processes.

// The SDK marks MCP's log messages as deprecated; the clients of today show them.
#![expect(
    deprecated,
    reason = "log messages are what clients before the revision of 2026-07 show"
)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use code_mode_api::CellLimits;
use code_mode_client::{ProcessSessionProvider, ProviderConfig};
use code_mode_mcp::audit::Audit;
use code_mode_mcp::config::{self, Config};
use code_mode_mcp::{DEFAULT_CATALOG_BYTES, Front, Parts};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ElicitRequestParams,
    ElicitResult, ElicitationAction, ErrorData, Implementation, LoggingMessageNotificationParam,
    ProgressNotificationParam, ProtocolVersion, Tool,
};
use rmcp::service::{
    ClientLifecycleMode, ClientServiceExt, NotificationContext, RequestContext, RunningService,
};
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Guard against a hang; no test waits for it.
pub const GUARD: Duration = Duration::from_secs(120);

/// The host program under test: `CODE_MODE_HOST`, or what Cargo has built beside this test.
fn host() -> PathBuf {
    if let Some(path) = std::env::var_os("CODE_MODE_HOST") {
        // Absolute, because Bazel gives it relative to the test's working folder.
        return std::path::absolute(path).unwrap();
    }
    let host = server_program().with_file_name("code_mode_host");
    assert!(
        host.is_file(),
        "{} is missing: build it with `cargo build -p code_mode_host`, or set CODE_MODE_HOST",
        host.display()
    );
    host
}

pub fn server_program() -> PathBuf {
    std::fs::canonicalize(env!("CARGO_BIN_EXE_mcp_test_server")).unwrap()
}

/// What the client's user and model see.
#[derive(Clone)]
pub struct Client {
    events: mpsc::UnboundedSender<Heard>,
    /// What the user answers; nothing if the client cannot ask.
    answer: Option<&'static str>,
    pub asked: Arc<Mutex<Vec<String>>>,
}

/// What a client hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Progress(String),
    Log(Value),
    ToolsChanged,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        if self.answer.is_some() {
            capabilities = ClientCapabilities::builder().enable_elicitation().build();
        }
        ClientConfig::new(capabilities, Implementation::new("test", "1"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let asked = serde_json::to_value(&request).unwrap()["message"].to_string();
        self.asked.lock().unwrap().push(asked);
        let answer = json!({"answer": self.answer.unwrap_or("no")});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(answer))
    }

    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        let _ = self
            .events
            .send(Heard::Progress(progress.message.unwrap_or_default()));
    }

    async fn on_logging_message(
        &self,
        message: LoggingMessageNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        let _ = self.events.send(Heard::Log(message.data));
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        let _ = self.events.send(Heard::ToolsChanged);
    }
}

/// The configuration of servers of these kinds, each called as its kind.
pub fn servers(folder: &Path, kinds: &[&str]) -> Value {
    let servers = kinds.iter().map(|&kind| {
        let server = json!({
            "command": server_program(),
            "args": [kind],
            "env": {"MEETING": folder.join("meeting"), "SECRET_KEY": "${TEST_CREDENTIAL}"},
            "startup_timeout_sec": if kind == "never" { 0.5 } else { 50.0 },
            "timeout": if kind == "hang" { 300 } else { 50_000 },
        });
        (kind.to_owned(), server)
    });
    Value::Object(servers.collect())
}

/// A front end over these servers, whose audit log is in `folder`.
pub fn front(folder: &Path, servers: Value, policy: Value) -> Arc<Front> {
    front_over(provider(), folder, servers, policy)
}

fn provider() -> Arc<ProcessSessionProvider> {
    Arc::new(ProcessSessionProvider::new(ProviderConfig::new(host())))
}

fn front_over(
    provider: Arc<ProcessSessionProvider>,
    folder: &Path,
    servers: Value,
    policy: Value,
) -> Arc<Front> {
    let text = json!({"mcpServers": servers, "policy": policy}).to_string();
    let mut config = Config::default();
    let lookup = |name: &str| (name == "TEST_CREDENTIAL").then(|| "the-credential".to_owned());
    config::add(&mut config, &text, &folder.join("mcp.json"), &lookup).unwrap();
    Front::new(Parts {
        config,
        local: None,
        audit: Some(Audit::open(&folder.join("audit.jsonl")).unwrap()),
        provider,
        limits: CellLimits::default(),
        catalog_bytes: DEFAULT_CATALOG_BYTES,
    })
}

/// A client that is served, with everything behind it.
pub struct Fixture {
    pub folder: TempDir,
    pub client: RunningService<RoleClient, Client>,
    pub events: mpsc::UnboundedReceiver<Heard>,
    meeting: UnixListener,
    provider: Arc<ProcessSessionProvider>,
}

impl Fixture {
    /// Serves a client over servers of these kinds, each called as its kind.
    pub async fn new(kinds: &[&str]) -> Self {
        Self::with(kinds, json!({}), Some("once")).await
    }

    /// The same with a policy and a user's answer.
    pub async fn with(kinds: &[&str], policy: Value, answer: Option<&'static str>) -> Self {
        Self::greeted(kinds, policy, answer, ClientLifecycleMode::Initialize).await
    }

    /// The same with a client of the newest revision.
    pub async fn newest(kinds: &[&str], policy: Value, answer: Option<&'static str>) -> Self {
        let newest = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::LATEST],
        };
        Self::greeted(kinds, policy, answer, newest).await
    }

    async fn greeted(
        kinds: &[&str],
        policy: Value,
        answer: Option<&'static str>,
        mode: ClientLifecycleMode,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = provider();
        let servers = servers(folder.path(), kinds);
        let front = front_over(Arc::clone(&provider), folder.path(), servers, policy);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (reader, writer) = tokio::io::split(theirs);
        tokio::spawn(code_mode_mcp::serve_streams(front, reader, writer));
        let (sender, events) = mpsc::unbounded_channel();
        let client = Client {
            events: sender,
            answer,
            asked: Arc::default(),
        };
        Self {
            meeting: UnixListener::bind(folder.path().join("meeting")).unwrap(),
            client: client.serve_with_lifecycle(ours, mode).await.unwrap(),
            folder,
            events,
            provider,
        }
    }

    pub async fn tools(&self) -> Vec<Tool> {
        self.client.list_all_tools().await.unwrap()
    }

    pub async fn call(&self, tool: &'static str, arguments: Value) -> CallToolResult {
        let mut params = CallToolRequestParams::new(tool);
        params.arguments = arguments.as_object().cloned();
        let called = tokio::time::timeout(GUARD, self.client.call_tool(params));
        called.await.expect("the guard").unwrap()
    }

    pub async fn exec(&self, code: &str) -> CallToolResult {
        // The machine may be busy; a script that yields by itself does so at once.
        let patience = GUARD.as_millis() as u64;
        self.call("exec", json!({"code": code, "yield_time_ms": patience}))
            .await
    }

    /// The text of an exec that must not fail.
    pub async fn text(&self, code: &str) -> String {
        let result = self.exec(code).await;
        assert_ne!(result.is_error, Some(true), "{}", text(&result));
        text(&result)
    }

    /// Kills the host as `kill -9` does.
    pub async fn kill_host(&self) {
        let host = self.provider.probe().await.unwrap();
        let pid = host.process_id.unwrap().to_string();
        let killed = std::process::Command::new("kill")
            .args(["-9", &pid])
            .status();
        assert!(killed.unwrap().success());
    }

    /// Waits for the next server that comes to the meeting.
    pub async fn guest(&self) -> Guest {
        let (socket, _) = tokio::time::timeout(GUARD, self.meeting.accept())
            .await
            .unwrap()
            .unwrap();
        let mut socket = BufReader::new(socket);
        let mut word = String::new();
        socket.read_line(&mut word).await.unwrap();
        Guest {
            word: word.trim().to_owned(),
            socket,
        }
    }

    pub async fn event(&mut self) -> Heard {
        tokio::time::timeout(GUARD, self.events.recv())
            .await
            .expect("the guard")
            .expect("an event")
    }

    /// What the audit log says, one object a line.
    pub fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A server at the meeting.
pub struct Guest {
    pub word: String,
    socket: BufReader<UnixStream>,
}

impl Guest {
    /// Lets it go on.
    pub async fn release(mut self) {
        self.socket.get_mut().write_all(b"x").await.unwrap();
    }
}

/// All texts of a result.
pub fn text(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(|block| block.as_text());
    texts
        .map(|block| block.text.clone())
        .collect::<Vec<_>>()
        .join("\n")
}
