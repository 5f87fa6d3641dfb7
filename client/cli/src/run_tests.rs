// SPDX-License-Identifier: Apache-2.0
use clap::Parser;
use code_mode_embed::{SessionError, SideEffects};
use pretty_assertions::assert_eq;
use tokio::time::timeout;

use super::*;
use crate::args::{Cli, Command};
use crate::fake_session::FakeProvider;
use crate::guard::Guard;
use crate::output::testing::kept_printer;
use crate::reporter::View;
use crate::settings::Settings;
use crate::tools_file::decode;

/// Guard against a hang; no test waits for it.
const GUARD: Duration = Duration::from_secs(60);

fn scripts(texts: &[&str]) -> Vec<Source> {
    let named = texts.iter().enumerate();
    named
        .map(|(at, text)| Source {
            name: format!("{at}.js"),
            text: Edited::unchanged(*text),
        })
        .collect()
}

fn run_of(texts: &[&str]) -> Run {
    Run {
        scripts: scripts(texts),
        plan: Plan::new(Vec::new(), "/".into(), Guard::absent()),
        timeout: None,
    }
}

/// Runs and gives status, standard output and standard error.
async fn outcome(run: Run, provider: &Arc<FakeProvider>) -> (Status, String, String) {
    let (printer, stdout, stderr) = kept_printer(false);
    let reporter = Reporter::new(printer, View::default());
    let mut interrupts = Interrupts::listen().unwrap();
    let running = run.with(provider.clone(), &reporter, &mut interrupts);
    let status = timeout(GUARD, running).await.unwrap();
    reporter.printer().flush().await;
    (status, stdout.text(), stderr.text())
}

#[tokio::test]
async fn scripts_run_one_after_the_other_in_one_session() {
    let provider = Arc::new(FakeProvider::default());
    let run = run_of(&["store n 1\ntext a", "load n"]);
    assert_eq!(
        outcome(run, &provider).await,
        (Status::Completed, "a\n1\n".into(), "".into())
    );
    let executed = provider.executed.lock().unwrap();
    let ids: Vec<&str> = executed
        .iter()
        .map(|request| request.exec_call_id.as_str())
        .collect();
    assert_eq!(ids, ["exec-1", "exec-2"]);
}

#[tokio::test]
async fn a_failed_script_is_the_last_one() {
    let run = run_of(&["fail Error: no", "text never"]);
    assert_eq!(
        outcome(run, &Arc::default()).await,
        (
            Status::ScriptFailed,
            "".into(),
            "0.js failed: Error: no\n".into()
        )
    );
}

#[tokio::test]
async fn tools_are_run_and_notifications_shown() {
    let tools = r#"[{"name": "cat", "command": ["cat"]}, {"name": "no", "command": ["false"]}]"#;
    let mut run = run_of(&["tool cat [1]\nnotify half way\ntool no"]);
    run.plan.tools = decode(tools, Path::new("/")).unwrap();
    let rejected = "rejected: false failed with exit status: 1 and said nothing on standard error";
    assert_eq!(
        outcome(run, &Arc::default()).await,
        (
            Status::Completed,
            format!("[1]\n{rejected}\n"),
            "[notify] half way\n".into()
        )
    );
}

#[tokio::test]
async fn a_script_that_times_out_is_named() {
    let mut run = run_of(&["text a\nhang", "text never"]);
    run.timeout = Some(Duration::from_millis(10));
    assert_eq!(
        outcome(run, &Arc::default()).await,
        (
            Status::ScriptFailed,
            "a\n".into(),
            "0.js was terminated: timed out after 10ms\n".into()
        )
    );
}

#[tokio::test]
async fn a_lost_host_has_a_status_of_its_own_and_saves_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    let mut run = run_of(&["store a 1\nlose it was killed", "text never"]);
    run.plan.store = Some(path.clone());
    let (status, stdout, stderr) = outcome(run, &Arc::default()).await;
    assert_eq!((status, stdout.as_str()), (Status::HostLost, ""));
    assert!(stderr.contains("it was killed"), "{stderr}");
    assert!(!path.exists());
}

#[tokio::test]
async fn stored_values_live_on_in_the_store_file_also_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.json");
    for (source, status, printed) in [
        ("store n [1,2]\nfail Error: no", Status::ScriptFailed, ""),
        ("load n", Status::Completed, "[1,2]\n"),
    ] {
        let mut run = run_of(&[source]);
        run.plan.store = Some(path.clone());
        let (ended, stdout, _stderr) = outcome(run, &Arc::default()).await;
        assert_eq!((ended, stdout.as_str()), (status, printed));
    }
}

#[tokio::test]
async fn a_host_that_cannot_be_started_is_a_matter_of_set_up() {
    let provider = Arc::new(FakeProvider {
        refuse: Some(SessionError::StartFailed {
            cause: "it is no program".into(),
        }),
        ..FakeProvider::default()
    });
    assert_eq!(
        outcome(run_of(&["text a"]), &provider).await,
        (
            Status::SetUp,
            "".into(),
            "code_mode: the code-mode host could not be started: it is no program\n".into()
        )
    );
}

#[test]
fn every_error_has_its_status() {
    let lost = |side_effects| SessionError::RuntimeLost {
        cause: String::new(),
        side_effects,
    };
    assert_eq!(Status::of_error(&lost(SideEffects::None)), Status::HostLost);
    assert_eq!(
        Status::of_error(&lost(SideEffects::Possible)),
        Status::HostLost
    );
    let refused = SessionError::InvalidRequest {
        message: String::new(),
    };
    assert_eq!(Status::of_error(&refused), Status::SetUp);
    assert_eq!(Status::of_termination(Termination::Interrupt).code(), 130);
    assert_eq!(Status::of_termination(Termination::Sigterm).code(), 143);
    assert_eq!(Status::of_termination(Termination::Sighup).code(), 129);
    assert_eq!(
        Status::of_termination(Termination::OutputClosed).code(),
        141
    );
}

#[test]
fn a_missing_script_is_found_out_before_the_host_is_looked_for() {
    let args = run_args(&["run", "none.js", "--host", "/nonexistent/host"]);
    let Err(error) = prepare(&args, &here(), false) else {
        panic!("prepared")
    };
    assert_eq!(
        error.message,
        "failed to read the script none.js: No such file or directory (os error 2)"
    );
}

#[test]
fn an_input_that_is_no_json_is_shown_with_its_place() {
    let args = run_args(&["run", "-e", "1", "--input", "[1,,]"]);
    let Err(error) = prepare(&args, &here(), false) else {
        panic!("prepared")
    };
    assert!(
        error.message.contains("--> --input:1:4"),
        "{}",
        error.message
    );
}

fn here() -> Context {
    Context {
        folder: "/nonexistent".into(),
        settings: Settings::default(),
        version: "1.2.3",
    }
}

fn run_args(words: &[&str]) -> RunArgs {
    let words = std::iter::once("code_mode").chain(words.iter().copied());
    match Cli::try_parse_from(words).unwrap().command {
        Command::Run(args) => args,
        other => panic!("{other:?}"),
    }
}
