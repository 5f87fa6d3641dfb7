// SPDX-License-Identifier: Apache-2.0
//! The client over the real host.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, CellStatus, CodeModeSession, ExecuteRequest, Globals, SessionError,
    SessionId, SessionOptions, SessionProvider, SideEffects, ToolError, WaitRequest,
};
use code_mode_client::{Isolation, ProcessSessionProvider, ProviderConfig};
use pretty_assertions::assert_eq;
use support::delegate::Tools;
use support::{
    GUARD, host_program, in_time, json, kill, no_zombies, open, process_ends, provider, run,
    script, texts, texts_of, wait,
};
use tokio::sync::{Notify, oneshot};

/// Answers `add` with the sum of the numbers in its input.
fn calculator() -> Arc<Tools> {
    Arc::new(Tools::default().with("add", |invocation, _| async move {
        let input = invocation.input.get().trim_matches(['[', ']']);
        let numbers = input
            .split(',')
            .filter_map(|number| number.parse::<i64>().ok());
        Ok(json(numbers.sum::<i64>().to_string()))
    }))
}

#[tokio::test]
async fn a_script_runs_calls_a_tool_and_prints() {
    let provider = provider();
    let session = open(&provider, calculator()).await;
    let lines = texts(
        &session,
        script("text(await tools.add([1, 2])); text('x')", &["add"]),
    )
    .await;
    assert_eq!(lines, ["3", "x"]);
    in_time(session.shutdown()).await.expect("shut down");
}

#[tokio::test]
async fn a_script_whose_request_does_not_choose_has_the_globals_that_the_client_prefers() {
    for (preferred, chosen, expected) in [
        (None, None, "undefined"),
        (Some(Globals::Web), None, "function"),
        (Some(Globals::Web), Some(Globals::Contract), "undefined"),
    ] {
        let mut config = ProviderConfig::new(host_program());
        config.preferred_globals = preferred;
        let provider = ProcessSessionProvider::new(config);
        let session = open(&provider, Arc::new(Tools::default())).await;
        let request = ExecuteRequest {
            globals: chosen,
            ..script("text(typeof URL)", &[])
        };
        assert_eq!(texts(&session, request).await, [expected]);
    }
}

#[tokio::test]
async fn every_call_carries_what_a_policy_needs() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let tools = Tools::default().with("look", move |invocation, _| {
        log.lock().expect("a lock").push((
            invocation.session_id.to_string(),
            invocation.cell_id.to_string(),
            invocation.call_id,
            invocation.exec_call_id,
            invocation.tool_name.name,
        ));
        async { Ok(json("null")) }
    });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    texts(&session, script("await tools.look()", &["look"])).await;
    let expected = ["s", "1", "tool-1", "call-1", "look"].map(str::to_owned);
    let [a, b, c, d, e] = expected;
    assert_eq!(*seen.lock().expect("a lock"), [(a, b, c, d, e)]);
}

#[tokio::test]
async fn many_calls_run_in_parallel_and_are_answered_in_any_order() {
    const CALLS: usize = 50;
    // Each call waits until all have come. Then the last is answered first, and each of the others
    // once the script has said that it got the answer of the one after it.
    let turns: Arc<Vec<_>> = Arc::new((0..=CALLS).map(|_| Arc::new(Notify::new())).collect());
    let begun = Arc::new(AtomicUsize::new(0));
    let waiting = Arc::clone(&turns);
    let number = |input: &str| input.parse::<usize>().expect("a number");
    let tools = Tools::default()
        .with("turn", move |invocation, _| {
            let number = number(invocation.input.get());
            if begun.fetch_add(1, Ordering::SeqCst) + 1 == CALLS {
                waiting[CALLS].notify_one();
            }
            let mine = Arc::clone(&waiting[number + 1]);
            async move {
                mine.notified().await;
                Ok(json(number.to_string()))
            }
        })
        .with("got", move |invocation, _| {
            turns[number(invocation.input.get())].notify_one();
            async { Ok(json("null")) }
        });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    let source = format!(
        "const order = [];
         const calls = [...Array({CALLS}).keys()].map(async n => {{
            order.push(await tools.turn(n));
            await tools.got(n);
         }});
         await Promise.all(calls);
         text(order.join(','))"
    );
    let expected: Vec<_> = (0..CALLS).rev().map(|number| number.to_string()).collect();
    assert_eq!(
        texts(&session, script(&source, &["turn", "got"])).await,
        [expected.join(",")]
    );
}

#[tokio::test]
async fn a_failing_tool_rejects_with_its_message() {
    let tools = Tools::default().with("fail", |_, _| async { Err(ToolError::new("out of milk")) });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    let source = "try { await tools.fail() } catch (e) { text(e.message) }";
    assert_eq!(
        texts(&session, script(source, &["fail"])).await,
        ["out of milk"]
    );
}

#[tokio::test]
async fn a_tool_that_panics_is_an_error_for_the_script_alone() {
    let tools = Tools::default()
        .with("at_once", |_, _| -> std::future::Ready<_> {
            panic!("before the future")
        })
        .with("later", |_, _| async { panic!("within the future") });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    let source = "for (const name of ['at_once', 'later'])
        try { await tools[name]() } catch (e) { text(e.message) }";
    let lines = texts(&session, script(source, &["at_once", "later"])).await;
    assert_eq!(lines, ["tool panicked", "tool panicked"]);
}

#[tokio::test]
async fn notifications_come_before_the_result() {
    let provider = provider();
    let tools = Tools::none();
    let session = open(&provider, tools.clone()).await;
    texts(&session, script("notify('one'); notify('two')", &[])).await;
    assert_eq!(*tools.notifications.lock().expect("a lock"), ["one", "two"]);
}

#[tokio::test]
async fn a_tool_that_never_answers_is_dropped_when_its_cell_is_terminated() {
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let tools = Tools::default().with("hang", move |_, cancel| {
        let (guard, dropped) = oneshot::channel::<()>();
        called.send((cancel, dropped)).expect("the test waits");
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let provider = provider();
    let tools = Arc::new(tools);
    let session = open(&provider, tools.clone()).await;
    let started =
        in_time(session.execute(script("text('a'); await tools.hang()", &["hang"]))).await;
    let started = started.expect("started");
    let (cancel, dropped) = in_time(calls.recv()).await.expect("called");
    let ended = in_time(session.terminate(started.cell_id.clone()))
        .await
        .expect("terminated");
    assert_eq!(ended.status, CellStatus::Terminated);
    in_time(cancel.cancelled()).await;
    in_time(dropped).await.expect_err("the future was dropped");
    let first = in_time(started.first_response).await.expect("both get it");
    assert_eq!(first.status, CellStatus::Terminated);
    let error = wait(&session, &started.cell_id).await.expect_err("over");
    assert!(
        matches!(error, SessionError::CellFinished { .. }),
        "{error}"
    );
    in_time(session.shutdown()).await.expect("shut down");
    assert_eq!(*tools.closed.lock().expect("a lock"), ["1"]);
}

#[tokio::test]
async fn a_cell_yields_is_waited_for_and_finishes_once() {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let tools = Tools::default().with("gate", move |_, _| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            Ok(json("1"))
        }
    });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    let source = "text('a'); yield_control(); await tools.gate(); text('b')";
    let started = in_time(session.execute(script(source, &["gate"])))
        .await
        .expect("started");
    let first = in_time(started.first_response).await.expect("a response");
    assert_eq!(
        (first.status.clone(), texts_of(&first)),
        (CellStatus::Yielded, vec!["a".into()])
    );
    let busy = session.wait(WaitRequest {
        cell_id: started.cell_id.clone(),
        yield_time: None,
    });
    tokio::pin!(busy);
    // Polled once, so that it observes; then a second observer is one too many.
    assert!(
        tokio::time::timeout(Duration::ZERO, &mut busy)
            .await
            .is_err()
    );
    let error = wait(&session, &started.cell_id)
        .await
        .expect_err("one observer at a time");
    assert!(
        matches!(error, SessionError::BusyObserver { .. }),
        "{error}"
    );
    go.notify_one();
    let last = in_time(busy).await.expect("the result");
    assert_eq!(last.status, CellStatus::Completed { error_text: None });
    assert_eq!(texts_of(&last), ["b"]);
    let error = wait(&session, &started.cell_id)
        .await
        .expect_err("delivered");
    assert!(
        matches!(error, SessionError::CellFinished { .. }),
        "{error}"
    );
    let error = wait(&session, &CellId::new("77"))
        .await
        .expect_err("no such cell");
    assert!(matches!(error, SessionError::MissingCell { .. }), "{error}");
}

#[tokio::test]
async fn an_execute_that_is_dropped_at_any_moment_leaves_nothing_running() {
    /// More than a host runs at one time, so cells that were left over would block the last one.
    const CELLS: u64 = 200;
    let provider = provider();
    let session = open(&provider, Tools::none()).await;
    texts(&session, script("text(1)", &[])).await;
    for round in 0..CELLS {
        let patience = Duration::from_micros(round * 15);
        let execute = session.execute(script("for (;;);", &[]));
        if let Ok(started) = tokio::time::timeout(patience, execute).await {
            // This one was taken, so it is the taker's to end.
            let cell_id = started.expect("there is room").cell_id;
            in_time(session.terminate(cell_id))
                .await
                .expect("terminated");
        }
    }
    assert_eq!(texts(&session, script("text(2)", &[])).await, ["2"]);
    in_time(session.shutdown()).await.expect("shut down");
}

#[tokio::test]
async fn waits_that_are_dropped_lose_no_output() {
    let provider = provider();
    let tools = Tools::default().with("pause", |_, _| async {
        tokio::time::sleep(Duration::from_micros(500)).await;
        Ok(json("1"))
    });
    let session = open(&provider, Arc::new(tools)).await;
    let source = "for (let n = 0; n < 300; n++) { text(n); yield_control(); await tools.pause() }";
    let started = in_time(session.execute(script(source, &["pause"])))
        .await
        .expect("started");
    let cell_id = started.cell_id.clone();
    drop(started);
    let mut lines = Vec::new();
    for round in 0_u64.. {
        let request = WaitRequest {
            cell_id: cell_id.clone(),
            yield_time: Some(GUARD),
        };
        let patience = Duration::from_micros(round * 37 % 900);
        let Ok(response) = tokio::time::timeout(patience, session.wait(request)).await else {
            continue;
        };
        let response = response.expect("a response");
        lines.extend(texts_of(&response));
        if response.status != CellStatus::Yielded {
            break;
        }
    }
    let expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn large_values_pass_in_both_directions_up_to_the_frame_limit() {
    let tools = Tools::default().with("echo", |invocation, _| async { Ok(invocation.input) });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    let source = "const s = 'x'.repeat(1 << 20); text((await tools.echo(s)).length)";
    assert_eq!(
        texts(&session, script(source, &["echo"])).await,
        ["1048576"]
    );
}

#[tokio::test]
async fn what_exceeds_a_frame_is_refused_before_it_is_sent() {
    let tools = Tools::default().with("big", |_, _| async {
        Ok(json(format!("\"{}\"", "x".repeat(65 << 20))))
    });
    let provider = provider();
    let session = open(&provider, Arc::new(tools)).await;
    let error = in_time(session.execute(ExecuteRequest::new("x".repeat(65 << 20))))
        .await
        .err();
    let error = error.expect("too large for a frame");
    assert!(
        matches!(error, SessionError::InvalidRequest { .. }),
        "{error}"
    );
    let source = "try { await tools.big() } catch (e) { text(e.message) }";
    let lines = texts(&session, script(source, &["big"])).await;
    assert!(lines[0].contains("cannot be sent"), "{lines:?}");
}

#[tokio::test]
async fn stored_values_are_exported_and_imported() {
    let provider = provider();
    let session = open(&provider, Tools::none()).await;
    assert!(
        in_time(session.export_store())
            .await
            .expect("never started")
            .is_empty()
    );
    let values = [("a".to_owned(), json("[1]"))].into();
    in_time(session.import_store(values))
        .await
        .expect("imported");
    texts(&session, script("store('b', load('a').concat(2))", &[])).await;
    let values = in_time(session.export_store()).await.expect("exported");
    let values: Vec<_> = values
        .iter()
        .map(|(key, value)| (key.as_str(), value.get()))
        .collect();
    assert_eq!(values, [("a", "[1]"), ("b", "[1,2]")]);
}

#[tokio::test]
async fn limits_of_a_request_are_in_force() {
    let provider = provider();
    let session = open(&provider, Tools::none()).await;
    let mut request = script("for (;;);", &[]);
    request.limits = CellLimits {
        cpu_time: Some(Duration::from_millis(50)),
        ..CellLimits::default()
    };
    let response = run(&session, request).await.expect("a response");
    let CellStatus::Completed {
        error_text: Some(error),
    } = response.status
    else {
        panic!("must be an error: {response:?}");
    };
    assert!(error.contains("CPU time"), "{error}");
}

#[tokio::test]
async fn a_host_that_was_killed_is_replaced_and_the_loss_told_once() {
    let provider = provider();
    let session = open(&provider, Tools::none()).await;
    let pid = in_time(provider.probe())
        .await
        .expect("a host")
        .process_id
        .expect("a process");
    texts(&session, script("store('a', 1)", &[])).await;
    let started = in_time(session.execute(script("for (;;);", &[])))
        .await
        .expect("started");
    kill(pid);
    let error = in_time(started.first_response)
        .await
        .expect_err("the host is gone");
    assert_eq!(error.side_effects(), SideEffects::Possible);
    process_ends(pid).await;

    let old = started.cell_id;
    for error in [
        wait(&session, &old).await.expect_err("lost"),
        in_time(session.terminate(old.clone()))
            .await
            .expect_err("lost"),
    ] {
        assert!(matches!(error, SessionError::CellLost { .. }), "{error}");
        assert!(error.to_string().contains("killed by signal 9"), "{error}");
    }
    let error = in_time(session.export_store()).await.expect_err("lost");
    assert!(matches!(error, SessionError::RuntimeLost { .. }), "{error}");

    let first = run(&session, script("text(load('a'))", &[]))
        .await
        .expect("a fresh host");
    let lost = first.state_lost.as_ref().expect("the loss is told");
    assert_eq!(lost.lost_generation, 1);
    assert!(lost.cause.contains("killed by signal 9"), "{}", lost.cause);
    assert_eq!(
        (first.cell_id.as_str(), texts_of(&first)),
        ("2.1", vec!["undefined".into()])
    );
    let second = run(&session, script("text(2)", &[]))
        .await
        .expect("the same host");
    assert_eq!((second.cell_id.as_str(), second.state_lost), ("2.2", None));
    // The same number in the old generation is still the lost cell.
    assert!(matches!(
        wait(&session, &old).await,
        Err(SessionError::CellLost { .. })
    ));
    no_zombies().await;
}

/// A configuration whose hosts write their process ids into a file, one a line.
fn counted(file: &std::path::Path) -> ProviderConfig {
    ProviderConfig::new("/bin/sh")
        .argument("-c")
        .argument(format!(
            "echo $$ >> {}; exec {}",
            file.display(),
            host_program().display()
        ))
}

fn started_hosts(file: &std::path::Path) -> Vec<u32> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| line.parse().expect("a process id"))
        .collect()
}

/// Kills a session's host and waits until the client knows.
async fn lose(session: &Arc<dyn CodeModeSession>, pid: u32) {
    let started = in_time(session.execute(script("for (;;);", &[])))
        .await
        .expect("started");
    kill(pid);
    in_time(started.first_response)
        .await
        .expect_err("the host is gone");
}

#[tokio::test]
async fn sessions_with_hosts_of_their_own_are_lost_alone() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("hosts");
    let provider = ProcessSessionProvider::new(counted(&file).isolation(Isolation::PerSession));
    let new = || provider.open_session(SessionOptions::default(), Tools::none());
    let (a, b) = (
        in_time(new()).await.expect("a"),
        in_time(new()).await.expect("b"),
    );
    texts(&a, script("text(1)", &[])).await;
    texts(&b, script("store('x', 1)", &[])).await;
    let hosts = started_hosts(&file);
    assert_eq!(hosts.len(), 2, "a host for each");
    lose(&a, hosts[0]).await;
    let lines = texts(&b, script("text(load('x'))", &[])).await;
    assert_eq!(lines, ["1"], "session b has lost nothing");
    let response = run(&a, script("text(2)", &[])).await.expect("replaced");
    assert_eq!(
        response.state_lost.map(|lost| lost.lost_generation),
        Some(1)
    );
    in_time(a.shutdown()).await.expect("shut down");
    process_ends(started_hosts(&file)[2]).await;
}

#[tokio::test]
async fn a_spare_host_takes_over_without_a_start() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("hosts");
    let mut config = counted(&file);
    config.keep_spare = true;
    let provider = ProcessSessionProvider::new(config);
    let session = open(&provider, Tools::none()).await;
    texts(&session, script("text(1)", &[])).await;
    let hosts_are = async |count: usize| {
        in_time(async {
            while started_hosts(&file).len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        started_hosts(&file)
    };
    // Two hosts that start at one time write their lines in any order, so the file cannot say which serves.
    let serving = async || {
        let host = in_time(provider.probe()).await.expect("a host");
        host.process_id.expect("a process")
    };
    hosts_are(2).await;
    lose(&session, serving().await).await;
    texts(&session, script("text(1)", &[])).await;
    // The spare serves, and a new spare was started for it: three in all, of which one was lost.
    assert_eq!(hosts_are(3).await.len(), 3);
    lose(&session, serving().await).await;
    texts(&session, script("text(1)", &[])).await;
    in_time(provider.shutdown()).await;
    for pid in started_hosts(&file) {
        process_ends(pid).await;
    }
}

#[tokio::test]
async fn dropping_the_provider_ends_the_host_and_what_waits_for_it() {
    let provider = provider();
    let session = open(&provider, Tools::none()).await;
    let pid = in_time(provider.probe())
        .await
        .expect("a host")
        .process_id
        .expect("a process");
    let started = in_time(session.execute(script("for (;;);", &[])))
        .await
        .expect("started");
    drop(provider);
    let error = in_time(started.first_response)
        .await
        .expect_err("the host is closed");
    assert!(
        error.to_string().contains("its owner was dropped"),
        "{error}"
    );
    process_ends(pid).await;
    let error = in_time(session.execute(script("text(1)", &[])))
        .await
        .err()
        .expect("no provider");
    assert!(matches!(error, SessionError::StartFailed { .. }), "{error}");
}

#[tokio::test]
async fn dropping_a_session_ends_its_cells_and_leaves_the_others() {
    let provider = provider();
    let tools = Tools::none();
    let dropped = open(&provider, tools.clone()).await;
    let other = provider.open_session(SessionOptions::default(), Tools::none());
    let other = in_time(other).await.expect("a session");
    let started = in_time(dropped.execute(script("for (;;);", &[])))
        .await
        .expect("started");
    drop(dropped);
    let ended = in_time(started.first_response)
        .await
        .expect("an orderly end");
    assert_eq!(ended.status, CellStatus::Terminated);
    assert_eq!(texts(&other, script("text(1)", &[])).await, ["1"]);
}

#[test]
fn dropping_everything_while_the_runtime_shuts_down_leaves_no_host() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let provider = provider();
    let (session, started, pid) = runtime.block_on(async {
        let session = open(&provider, Tools::none()).await;
        let info = in_time(provider.probe()).await.expect("a host");
        let started = in_time(session.execute(script("for (;;);", &[])))
            .await
            .expect("started");
        (session, started, info.process_id.expect("a process"))
    });
    runtime.shutdown_background();
    let checker = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let checker = checker.expect("a runtime");
    let error = checker
        .block_on(in_time(started.first_response))
        .expect_err("nobody serves it");
    assert!(error.to_string().contains("runtime shut down"), "{error}");
    drop((session, provider));
    checker.block_on(process_ends(pid));
}

#[tokio::test]
async fn ids_of_sessions_are_used_once() {
    let provider = provider();
    let options = || SessionOptions {
        session_id: SessionId::new("s"),
        ..SessionOptions::default()
    };
    let first = in_time(provider.open_session(options(), Tools::none()))
        .await
        .expect("free");
    for _ in 0..2 {
        let error = in_time(provider.open_session(options(), Tools::none()))
            .await
            .err();
        assert!(
            matches!(error, Some(SessionError::DuplicateSession { .. })),
            "{error:?}"
        );
    }
    drop(first);
    let error = in_time(provider.open_session(options(), Tools::none()))
        .await
        .err();
    assert!(
        matches!(error, Some(SessionError::DuplicateSession { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_shut_down_session_says_so() {
    let provider = provider();
    let session = open(&provider, Tools::none()).await;
    texts(&session, script("text(1)", &[])).await;
    let (first, second) =
        in_time(async { tokio::join!(session.shutdown(), session.shutdown()) }).await;
    first.expect("shut down");
    second.expect("the same");
    let error = run(&session, script("text(1)", &[]))
        .await
        .expect_err("shut down");
    assert!(matches!(error, SessionError::ShutDown { .. }), "{error}");
    let error = wait(&session, &CellId::new("1"))
        .await
        .expect_err("shut down");
    assert!(matches!(error, SessionError::ShutDown { .. }), "{error}");
}

/// Open file descriptors and resident memory in KiB of a process.
fn footprint(pid: u32) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("/proc")
        .count();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
    (descriptors, kib.expect("VmRSS"))
}

#[tokio::test]
async fn thousands_of_cells_leave_memory_and_descriptors_flat() {
    const CELLS: usize = 2000;
    // The address sanitizer keeps what is freed for a while.
    const QUARANTINE_KIB: u64 = if cfg!(address_sanitizer) {
        256 << 10
    } else {
        0
    };
    const SLACK_KIB: u64 = (48 << 10) + QUARANTINE_KIB;
    // A host has two for each cell that waits ready, runs, or was not reaped at that moment.
    const SLACK_DESCRIPTORS: usize = 24;
    let provider = provider();
    let session = open(&provider, calculator()).await;
    let pid = in_time(provider.probe())
        .await
        .expect("a host")
        .process_id
        .expect("a process");
    let me = std::process::id();
    let batch = async |count: usize| {
        let mut running = Vec::new();
        for number in 0..count {
            let session = Arc::clone(&session);
            running.push(tokio::spawn(async move {
                let source = format!("text(await tools.add([{number}, 1]))");
                texts(&session, script(&source, &["add"])).await
            }));
            if running.len() == 4 {
                for cell in running.drain(..) {
                    cell.await.expect("a result");
                }
            }
        }
    };
    batch(CELLS / 10).await;
    let before = [footprint(pid), footprint(me)];
    batch(CELLS).await;
    let after = [footprint(pid), footprint(me)];
    for ((descriptors, kib), (descriptors_after, kib_after)) in before.into_iter().zip(after) {
        assert!(
            descriptors_after <= descriptors + SLACK_DESCRIPTORS,
            "{before:?} {after:?}"
        );
        assert!(kib_after <= kib + SLACK_KIB, "{before:?} {after:?}");
    }
}

#[test]
fn a_host_dies_with_its_client_even_by_kill_9() {
    const ROLE: &str = "CODE_MODE_TEST_ROLE";
    const NAME: &str = "a_host_dies_with_its_client_even_by_kill_9";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    if std::env::var_os(ROLE).is_some() {
        // The client that will be killed. It tells its host's id in a file and goes on for ever.
        runtime.block_on(async {
            let provider = provider();
            let info = in_time(provider.probe()).await.expect("a host");
            let path = std::env::var_os(ROLE).expect("a path");
            std::fs::write(path, info.process_id.expect("a process").to_string()).expect("written");
            std::future::pending::<()>().await;
        });
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("pid");
    let mut client = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", NAME])
        .env(ROLE, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("this test starts itself");
    let host = runtime.block_on(in_time(async {
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            match text.parse::<u32>() {
                Ok(pid) => break pid,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }));
    client.kill().expect("killed");
    client.wait().expect("reaped");
    runtime.block_on(process_ends(host));
}

#[tokio::test]
async fn sessions_are_bounded() {
    let mut config = ProviderConfig::new(host_program());
    config.max_sessions = 2;
    let provider = ProcessSessionProvider::new(config);
    let new = || provider.open_session(SessionOptions::default(), Tools::none());
    let held: Vec<Arc<dyn CodeModeSession>> = vec![
        in_time(new()).await.expect("one"),
        in_time(new()).await.expect("two"),
    ];
    let error = in_time(new()).await.err().expect("no room");
    assert!(
        matches!(error, SessionError::Limit { maximum: 2, .. }),
        "{error}"
    );
    drop(held);
    in_time(new()).await.expect("room again");
}
