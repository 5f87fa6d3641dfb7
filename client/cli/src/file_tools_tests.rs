// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::time::Duration;

use code_mode_embed::Session;
use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;
use crate::fake_session::FakeProvider;
use crate::tools_file::decode;

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

struct Fixture {
    session: Session,
    calls: Arc<Calls>,
}

impl Fixture {
    async fn new(tools: &str) -> Self {
        let tools = decode(tools, Path::new("/")).unwrap();
        let calls = Arc::new(Calls::default());
        let tools = tool_set(tools, "/".into(), Guard::absent(), &calls);
        let provider = Arc::new(FakeProvider::default());
        let session = Session::open(provider, tools).await.unwrap();
        Self { session, calls }
    }

    /// The output of a script.
    async fn output(&self, source: String) -> String {
        let output = timeout(GUARD, self.session.exec(source)).await.unwrap();
        output.unwrap().text()
    }
}

#[tokio::test]
async fn a_call_runs_the_tools_command_and_is_counted() {
    let fixture = Fixture::new(r#"[{"name": "cat", "command": ["cat"]}]"#).await;
    assert_eq!(fixture.output("tool cat 7".to_owned()).await, "7");
    assert_eq!((fixture.calls.open().len(), fixture.calls.done()), (0, 1));
}

#[test]
fn open_calls_are_listed_until_they_end_or_are_dropped() {
    let calls = Arc::new(Calls::default());
    let (one, other) = (calls.opened("cat"), calls.opened("dog"));
    let names = || -> Vec<String> { calls.open().into_iter().map(|(name, _)| name).collect() };
    assert_eq!(
        (names(), calls.done()),
        (vec!["cat".into(), "dog".into()], 0)
    );
    drop(one);
    assert_eq!((names(), calls.done()), (vec!["dog".into()], 1));
    drop(other);
    assert_eq!((names(), calls.done()), (vec![], 2));
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
    let fixture = Arc::new(Fixture::new(&tools).await);
    let scripts: Vec<_> = (0..MAX_TOOL_PROCESSES * 4)
        .map(|_| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.output("tool count null".to_owned()).await })
        })
        .collect();
    for script in scripts {
        let running: usize = script.await.unwrap().parse().unwrap();
        assert!(running <= MAX_TOOL_PROCESSES, "{running}");
    }
}
