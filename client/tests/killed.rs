// SPDX-License-Identifier: Apache-2.0
//! The host is lost in every state of the protocol, and everybody learns the truth at once.
//!
//! The hosts are scripted (see `support/fake_host.rs`), so each dies exactly where the test says.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use code_mode_api::{ExecuteRequest, SessionError, SideEffects, WaitRequest};
use code_mode_client::{Deadlines, MAX_DRAINING_HOSTS, ProcessSessionProvider};
use support::delegate::Tools;
use support::fake_host::{FakeHost, READY, response, tool_call};
use support::{in_time, no_zombies, open, process_ends, run};

/// Runs a script on a host and gives the error that it must end in.
async fn error_from(host: &FakeHost) -> SessionError {
    let provider = ProcessSessionProvider::new(host.config());
    let session = open(&provider, Tools::none()).await;
    let error = run(&session, ExecuteRequest::new("text(1)"))
        .await
        .expect_err("the host dies");
    in_time(provider.shutdown()).await;
    error
}

fn start_failure(error: &SessionError) -> &str {
    match error {
        SessionError::StartFailed { cause } => cause,
        other => panic!("must be a failed start: {other}"),
    }
}

fn loss(error: &SessionError) -> (&str, SideEffects) {
    match error {
        SessionError::RuntimeLost {
            cause,
            side_effects,
        } => (cause, *side_effects),
        other => panic!("must be a loss: {other}"),
    }
}

#[tokio::test]
async fn before_the_hello() {
    let host = FakeHost::new().runs("echo cannot find libexample >&2; exit 127");
    let error = error_from(&host).await;
    let cause = start_failure(&error);
    assert!(
        cause.contains("status 127") && cause.contains("cannot find libexample"),
        "{cause}"
    );
}

#[tokio::test]
async fn by_a_program_that_is_no_host() {
    let host = FakeHost::new()
        .runs("echo Usage: something else entirely")
        .runs("sleep 1000");
    let error = error_from(&host).await;
    let cause = start_failure(&error);
    // The first four bytes of the text are taken for the length of a frame.
    assert!(cause.contains("no message of the protocol"), "{cause}");
}

#[tokio::test]
async fn by_a_program_that_never_greets() {
    let host = FakeHost::new().runs("sleep 1000");
    let mut config = host.config();
    config.deadlines = Deadlines {
        startup: Duration::from_millis(200),
        ..Deadlines::default()
    };
    let provider = ProcessSessionProvider::new(config);
    let session = open(&provider, Tools::none()).await;
    let error = run(&session, ExecuteRequest::new("text(1)"))
        .await
        .expect_err("no greeting");
    assert!(
        start_failure(&error).contains("is the program a code-mode host?"),
        "{error}"
    );
}

#[tokio::test]
async fn by_a_rejection() {
    let rejected = r#"{"type":"connection/rejected","reason":{"type":"noCompatibleVersion","supportedVersions":[2]}}"#;
    let error = error_from(&FakeHost::new().reads().sends(rejected)).await;
    assert!(
        start_failure(&error).contains("no protocol version in common"),
        "{error}"
    );
}

#[tokio::test]
async fn right_after_the_hello() {
    let error = error_from(&FakeHost::greeted().runs("kill -9 $$")).await;
    let (cause, side_effects) = loss(&error);
    assert!(cause.contains("killed by signal 9"), "{cause}");
    assert_eq!(side_effects, SideEffects::None, "no script was sent");
}

#[tokio::test]
async fn after_it_has_read_the_execute() {
    let host = FakeHost::opened()
        .reads()
        .runs("echo out of memory >&2; kill -6 $$");
    let error = error_from(&host).await;
    let (cause, side_effects) = loss(&error);
    assert!(
        cause.contains("signal 6") && cause.contains("out of memory"),
        "{cause}"
    );
    assert_eq!(side_effects, SideEffects::Possible);
}

#[tokio::test]
async fn while_a_script_runs() {
    let error = error_from(&FakeHost::started().runs("kill -9 $$")).await;
    assert_eq!(loss(&error).1, SideEffects::Possible);
}

#[tokio::test]
async fn within_a_frame() {
    let host = FakeHost::started()
        .sends_bytes(b"\xff\0\0\0{\"type\"")
        .runs("kill -9 $$");
    let error = error_from(&host).await;
    let (cause, _) = loss(&error);
    assert!(
        cause.contains("within a message") && cause.contains("signal 9"),
        "{cause}"
    );
}

#[tokio::test]
async fn by_closing_its_output_while_it_lives() {
    let host = FakeHost::started().runs("exec sleep 1000 >&-");
    let error = error_from(&host).await;
    assert!(loss(&error).0.contains("closed its output"), "{error}");
}

#[tokio::test]
async fn while_a_child_of_it_holds_its_pipes_open() {
    let host = FakeHost::started().runs("setsid sleep 2 & kill -9 $$");
    let error = error_from(&host).await;
    assert!(loss(&error).0.contains("signal 9"), "{error}");
}

#[tokio::test]
async fn with_open_tool_calls() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let host = FakeHost::started()
        .sends(&tool_call(1))
        .sends(&tool_call(2));
    let called = host.path("called");
    let host = host.runs(&format!(
        "until [ -e {} ]; do sleep 0.01; done",
        called.display()
    ));
    let host = host.runs("kill -9 $$");
    let (dropped, fired) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (drops, fires) = (Arc::clone(&dropped), Arc::clone(&fired));
    let calls = AtomicUsize::new(0);
    let tools = Tools::default().with("look", move |_, cancel| {
        let guard = Dropped(Arc::clone(&drops));
        let fires = Arc::clone(&fires);
        if calls.fetch_add(1, Ordering::SeqCst) == 1 {
            std::fs::write(&called, "").expect("written");
        }
        tokio::spawn(async move {
            cancel.cancelled().await;
            fires.fetch_add(1, Ordering::SeqCst);
        });
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let tools = Arc::new(tools);
    let provider = ProcessSessionProvider::new(host.config());
    let session = open(&provider, tools.clone()).await;
    let error = run(&session, ExecuteRequest::new("text(1)"))
        .await
        .expect_err("the host dies");
    assert_eq!(loss(&error).1, SideEffects::Possible);
    in_time(async {
        while dropped.load(Ordering::SeqCst) < 2 || fired.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(*tools.closed.lock().expect("a lock"), ["1"]);
}

#[tokio::test]
async fn while_it_shuts_down() {
    let host = FakeHost::opened().reads().runs("kill -9 $$");
    let provider = ProcessSessionProvider::new(host.config());
    let session = open(&provider, Tools::none()).await;
    // Binds the session without a script; the host has no store, which is another error.
    let error = in_time(session.import_store(Default::default()))
        .await
        .expect_err("no store");
    assert!(error.to_string().contains("code_mode/store-v1"), "{error}");
    let error = in_time(session.shutdown())
        .await
        .expect_err("the host dies");
    loss(&error);
}

#[tokio::test]
async fn by_a_violation() {
    let nonsense = response(99, r#"{"type":"store/imported"}"#);
    let nonsense = nonsense.replace("store/imported", "execution/started\",\"cellId\":\"1");
    let host = FakeHost::started().sends(&nonsense).runs("sleep 1000");
    let provider = ProcessSessionProvider::new(host.config());
    let pid = in_time(provider.probe())
        .await
        .expect("a host")
        .process_id
        .expect("a process");
    let session = open(&provider, Tools::none()).await;
    let error = run(&session, ExecuteRequest::new("text(1)"))
        .await
        .expect_err("a violation");
    assert!(
        loss(&error)
            .0
            .contains("request 99, which is not in flight"),
        "{error}"
    );
    process_ends(pid).await;
}

#[tokio::test]
async fn by_reading_nothing() {
    let host = FakeHost::opened().runs("exec sleep 1000");
    let mut config = host.config();
    config.deadlines = Deadlines {
        write: Duration::from_millis(200),
        ..Deadlines::default()
    };
    let provider = ProcessSessionProvider::new(config);
    let session = open(&provider, Tools::none()).await;
    // More than a pipe holds.
    let source = format!("// {}", "x".repeat(1 << 20));
    let error = run(&session, ExecuteRequest::new(source))
        .await
        .expect_err("it reads nothing");
    assert!(
        loss(&error).0.contains("has not read its input for 200 ms"),
        "{error}"
    );
}

#[tokio::test]
async fn by_answering_nothing() {
    let host = FakeHost::opened().runs("exec 3>&1; exec cat >/dev/null");
    let mut config = host.config();
    config.deadlines = Deadlines {
        call: Duration::from_millis(200),
        ..Deadlines::default()
    };
    let provider = ProcessSessionProvider::new(config);
    let session = open(&provider, Tools::none()).await;
    let error = run(&session, ExecuteRequest::new("text(1)"))
        .await
        .expect_err("no answer");
    let (cause, side_effects) = loss(&error);
    assert!(
        cause.contains("has not answered session/execute within 200 ms"),
        "{cause}"
    );
    assert_eq!(side_effects, SideEffects::Possible);
}

#[tokio::test]
async fn everybody_who_waits_is_told() {
    let host = FakeHost::started();
    let waiting = host.path("waiting");
    let host = host
        .runs(&format!(
            "until [ -e {} ]; do sleep 0.01; done",
            waiting.display()
        ))
        .runs("kill -9 $$");
    let provider = ProcessSessionProvider::new(host.config());
    let session = open(&provider, Tools::none()).await;
    let started = in_time(session.execute(ExecuteRequest::new("text(1)")))
        .await
        .expect("started");
    let second = session.execute(ExecuteRequest::new("text(2)"));
    let terminate = session.terminate(started.cell_id.clone());
    let all = async { tokio::join!(started.first_response, second, terminate) };
    let (first, second, terminate) = in_time(async {
        tokio::pin!(all);
        tokio::select! {
            biased;
            _ = &mut all => panic!("the host lives"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        std::fs::write(&waiting, "").expect("written");
        all.await
    })
    .await;
    for error in [first.err(), second.err(), terminate.err()] {
        assert_eq!(loss(&error.expect("an error")).1, SideEffects::Possible);
    }
    let request = WaitRequest {
        cell_id: started.cell_id.clone(),
        yield_time: None,
    };
    let error = in_time(session.wait(request))
        .await
        .expect_err("the cell is lost");
    assert!(matches!(error, SessionError::CellLost { .. }), "{error}");
    no_zombies().await;
}

#[tokio::test]
async fn a_broken_host_does_not_spin() {
    let host = FakeHost::new();
    let log = host.path("starts");
    let host = host.runs(&format!("echo x >> {}; exit 1", log.display()));
    let provider = ProcessSessionProvider::new(host.config());
    let session = open(&provider, Tools::none()).await;
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        let error = run(&session, ExecuteRequest::new("text(1)"))
            .await
            .expect_err("broken");
        start_failure(&error);
    }
    // No pause after the first failure, then 100 and 200 ms.
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    let starts = std::fs::read_to_string(&log)
        .expect("the log")
        .lines()
        .count();
    assert_eq!(starts, 4, "each execute tries once");
}

#[tokio::test]
async fn a_host_that_opens_no_sessions_any_more_is_replaced_a_few_times_and_then_told_of() {
    let ready =
        r#"{"type":"connection/ready","selectedVersion":1,"capabilities":["code_mode/errors-v1"]}"#;
    let refusal = r#"{"type":"operation/response","id":1,"result":{"status":"error","message":"the host is about to end","code":"host-draining","side_effects":"none"}}"#;
    let host = FakeHost::new();
    let log = host.path("starts");
    let host = host
        .runs(&format!("echo x >> {}", log.display()))
        .reads()
        .sends(ready)
        .reads()
        .sends(refusal)
        .runs("exec cat >/dev/null");
    let error = error_from(&host).await;
    assert!(matches!(error, SessionError::Refused { .. }), "{error}");
    assert_eq!(error.side_effects(), SideEffects::None);
    assert!(error.to_string().contains("about to end"), "{error}");
    let starts = std::fs::read_to_string(&log)
        .expect("the log")
        .lines()
        .count();
    assert_eq!(starts, MAX_DRAINING_HOSTS);
}

#[tokio::test]
async fn the_greeting_alone_keeps_a_host_alive() {
    let host = FakeHost::new()
        .reads()
        .sends(READY)
        .runs("exec 3>&1; exec cat >/dev/null");
    let provider = ProcessSessionProvider::new(host.config());
    let info = in_time(provider.probe()).await.expect("a host");
    assert!(info.capabilities.is_empty());
    let pid = info.process_id.expect("a process");
    drop(provider);
    process_ends(pid).await;
}
