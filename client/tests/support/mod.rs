// SPDX-License-Identifier: Apache-2.0
//! What the tests over real processes share.

// Each test file uses its own part of this.
#![allow(
    dead_code,
    reason = "every test binary compiles this module and uses part of it"
)]

pub mod delegate;
pub mod fake_host;

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    CellId, CellResponse, CellStatus, CodeModeSession, ContentItem, ExecuteRequest,
    SessionDelegate, SessionError, SessionOptions, SessionProvider, ToolDefinition, ToolKind,
    ToolName, WaitRequest,
};
use code_mode_client::{ProcessSessionProvider, ProviderConfig};
pub use code_mode_testsuite::host_program;
use serde_json::value::RawValue;

/// Guards against a hang; a test that passes takes a small part of it.
pub const GUARD: Duration = Duration::from_secs(60);

/// A provider over the real host.
pub fn provider() -> ProcessSessionProvider {
    ProcessSessionProvider::new(ProviderConfig::new(host_program()))
}

/// A session whose id is `s`.
pub async fn open(
    provider: &ProcessSessionProvider,
    delegate: Arc<dyn SessionDelegate>,
) -> Arc<dyn CodeModeSession> {
    let options = SessionOptions {
        session_id: code_mode_api::SessionId::new("s"),
        ..SessionOptions::default()
    };
    in_time(provider.open_session(options, delegate))
        .await
        .expect("a session")
}

/// The value of a future that must not hang.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future)
        .await
        .expect("nothing here may hang")
}

/// A tool that scripts call as `tools.NAME`.
pub fn tool(name: &str) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        tool_name: ToolName {
            name: name.to_owned(),
            namespace: None,
        },
        description: format!("The tool {name}."),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    }
}

/// A request to run `source` with these tools and plenty of time.
pub fn script(source: &str, tools: &[&str]) -> ExecuteRequest {
    ExecuteRequest {
        exec_call_id: "call-1".to_owned(),
        tools: tools.iter().map(|name| tool(name)).collect(),
        yield_time: Some(GUARD),
        ..ExecuteRequest::new(source)
    }
}

/// JSON text as it crosses to and from tools.
pub fn json(text: impl Into<String>) -> Box<RawValue> {
    RawValue::from_string(text.into()).expect("JSON")
}

/// Runs a script to its end.
pub async fn run(
    session: &Arc<dyn CodeModeSession>,
    request: ExecuteRequest,
) -> Result<CellResponse, SessionError> {
    let started = in_time(session.execute(request)).await?;
    in_time(started.first_response).await
}

/// Runs a script that must succeed, and gives its texts.
pub async fn texts(session: &Arc<dyn CodeModeSession>, request: ExecuteRequest) -> Vec<String> {
    let response = run(session, request).await.expect("a response");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    texts_of(&response)
}

/// The texts of a response.
pub fn texts_of(response: &CellResponse) -> Vec<String> {
    let text = |item: &ContentItem| match item {
        ContentItem::Text(text) => text.clone(),
        ContentItem::Image { image_url, .. } => format!("image {image_url}"),
        ContentItem::Audio { audio_url } => format!("audio {audio_url}"),
    };
    response.content_items.iter().map(text).collect()
}

/// Waits for a cell with plenty of time.
pub async fn wait(
    session: &Arc<dyn CodeModeSession>,
    cell_id: &CellId,
) -> Result<CellResponse, SessionError> {
    let request = WaitRequest {
        cell_id: cell_id.clone(),
        yield_time: Some(GUARD),
    };
    in_time(session.wait(request)).await
}

/// Waits until the operating system no longer knows a process, or knows it only as a zombie of
/// somebody else.
pub async fn process_ends(pid: u32) {
    in_time(async {
        while std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Kills a process as `kill -9` does.
pub fn kill(pid: u32) {
    let pid = libc::pid_t::try_from(pid).expect("a process id");
    // SAFETY: kill takes two integers; the process is a child that this test has started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

/// Waits until no child of this process is a zombie. Hosts of other tests may be, for the moment
/// between their end and their being reaped.
pub async fn no_zombies() {
    in_time(async {
        while !zombies().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn zombies() -> Vec<u32> {
    let me = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| {
                let mut fields = rest.split(' ');
                fields.next() == Some("Z") && fields.next() == Some(&me)
            })
        })
        .collect()
}
