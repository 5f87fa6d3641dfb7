// SPDX-License-Identifier: Apache-2.0
//! Leases, owners, and the end of sessions.

use std::pin::pin;
use std::task::{Context, Waker};

use code_mode_api::SessionError;
use code_mode_api::waist::{Answer, Ask, Event as WaistEvent};
use code_mode_grpc::ERROR_CODE_METADATA;
use code_mode_grpc::tonic::{Code, Status};
use code_mode_grpc::v1;
use code_mode_grpc::v1::session_event::Event;

use crate::support::{Done, Fixture, completed, outcome, refusal, started};

fn close(id: &str) -> v1::CloseSessionRequest {
    v1::CloseSessionRequest {
        session_id: id.to_owned(),
    }
}

#[tokio::test]
async fn a_dropped_lease_ends_the_session_and_its_streams() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let subscribed = client.subscribe_to_tool_calls(lease.subscribe(&[])).await;
    let mut calls = subscribed.expect("it subscribes").into_inner();
    let id = lease.id.clone();
    drop(lease);
    session.end().await;
    assert!(matches!(session.next().await, Done::Dropped));
    assert!(calls.message().await.expect("no error").is_none());
    let (code, _) = refusal(client.close_session(close(&id)).await);
    assert_eq!(code, Code::NotFound);
}

#[tokio::test]
async fn a_closed_session_tells_of_its_cells_before_its_lease_ends() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut second = client.clone();
    let execute = lease.execute("e1");
    let (executed, (_, cell)) = tokio::join!(client.execute(execute), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    let request = close(&lease.id);
    let closing = tokio::spawn(async move { second.close_session(request).await });
    let (ask, Ask::Shutdown) = session.asked().await else {
        panic!("no shutdown");
    };
    assert!(events.message().await.expect("no error").is_none());
    cell.closed();
    session.answer(ask, Ok(Answer::Done));
    closing.await.expect("no panic").expect("it closes");
    assert!(
        matches!(lease.event().await, Event::CellClosed(closed) if closed.execution_id == "e1")
    );
    assert!(lease.events.message().await.expect("no error").is_none());
}

#[tokio::test]
async fn a_session_is_there_only_for_the_connection_that_opened_it() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let mut stranger = fixture.client().await;
    let (lease, _session) = fixture.open(&mut client, Default::default()).await;
    let (code, message) = refusal(stranger.close_session(close(&lease.id)).await);
    assert_eq!(code, Code::NotFound);
    assert_eq!(message, format!("unknown code-mode session {}", lease.id));
    let refused = stranger.execute(lease.execute("e")).await;
    assert_eq!(refused.expect_err("is refused").code(), Code::NotFound);
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    for calls in [0, u64::MAX] {
        let request = v1::OpenSessionRequest {
            max_pending_delegate_calls: Some(calls),
            ..Default::default()
        };
        let refused = client.open_session(request).await;
        assert_eq!(
            refused.expect_err("is refused").code(),
            Code::InvalidArgument
        );
    }
    let request = v1::OpenSessionRequest {
        output_truncation: 9,
        ..Default::default()
    };
    let refused = client.open_session(request).await.expect_err("is refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        refused.message(),
        "unknown code-mode output truncation mode"
    );
}

#[tokio::test]
async fn ids_are_checked_before_anything_is_asked() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, _session) = fixture.open(&mut client, Default::default()).await;
    let told = |result: Result<_, _>| refusal(result);
    for (id, message) in [
        ("", "code-mode session ID must not be empty"),
        ("x", "code-mode session ID must be a UUID"),
    ] {
        let refused = told(client.close_session(close(id)).await);
        assert_eq!(refused, (Code::InvalidArgument, message.to_owned()));
    }
    let unknown = "6f0c9f0e-8a1b-4a52-9a53-5f8e5dd1a9c1";
    let (code, _) = refusal(client.close_session(close(unknown)).await);
    assert_eq!(code, Code::NotFound);
    let mut execute = lease.execute("");
    let refused = client
        .execute(execute.clone())
        .await
        .expect_err("is refused");
    assert_eq!(
        refused.message(),
        "code-mode execution ID must not be empty"
    );
    execute = lease.execute("e");
    execute.tool_call_id.clear();
    let refused = client.execute(execute).await.expect_err("is refused");
    assert_eq!(
        refused.message(),
        "code-mode tool call ID must not be empty"
    );
    let (code, message) = refusal(client.wait(lease.wait("1", "")).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(message, "code-mode wait ID must not be empty");
    let nothing = v1::YieldObservationRequest {
        session_id: lease.id.clone(),
        observation: None,
    };
    let (code, message) = refusal(client.yield_observation(nothing).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(message, "missing code-mode observation ID");
}

#[tokio::test]
async fn process_metrics_are_unimplemented_and_health_is_served() {
    use code_mode_grpc::tonic_health::pb::HealthCheckRequest;
    use code_mode_grpc::tonic_health::pb::health_client::HealthClient;
    let fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (code, _) = refusal(
        client
            .get_process_metrics(v1::GetProcessMetricsRequest {})
            .await,
    );
    assert_eq!(code, Code::Unimplemented);
    let mut health = HealthClient::new(fixture.channel().await);
    let request = HealthCheckRequest {
        service: "codex.code_mode.v1.CodeModeHost".to_owned(),
    };
    let mut watched = health
        .watch(request.clone())
        .await
        .expect("it is watched")
        .into_inner();
    let mut status = async || {
        let message = watched.message().await.expect("no error");
        message.expect("it goes on").status
    };
    assert_eq!(status().await, 1, "it serves");
    fixture.served.drain().await;
    assert_eq!(status().await, 2, "it serves no more");
    let (code, _) = refusal(client.open_session(v1::OpenSessionRequest::default()).await);
    assert_eq!(code, Code::Unavailable);
}

/// Refused as by a host that is about to end.
fn draining<T: std::fmt::Debug>(result: Result<T, Status>) {
    let status = result.expect_err("it is refused");
    assert_eq!(status.code(), Code::Unavailable);
    let named = status.metadata().get(ERROR_CODE_METADATA);
    assert_eq!(named.expect("it has a code"), "host-draining");
}

/// Whether a future is done as things stand.
fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut context).is_ready()
}

#[tokio::test]
async fn a_host_that_drains_refuses_executes_of_sessions_without_a_cell_and_takes_those_beside_one()
{
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let door = fixture.served.door().clone();
    let (idle, mut untouched) = fixture.open(&mut client, Default::default()).await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let execute = lease.execute("e1");
    let (executed, (ask, first)) = tokio::join!(client.execute(execute), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    fixture.served.drain().await;
    draining(client.open_session(v1::OpenSessionRequest::default()).await);
    draining(client.execute(idle.execute("e1")).await);
    let execute = lease.execute("e2");
    let (executed, (beside, second)) = tokio::join!(client.execute(execute), session.start("2"));
    let mut more = executed.expect("its session has a cell").into_inner();
    first.observed(ask, completed(), "done");
    first.closed();
    assert!(!is_ready(door.quiet()), "the other one runs");
    second.observed(beside, completed(), "done");
    second.closed();
    assert_eq!(outcome(&mut events).await.content_items.len(), 1);
    started(&mut more).await;
    assert_eq!(outcome(&mut more).await.content_items.len(), 1);
    for _ in 0..2 {
        assert!(matches!(lease.event().await, Event::CellClosed(_)));
    }
    assert!(is_ready(door.quiet()), "and there can be no other");
    draining(client.execute(lease.execute("e3")).await);
    assert!(untouched.done.try_recv().is_err() && session.done.try_recv().is_err());
}

#[tokio::test]
async fn an_execute_that_was_taken_before_the_drain_is_waited_for_although_it_has_no_cell() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let door = fixture.served.door().clone();
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let execute = lease.execute("e1");
    let asking = tokio::spawn(async move { client.execute(execute).await });
    let (ask, Ask::Execute(_)) = session.asked().await else {
        panic!("no execute");
    };
    fixture.served.drain().await;
    assert!(!is_ready(door.quiet()), "it may become a cell");
    let cell = session.cell("1");
    let cell_id = cell.id.clone();
    cell.put(WaistEvent::Started { ask, cell_id });
    let mut events = asking
        .await
        .expect("no panic")
        .expect("it starts")
        .into_inner();
    started(&mut events).await;
    assert!(!is_ready(door.quiet()), "it has");
    cell.observed(ask, completed(), "done");
    cell.closed();
    assert_eq!(outcome(&mut events).await.content_items.len(), 1);
    door.quiet().await;
}

#[tokio::test]
async fn an_execute_that_was_refused_or_whose_session_is_gone_is_not_waited_for() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let door = fixture.served.door().clone();
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let execute = lease.execute("e1");
    let refuses = async {
        let (ask, _) = session.asked().await;
        let message = "no".to_owned();
        session.answer(ask, Err(SessionError::InvalidRequest { message }));
    };
    let (executed, ()) = tokio::join!(client.execute(execute), refuses);
    assert_eq!(refusal(executed).0, Code::InvalidArgument);
    assert!(is_ready(door.quiet()));

    let execute = lease.execute("e2");
    let (executed, (_, cell)) = tokio::join!(client.execute(execute), session.start("1"));
    executed.expect("it starts");
    assert!(!is_ready(door.quiet()));
    drop(lease);
    let mut end = session.asked().await;
    while let (_, Ask::Terminate { .. }) = end {
        end = session.asked().await;
    }
    let (ask, Ask::Shutdown) = end else {
        panic!("no shutdown");
    };
    fixture.served.drain().await;
    assert!(!is_ready(door.quiet()), "its cell is not closed");
    session.answer(ask, Ok(Answer::Done));
    door.quiet().await;
    drop(cell);
}

#[tokio::test]
async fn an_execute_in_a_session_that_a_drained_host_has_closed_is_refused_as_by_a_drain() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    fixture.served.drain().await;
    let door = fixture.served.door().clone();
    let (closed, ()) = tokio::join!(
        async {
            door.close_all().await;
            lease.events.message().await
        },
        session.end()
    );
    assert!(closed.expect("no error").is_none());
    draining(client.execute(lease.execute("e1")).await);
    let (code, _) = refusal(client.close_session(close(&lease.id)).await);
    assert_eq!(code, Code::NotFound, "of everything else");
}

#[tokio::test]
async fn a_drained_connection_keeps_what_is_open_and_ends_with_it() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let execute = lease.execute("e1");
    let (executed, (ask, cell)) = tokio::join!(client.execute(execute), session.start("1"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    fixture.drain.cancel();
    cell.observed(ask, completed(), "done");
    assert_eq!(outcome(&mut events).await.content_items.len(), 1);
    let door = fixture.served.door().clone();
    let closing = tokio::spawn(async move { door.close_all().await });
    session.end().await;
    closing.await.expect("no panic");
    assert!(lease.events.message().await.expect("no error").is_none());
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_says_why() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    fixture.opened.close();
    let (code, message) = refusal(client.open_session(v1::OpenSessionRequest::default()).await);
    let error = SessionError::StartFailed {
        cause: "the test is over".to_owned(),
    };
    assert_eq!((code, message), (Code::Unavailable, error.to_string()));
}
