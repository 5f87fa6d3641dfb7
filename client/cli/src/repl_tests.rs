// SPDX-License-Identifier: Apache-2.0
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;
use crate::fake_session::FakeProvider;
use crate::guard::Guard;
use crate::output::testing::kept_printer;
use crate::reporter::View;
use crate::tools_file::decode;

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

/// Types `input` and gives status, standard output and standard error.
///
/// The fake session knows no JavaScript. An instruction reaches it as it is where it is no JavaScript,
/// as two words one after the other are not.
async fn conversation(input: &str, store: Option<PathBuf>) -> (Status, String, String) {
    let (printer, stdout, stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, View::default());
    let mut interrupts = Interrupts::listen().unwrap();
    let tools = r#"[{"name": "get-it", "description": "Gets it.\nMore.", "command": ["cat"]}]"#;
    let tools = decode(tools, Path::new("/")).unwrap();
    let provider = Arc::new(FakeProvider::default());
    let plan = Plan {
        store,
        outlives_host: true,
        ..Plan::new(tools, "/".into(), Guard::absent())
    };
    let session = OpenSession::open(provider, plan).await.unwrap();
    let patience = Patience::LeaveAfter(Duration::from_millis(300));
    let mut repl = Repl {
        session,
        scope: Scope::default(),
        words: Words::default(),
        reporter: &reporter,
        interrupts: &mut interrupts,
        patience,
        background: Vec::new(),
    };
    let lines = Lines::of_text(input.to_owned()).unwrap();
    let status = timeout(GUARD, repl.converse(lines)).await.unwrap();
    reporter.printer().flush().await;
    (status, stdout.text(), stderr.text())
}

#[tokio::test]
async fn entries_run_one_after_the_other() {
    let (status, stdout, stderr) = conversation("let it\n.exit\nnever\n", None).await;
    assert_eq!((status, stdout.as_str()), (Status::Completed, ""));
    assert_eq!(stderr, "SyntaxError: let\n");
}

#[tokio::test]
async fn commands_are_answered() {
    let input = ".tools\n.store\n.cells\n.kill\n.celsl\n.frobnicate\n.exit\n";
    let (_status, stdout, stderr) = conversation(input, None).await;
    assert_eq!(
        stdout,
        "tools.get_it  Gets it.\nnothing is stored\nno cells in the background\n"
    );
    assert_eq!(
        stderr,
        ".kill needs the id of a cell; .cells lists them\n\
         no such command .celsl; did you mean .cells?\n\
         no such command .frobnicate; .help lists them\n"
    );
}

#[tokio::test]
async fn the_help_of_a_tool_is_its_declaration() {
    let (_status, stdout, stderr) = conversation(".help get_it\n.help got_it\n", None).await;
    assert!(
        stdout.ends_with("get_it(input?: unknown): Promise<unknown>;\n"),
        "{stdout}"
    );
    assert_eq!(stderr, "there is no tool got_it; did you mean get_it?\n");
}

#[tokio::test]
async fn an_entry_goes_on_until_its_brackets_are_closed_or_it_is_cleared() {
    let (_status, stdout, stderr) =
        conversation("let x = (\n.clear\n.cells\nnope(\n)\n", None).await;
    assert_eq!(stdout, "no cells in the background\n");
    assert_eq!(stderr, "SyntaxError: ;$cm_show(await(nope(\n");
}

#[tokio::test]
async fn an_unfinished_entry_at_the_end_is_said() {
    let (_status, _stdout, stderr) = conversation("let x = (\n", None).await;
    assert_eq!(stderr, "the last entry was not finished and was not run\n");
}

#[tokio::test]
async fn a_long_cell_goes_to_the_background_and_can_be_followed_and_killed() {
    let input = "hang on\n.cells\n.wait 1\n.kill 1\n.cells\n.kill 7\n";
    let (_status, stdout, stderr) = conversation(input, None).await;
    assert!(
        stderr.contains("cell 1 runs on; .wait 1 follows it, .kill 1 ends it"),
        "{stderr}"
    );
    assert!(stdout.contains("1  runs  0 s  hang on"), "{stdout}");
    assert!(stdout.ends_with("no cells in the background\n"), "{stdout}");
    assert!(stderr.contains("terminated\n"), "{stderr}");
    assert!(
        stderr.ends_with("code_mode: exec cell 7 not found\n"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_lost_host_is_said_and_the_prompt_comes_back_with_the_stored_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    std::fs::write(&path, r#"{"kept": 1}"#).unwrap();
    let input = "lose it was killed\n.store\nstore new 2\n";
    let (status, _stdout, stderr) = conversation(input, Some(path.clone())).await;
    assert_eq!(status, Status::Completed);
    assert!(stderr.contains("it was killed"), "{stderr}");
    assert!(
        stderr.contains("the next entry starts a fresh host"),
        "{stderr}"
    );
    let saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(saved, serde_json::json!({"kept": 1, "new": 2}));
}
