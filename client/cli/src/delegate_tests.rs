// SPDX-License-Identifier: Apache-2.0
use std::path::Path;
use std::time::Duration;

use pretty_assertions::assert_eq;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::*;
use crate::events::View;
use crate::output::testing::{Kept, kept_printer};
use crate::tools_file::decode;

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

struct Fixture {
    delegate: CommandDelegate,
    reporter: Reporter,
    stdout: Kept,
}

impl Fixture {
    fn new(tools: &str) -> Self {
        let (printer, stdout, _stderr) = kept_printer(false);
        let reporter = Reporter::new(printer, View::json());
        let tools = decode(tools, Path::new("/")).unwrap();
        let delegate = CommandDelegate::new(&tools, "/".into(), reporter.clone(), Guard::absent());
        Self {
            delegate,
            reporter,
            stdout,
        }
    }

    fn call(&self, name: &str) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let invocation = ToolInvocation {
            session_id: SessionId::new("s").unwrap(),
            cell_id: CellId::new("1"),
            call_id: "tool-1".into(),
            exec_call_id: String::new(),
            tool_name: ToolName {
                name: name.into(),
                namespace: None,
            },
            tool_kind: code_mode_api::ToolKind::Function,
            input: RawValue::from_string("7".into()).unwrap(),
        };
        self.delegate
            .invoke_tool(invocation, CancellationSignal::new())
    }
}

const CAT: &str = r#"[{"name": "cat", "command": ["cat"]}]"#;

#[tokio::test]
async fn a_call_runs_the_tools_command_and_is_reported() {
    let fixture = Fixture::new(CAT);
    let result = timeout(GUARD, fixture.call("cat")).await.unwrap().unwrap();
    assert_eq!(result.get(), "7");
    fixture.reporter.printer().flush().await;
    let events = fixture.stdout.text();
    assert!(events.contains(r#""event":"tool_call""#), "{events}");
    assert!(events.contains(r#""result":7"#), "{events}");
}

#[tokio::test]
async fn a_tool_that_the_file_does_not_have_is_an_error() {
    let error = Fixture::new(CAT).call("dog").await.unwrap_err();
    assert_eq!(error.message, "the tools file has no tool dog");
}

#[tokio::test]
async fn open_calls_are_listed_until_they_end_or_are_dropped() {
    let fixture = Fixture::new(CAT);
    let calls = fixture.delegate.calls();
    let names = || {
        calls
            .open()
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    let (one, other) = (fixture.call("cat"), fixture.call("dog"));
    assert_eq!(
        (names(), calls.done()),
        (vec!["cat".to_owned(), "dog".to_owned()], 0)
    );
    drop(other);
    timeout(GUARD, one).await.unwrap().unwrap();
    assert_eq!((names(), calls.done()), (vec![], 2));
}

#[tokio::test]
async fn a_call_is_shown_after_the_output_before_it() {
    let fixture = Fixture::new(CAT);
    let order = fixture.delegate.order();
    let following = order.follow(None);
    let call = tokio::spawn(fixture.call("cat"));
    timeout(GUARD, following.asked()).await.unwrap();
    fixture.reporter.printer().flush().await;
    assert_eq!(fixture.stdout.text(), "");
    drop(following.take());
    timeout(GUARD, call).await.unwrap().unwrap().unwrap();
    fixture.reporter.printer().flush().await;
    assert!(fixture.stdout.text().contains("tool_call"));
}

#[tokio::test]
async fn no_more_commands_run_at_one_time_than_there_are_places() {
    let folder = tempfile::tempdir().unwrap();
    // Each command notes how many run with it, by the folders that they make and remove.
    let script = format!(
        "cd {}; mkdir run-$$; ls -d run-* | wc -l; head -c 100000 /dev/zero | sha256sum >&2; rmdir run-$$",
        folder.path().display()
    );
    let tools = serde_json::json!([{"name": "count", "command": ["sh", "-c", script]}]).to_string();
    let fixture = Fixture::new(&tools);
    let calls: Vec<_> = (0..MAX_TOOL_PROCESSES * 4)
        .map(|_| tokio::spawn(fixture.call("count")))
        .collect();
    for call in calls {
        let result = timeout(GUARD, call).await.unwrap().unwrap().unwrap();
        let running: usize = result.get().parse().unwrap();
        assert!(running <= MAX_TOOL_PROCESSES, "{running}");
    }
}

#[test]
fn closed_cells_are_handed_over_once() {
    let fixture = Fixture::new(CAT);
    fixture
        .delegate
        .cell_closed(&SessionId::new("s").unwrap(), &CellId::new("3"));
    assert_eq!(fixture.delegate.take_closed(), [CellId::new("3")]);
    assert_eq!(fixture.delegate.take_closed(), []);
}
