use std::time::Duration;

use pretty_assertions::assert_eq;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::super::output::testing::{Kept, kept_printer};
use super::super::tools_file::decode;
use super::*;

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
        let reporter = Reporter::new(printer, true);
        let tools = decode(tools, Path::new("/")).unwrap();
        let delegate = CommandDelegate::new(&tools, "/".into(), reporter.clone());
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
async fn open_calls_are_counted_until_they_end_or_are_dropped() {
    let fixture = Fixture::new(CAT);
    let counts = fixture.delegate.counts();
    let (one, other) = (fixture.call("cat"), fixture.call("cat"));
    assert_eq!((counts.open(), counts.done()), (2, 0));
    drop(other);
    timeout(GUARD, one).await.unwrap().unwrap();
    assert_eq!((counts.open(), counts.done()), (0, 2));
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
