// SPDX-License-Identifier: Apache-2.0
//! The host or the connection to it is lost, and everybody learns it at once.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{
    CellStatus, ExecuteRequest, SessionError, SessionProvider, SideEffects, StateLost, WaitRequest,
};
use code_mode_client_grpc::{AddressConfig, AddressSessionProvider, DEFAULT_PING_INTERVAL};
use code_mode_testsuite::{Call, Fixture};
use support::relay::Relay;
use support::{GUARD, Host, in_time, run, script, session, text};

/// A loss is told before any ping could have shown it; it takes a few milliseconds on a machine with nothing else to
/// do.
const AT_ONCE: Duration = DEFAULT_PING_INTERVAL;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_who_waits_is_told_at_once_and_the_next_execute_says_that_there_is_no_host() {
    let mut host = Host::start();
    let provider = AddressSessionProvider::new(host.config());
    let (one, other) = (session(&provider).await, session(&provider).await);
    let yielded = ExecuteRequest {
        yield_time: Some(Duration::ZERO),
        ..ExecuteRequest::new("await new Promise(() => {})")
    };
    let cell = one.execute(yielded).await.expect("started");
    cell.first_response.await.expect("it yields");
    let wait = one.wait(WaitRequest {
        cell_id: cell.cell_id.clone(),
        yield_time: Some(GUARD),
    });
    let running = other.execute(script("for (;;);")).await.expect("started");
    let kill = async {
        // Asked behind the wait, since the futures are polled in this order: once it is answered, the wait is on its way.
        one.list_cells().await.expect("the host is there");
        tokio::task::block_in_place(|| host.kill());
        Instant::now()
    };
    let all = async { tokio::join!(wait, running.first_response, kill) };
    let (waited, first, killed) = in_time(all).await;
    assert!(killed.elapsed() < AT_ONCE, "{:?}", killed.elapsed());
    for error in [waited.expect_err("lost"), first.expect_err("lost")] {
        match error {
            SessionError::RuntimeLost {
                cause,
                side_effects,
            } => {
                assert!(cause.contains("was lost"), "{cause}");
                assert_eq!(side_effects, SideEffects::Possible);
            }
            other => panic!("must be a loss: {other}"),
        }
    }
    let gone = one.terminate(cell.cell_id).await.expect_err("it is lost");
    assert!(matches!(gone, SessionError::CellLost { .. }), "{gone}");
    let refused = one.execute(script("text(1)")).await.err().expect("no host");
    let SessionError::StartFailed { cause } = refused else {
        panic!("must be a failed start: {refused}");
    };
    assert!(
        cause.contains(&format!("Failed to connect to {}", host.address)),
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_replaced_gets_the_stored_values_and_the_response_says_so() {
    let mut host = Host::start();
    let provider = AddressSessionProvider::new(host.config());
    let session = session(&provider).await;
    run(&session, "store('n', 41)").await.expect("it runs");
    // The copy is taken beside the work; values that are asked for are in it at once.
    assert_eq!(
        session.export_store().await.expect("they can be had")["n"].get(),
        "41"
    );
    tokio::task::block_in_place(|| {
        host.kill();
        host.replace();
    });
    let response = loop {
        match run(&session, "text(load('n') + 1)").await {
            // It was sent before the loss was noticed, and is never sent again by itself.
            Err(SessionError::RuntimeLost { .. }) => {}
            other => break other.expect("it runs on the other host"),
        }
    };
    assert_eq!(response.content_items, text("42"));
    let lost: StateLost = response.state_lost.expect("it is told");
    let restored = lost.restored.expect("they were put back");
    assert_eq!(restored.values, 1);
    // The values were asked for after the last cell that was seen to end.
    assert!(restored.is_current);
    let again = run(&session, "text(load('n'))").await.expect("it runs");
    assert_eq!(again.state_lost, None, "it is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_tool_calls_are_cancelled_with_their_host() {
    let mut host = Host::start();
    let provider: Arc<dyn SessionProvider> = Arc::new(AddressSessionProvider::new(host.config()));
    let fixture = Fixture::on(provider).await;
    let started = fixture.start("await tools.hang(1)").await;
    let called = |call: &Call| matches!(call, Call::Tool { .. });
    in_time(fixture.recorder.wait_for(called)).await;
    tokio::task::block_in_place(|| host.kill());
    let error = in_time(started.first_response).await.expect_err("lost");
    assert_eq!(error.side_effects(), SideEffects::Possible);
    let dropped = |call: &Call| matches!(call, Call::Dropped(_));
    in_time(fixture.recorder.wait_for(dropped)).await;
    let closed = |call: &Call| matches!(call, Call::Closed(_));
    in_time(fixture.recorder.wait_for(closed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_after_any_byte_is_told_at_once_and_with_the_truth() {
    let host = Host::start();
    let mut outcomes = [0; 4];
    // Every part of the conversation is cut in, and the last ones are through before the cut.
    for bytes in (0..1_500).step_by(29) {
        let relay = Relay::cutting(host.authority(), bytes).await;
        let mut config = AddressConfig::new(relay.address.clone());
        config.keep_store = false;
        let provider = AddressSessionProvider::new(config);
        let session = session(&provider).await;
        let outcome = run(&session, "text('a'); store('n', 1); text('b')").await;
        outcomes[match outcome {
            Err(SessionError::StartFailed { .. }) => 0,
            Err(SessionError::RuntimeLost {
                side_effects: SideEffects::None,
                ..
            }) => 1,
            Err(SessionError::RuntimeLost { .. }) => 2,
            Ok(response) => {
                let completed = CellStatus::Completed { error_text: None };
                assert_eq!(response.status, completed, "cut after {bytes}");
                assert_eq!(response.content_items.len(), 2, "cut after {bytes}");
                3
            }
            Err(other) => panic!("cut after {bytes}: {other}"),
        }] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 0), "{outcomes:?}");
}
