// SPDX-License-Identifier: Apache-2.0
//! The library for authors of agents, over cells in process: it runs here as over a host process.

mod support;

use std::sync::Arc;
use std::time::Duration;

use code_mode_embed::{
    CellEvent, ContentItem, Decision, ExecError, PolicyCall, Progress, Session, Tool, ToolSet,
};
use code_mode_runtime::RuntimeConfig;
use code_mode_testsuite::within;
use pretty_assertions::assert_eq;

const FORKED: bool = false;
const HANGS: &str = "await new Promise(() => {})";

async fn session() -> Session {
    let runtime = Arc::new(support::runtime(RuntimeConfig::default(), None));
    let double = Tool::new("double", "Doubles a number.", |number: i64| async move {
        number.checked_mul(2).ok_or("the number is too large")
    });
    let never = Tool::new("never", "Is not for scripts.", |()| async {
        Ok::<_, String>(())
    });
    let policy = |call: PolicyCall| async move {
        match call.tool.name.as_str() {
            "double" => Decision::Allow,
            name => Decision::deny(format!("{name} is not for scripts")),
        }
    };
    let tools = ToolSet::from_iter([double, never]);
    let session = Session::builder(runtime).tools(tools).policy(policy);
    within(session.open()).await.expect("a session")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_call_tools_under_a_policy_and_share_what_they_store() {
    let session = session().await;
    let source = "store('n', await tools.double(21));
        try { await tools.never() } catch (error) { text(error.message) }";
    let output = within(session.exec(source)).await.unwrap();
    assert_eq!(output.text(), "never is not for scripts");
    let output = within(session.exec("text(load('n'))")).await.unwrap();
    assert_eq!(output.text(), "42");
    within(session.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_tells_what_happens_in_its_order() {
    let session = session().await;
    let source = "text('a'); text(await tools.double(1)); notify('b')";
    let mut cell = within(session.start(source)).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = within(cell.next()).await {
        told.push(match event {
            CellEvent::Output(item) => match &*item {
                ContentItem::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            },
            CellEvent::ToolCall { input, .. } => format!("call {input}"),
            CellEvent::ToolResult { result, .. } => format!("result {}", result.unwrap()),
            CellEvent::Notification(text) => format!("notification {text}"),
            CellEvent::Ended(Ok(_)) => "ended".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(
        told,
        ["a", "call 1", "result 2", "2", "notification b", "ended"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cell_is_observed_terminated_and_ends_with_its_owner() {
    let session = session().await;
    let source = format!("text('a'); yield_control(); {HANGS}");
    let cell = within(session.start_detached(source)).await.unwrap();
    let mut seen = String::new();
    while seen.is_empty() {
        match within(cell.observe(Duration::from_millis(1))).await {
            Progress::Running(output) => seen = output.text(),
            ended => panic!("{ended:?}"),
        }
    }
    assert_eq!(seen, "a");
    assert_eq!(within(cell.terminate()).await.unwrap().text(), "a");
    let owned = within(session.start(HANGS)).await.unwrap();
    let mut events = owned.events();
    drop(owned);
    let end = within(events.next()).await;
    assert!(
        matches!(
            end,
            Some(CellEvent::Ended(Err(ExecError::Terminated { .. })))
        ),
        "{end:?}"
    );
}
