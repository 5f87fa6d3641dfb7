// SPDX-License-Identifier: Apache-2.0
//! Executes, waits, yields and terminates.

use std::time::Duration;

use code_mode_api::waist::{Ask, Event};
use code_mode_api::{CellId, CellStatus, LimitName, SessionError, SideEffects};
use code_mode_grpc::tonic::{Code, Request};
use code_mode_grpc::v1;
use code_mode_grpc::v1::execution_outcome::Outcome;
use code_mode_grpc::{ERROR_CODE_METADATA, SIDE_EFFECTS_METADATA};

use crate::support::{Done, Fixture, completed, outcome, refusal, started};

#[tokio::test]
async fn an_execute_starts_at_once_and_ends_with_its_outcome() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, (ask, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    let begun = started(&mut events).await;
    assert_eq!((&*begun.execution_id, &*begun.cell_id), ("e1", "1"));
    cell.observed(ask, completed(), "hello");
    let outcome = outcome(&mut events).await;
    assert_eq!(outcome.cell_id, "1");
    assert!(outcome.code_mode_host_duration_ns > 0);
    assert_eq!(
        outcome.outcome,
        Some(Outcome::Completed(v1::Completed { error_text: None }))
    );
    assert!(events.message().await.expect("no error").is_none());
}

#[tokio::test]
async fn a_refused_execute_says_so_in_its_status() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let refuse = async {
        let (ask, Ask::Execute(_)) = session.asked().await else {
            panic!("no execute");
        };
        let limit = SessionError::Limit {
            limit: LimitName::ActiveCells,
            maximum: 1,
            detail: String::new(),
        };
        session.answer(ask, Err(limit));
    };
    let (executed, ()) = tokio::join!(client.execute(lease.execute("e1")), refuse);
    let status = executed.expect_err("it is refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn an_execute_whose_cell_was_lost_says_whether_its_script_may_have_acted() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    for (cell, side_effects, said) in [
        ("1", SideEffects::None, "none"),
        ("2", SideEffects::Possible, "possible"),
    ] {
        let (executed, (ask, _cell)) =
            tokio::join!(client.execute(lease.execute(cell)), session.start(cell));
        let mut events = executed.expect("it starts").into_inner();
        started(&mut events).await;
        let lost = SessionError::RuntimeLost {
            cause: "so".to_owned(),
            side_effects,
        };
        session.answer(ask, Err(lost));
        let status = events.message().await.expect_err("it is lost");
        assert_eq!(status.code(), Code::Aborted);
        let word = |name| status.metadata().get(name).map(|word| word.as_bytes());
        assert_eq!(word(ERROR_CODE_METADATA), Some(&b"runtime-lost"[..]));
        assert_eq!(word(SIDE_EFFECTS_METADATA), Some(said.as_bytes()));
    }
}

#[tokio::test]
async fn an_execution_id_is_never_used_twice() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, _) = tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    executed.expect("it starts");
    let again = client
        .execute(lease.execute("e1"))
        .await
        .expect_err("again");
    assert_eq!(again.code(), Code::AlreadyExists);
    assert_eq!(again.message(), "code-mode execution ID `e1` was reused");
}

#[tokio::test]
async fn a_client_that_lets_go_of_its_execute_before_the_outcome_ends_the_cell() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, _) = tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    drop(executed);
    let (_, Ask::Terminate { cell_id }) = session.asked().await else {
        panic!("no terminate");
    };
    assert_eq!(cell_id, CellId::new("1"));
}

#[tokio::test]
async fn a_client_that_lets_go_before_the_cell_starts_ends_it_as_soon_as_it_does() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut impatient = client.clone();
    let execute = lease.execute("e1");
    let executing = tokio::spawn(async move { impatient.execute(execute).await });
    let (ask, Ask::Execute(_)) = session.asked().await else {
        panic!("no execute");
    };
    executing.abort();
    assert!(executing.await.is_err(), "it was let go");
    // What is asked after it on the same connection comes after it.
    let again = client.execute(lease.execute("e1")).await;
    assert!(again.is_err(), "the id is used");
    let cell = session.cell("1");
    cell.put(Event::Started {
        ask,
        cell_id: cell.id.clone(),
    });
    let (_, Ask::Terminate { cell_id }) = session.asked().await else {
        panic!("no terminate");
    };
    assert_eq!(cell_id, CellId::new("1"));
}

#[tokio::test]
async fn after_its_outcome_a_cell_outlives_its_execute() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, (ask, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    cell.observed(ask, CellStatus::Yielded, "so far");
    outcome(&mut events).await;
    drop(events);
    let wait = async {
        let (ask, Ask::Wait(request)) = session.asked().await else {
            panic!("the cell was not left alone");
        };
        assert_eq!(request.yield_time, Some(Duration::from_secs(1)));
        cell.observed(ask, completed(), "the rest");
    };
    let (waited, ()) = tokio::join!(client.wait(lease.wait("1", "w1")), wait);
    let outcome = waited.expect("it ends").into_inner().outcome;
    assert!(matches!(
        outcome,
        Some(v1::wait_response::Outcome::LiveCell(_))
    ));
}

#[tokio::test]
async fn a_wait_for_a_cell_that_is_not_there_says_so_in_words() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let missing = SessionError::MissingCell {
        cell_id: CellId::new("9"),
    };
    let busy = SessionError::BusyObserver {
        cell_id: CellId::new("9"),
    };
    let answers = async {
        for error in [missing, busy] {
            let (ask, _) = session.asked().await;
            session.answer(ask, Err(error));
        }
    };
    let waits = async {
        let missing = client.wait(lease.wait("9", "w1")).await.expect("an answer");
        let busy = client.wait(lease.wait("9", "w2")).await;
        (missing.into_inner().outcome, busy)
    };
    let ((missing, busy), ()) = tokio::join!(waits, answers);
    let Some(v1::wait_response::Outcome::MissingCell(missing)) = missing else {
        panic!("{missing:?}");
    };
    let error_text = Some("exec cell 9 not found".to_owned());
    assert_eq!(
        missing.outcome,
        Some(Outcome::Completed(v1::Completed { error_text }))
    );
    assert_eq!(refusal(busy).0, Code::FailedPrecondition);
}

#[tokio::test]
async fn a_cancelled_wait_ends_before_the_cancellation_is_answered() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut waiter = client.clone();
    let request = lease.wait("1", "w1");
    let waiting = tokio::spawn(async move { waiter.wait(request).await });
    let (ask, Ask::Wait(_)) = session.asked().await else {
        panic!("no wait");
    };
    let again = refusal(client.wait(lease.wait("1", "w1")).await);
    let reused = "code-mode wait ID `w1` was reused".to_owned();
    assert_eq!(again, (Code::AlreadyExists, reused));
    let mut canceller = client.clone();
    let cancel = v1::CancelWaitRequest {
        session_id: lease.id.clone(),
        wait_id: "w1".to_owned(),
    };
    let request = cancel.clone();
    let cancelling = tokio::spawn(async move { canceller.cancel_wait(request).await });
    assert!(matches!(session.next().await, Done::Withdrew(withdrawn) if withdrawn == ask));
    assert!(!cancelling.is_finished());
    let side_effects = SideEffects::Possible;
    session.answer(ask, Err(SessionError::Cancelled { side_effects }));
    cancelling
        .await
        .expect("no panic")
        .expect("it is cancelled");
    let waited = refusal(waiting.await.expect("no panic"));
    assert_eq!(
        waited,
        (Code::Cancelled, "code-mode wait was cancelled".to_owned())
    );
    client
        .cancel_wait(cancel)
        .await
        .expect("nothing to cancel is no error");
}

#[tokio::test]
async fn a_client_that_lets_go_of_its_wait_takes_it_back() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let request = lease.wait("1", "w1");
    let waiting = tokio::spawn(async move { client.wait(request).await });
    let (ask, Ask::Wait(_)) = session.asked().await else {
        panic!("no wait");
    };
    waiting.abort();
    assert!(matches!(session.next().await, Done::Withdrew(withdrawn) if withdrawn == ask));
}

#[tokio::test]
async fn a_yield_names_its_execute_or_wait_and_an_unknown_one_does_nothing() {
    use v1::yield_observation_request::Observation;
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, (ask, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    let request = |observation| v1::YieldObservationRequest {
        session_id: lease.id.clone(),
        observation: Some(observation),
    };
    for unknown in [
        Observation::WaitId("e1".to_owned()),
        Observation::ExecutionId("e2".to_owned()),
    ] {
        let done = client.yield_observation(request(unknown)).await;
        done.expect("it does nothing");
    }
    let known = Observation::ExecutionId("e1".to_owned());
    let done = client.yield_observation(request(known)).await;
    done.expect("it yields");
    assert!(matches!(session.asked().await, (_, Ask::Yield { ask: named }) if named == ask));
    cell.observed(ask, CellStatus::Yielded, "now");
    assert_eq!(
        outcome(&mut events).await.outcome,
        Some(Outcome::Yielded(v1::Yielded {}))
    );
}

#[tokio::test]
async fn the_limits_of_a_session_lower_those_of_its_requests() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let request = v1::OpenSessionRequest {
        cell_execution_limits: Some(v1::CellExecutionLimits {
            max_yield_time_ms: Some(500),
            max_heap_size_bytes: Some(1 << 20),
        }),
        ..Default::default()
    };
    let (lease, mut session) = fixture.open(&mut client, request).await;
    let mut execute = lease.execute("e1");
    execute.yield_time_ms = Some(9_000);
    let mut client_of_execute = client.clone();
    let executing = tokio::spawn(async move { client_of_execute.execute(execute).await });
    let (_, Ask::Execute(asked)) = session.asked().await else {
        panic!("no execute");
    };
    assert_eq!(asked.yield_time, Some(Duration::from_millis(500)));
    assert_eq!(asked.limits.heap_bytes, Some(1 << 20));
    let wait = lease.wait("1", "w1");
    let waiting = tokio::spawn(async move { client.wait(wait).await });
    let (_, Ask::Wait(asked)) = session.asked().await else {
        panic!("no wait");
    };
    assert_eq!(asked.yield_time, Some(Duration::from_millis(500)));
    executing.abort();
    waiting.abort();
}

#[tokio::test]
async fn a_terminate_answers_for_the_cell_and_so_does_its_execute() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, (execute, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    let request = v1::TerminateRequest {
        session_id: lease.id.clone(),
        cell_id: "1".to_owned(),
        max_output_tokens: None,
    };
    let terminate = async {
        let (ask, Ask::Terminate { .. }) = session.asked().await else {
            panic!("no terminate");
        };
        cell.observed(ask, CellStatus::Terminated, "left");
        cell.observed(execute, CellStatus::Terminated, "left");
    };
    let (terminated, ()) = tokio::join!(client.terminate(request), terminate);
    let Some(v1::wait_response::Outcome::LiveCell(terminated)) =
        terminated.expect("it ends").into_inner().outcome
    else {
        panic!("it was there");
    };
    let gone = Some(Outcome::Terminated(v1::Terminated {}));
    assert_eq!(terminated.outcome, gone);
    assert_eq!(outcome(&mut events).await.outcome, gone);
}

#[tokio::test]
async fn a_result_that_has_waited_says_for_how_long() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let cell = session.cell("1");
    let answer = async {
        let (ask, _) = session.asked().await;
        let mut response = cell.response(completed(), "x");
        response.timings.result_buffered_for = Some(Duration::from_nanos(7));
        cell.put(Event::Observed { ask, response });
    };
    let (waited, ()) = tokio::join!(client.wait(lease.wait("1", "w")), answer);
    let waited = waited.expect("it ended");
    let header = waited
        .metadata()
        .get("codex-code-mode-result-buffered-for-ns");
    assert_eq!(header.and_then(|value| value.to_str().ok()), Some("7"));
}

#[tokio::test]
async fn a_trace_goes_from_an_execute_to_the_calls_of_its_script() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let subscribed = client.subscribe_to_tool_calls(lease.subscribe(&[])).await;
    let mut calls = subscribed.expect("it subscribes").into_inner();
    let mut streams = Vec::new();
    for (execution, trace, expected) in [("e1", TRACE, Some(TRACE)), ("e2", "junk", None)] {
        let mut request = Request::new(lease.execute(execution));
        let value = trace.parse().expect("is ASCII");
        request.metadata_mut().insert("traceparent", value);
        let (executed, (_, cell)) = tokio::join!(client.execute(request), session.start(execution));
        streams.push(executed.expect("it starts"));
        cell.call(1, "a", "1");
        let call = calls.message().await.expect("no error").expect("a call");
        assert_eq!(call.traceparent.as_deref(), expected);
    }
}
