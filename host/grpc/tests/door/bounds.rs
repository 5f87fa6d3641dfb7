// SPDX-License-Identifier: Apache-2.0
//! What a client can make the door hold.

use std::task::{Context, Waker};

use code_mode_api::waist::{CallId, MINIMUM_EVENT_BYTES};
use code_mode_grpc::MAX_MESSAGE_BYTES;
use code_mode_grpc::tonic::{Code, Request};
use code_mode_host_grpc::limits::{
    MAX_HEADER_BYTES, MAX_ID_BYTES, MAX_PENDING_CALLS, MAX_SUBSCRIPTIONS,
};

use crate::support::{Done, Fixture, OUTBOX_BYTES, completed, refusal, started};

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_cell_back_and_nobody_else() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let subscribed = client.subscribe_to_tool_calls(lease.subscribe(&[])).await;
    let mut calls = subscribed.expect("it subscribes").into_inner();
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    let input = format!("\"{}\"", "x".repeat(256 << 10));
    let event = input.len() + MINIMUM_EVENT_BYTES;
    let outbox = cell.outbox.clone();
    // A cell's thread speaks for as long as it has room.
    let mut spoken = 0;
    while session.budget.held() + event <= OUTBOX_BYTES {
        spoken += 1;
        cell.call(spoken, "a", &input);
        assert!(spoken < 1_000, "nothing is held back");
    }
    let mut context = Context::from_waker(Waker::noop());
    assert!(outbox.poll_room(256 << 10, &mut context).is_pending());
    let blocked = tokio::task::spawn_blocking(move || outbox.wait_for_room(256 << 10));
    // Another cell, and its outcome, are not held back by it.
    let (executed, (ask, other)) =
        tokio::join!(client.execute(lease.execute("e2")), session.start("2"));
    let mut events = executed.expect("it starts").into_inner();
    started(&mut events).await;
    assert_eq!(other.outbox.wait_for_room(1), Ok(()));
    other.observed(ask, completed(), "done");
    crate::support::outcome(&mut events).await;
    // Reading gives room.
    for sequence in 1..=spoken {
        let call = calls.message().await.expect("no error").expect("a call");
        assert_eq!(call.sequence, sequence);
    }
    assert_eq!(blocked.await.expect("no panic"), Ok(()));
    assert_eq!(session.budget.held(), 0);
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_one_of_its_size_is_taken() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut execute = lease.execute("e1");
    execute.source = "x".repeat(MAX_MESSAGE_BYTES);
    let status = client
        .execute(execute.clone())
        .await
        .expect_err("too large");
    assert_eq!(status.code(), Code::OutOfRange);
    execute.source.truncate(MAX_MESSAGE_BYTES - 200);
    let (executed, _) = tokio::join!(client.execute(execute), session.start("1"));
    executed.expect("it is taken");
}

#[tokio::test]
async fn ids_and_headers_are_bounded() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, _session) = fixture.open(&mut client, Default::default()).await;
    let (code, _) = refusal(
        client
            .wait(lease.wait("1", &"w".repeat(MAX_ID_BYTES + 1)))
            .await,
    );
    assert_eq!(code, Code::InvalidArgument);
    let mut request = Request::new(lease.wait("1", "w"));
    let long = "x".repeat(MAX_HEADER_BYTES as usize);
    request
        .metadata_mut()
        .insert("x-long", long.parse().expect("is ASCII"));
    assert!(client.wait(request).await.is_err());
}

#[tokio::test]
async fn the_subscriptions_of_a_session_are_bounded() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, _session) = fixture.open(&mut client, Default::default()).await;
    let mut subscribed = Vec::new();
    for _ in 0..MAX_SUBSCRIPTIONS {
        let stream = client.subscribe_to_tool_calls(lease.subscribe(&[])).await;
        subscribed.push(stream.expect("there is room"));
    }
    let refused = client.subscribe_to_tool_calls(lease.subscribe(&[])).await;
    let status = refused.expect_err("there is none");
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn the_unanswered_calls_of_a_session_that_names_no_number_are_bounded() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let subscribed = client.subscribe_to_tool_calls(lease.subscribe(&[])).await;
    let _calls = subscribed.expect("it subscribes");
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    let most = MAX_PENDING_CALLS as u64;
    for call in 1..=most + 1 {
        cell.call(call, "a", "1");
    }
    let refused = session.next().await;
    assert!(
        matches!(refused, Done::Answered(CallId(call), Err(_)) if call == most + 1),
        "{refused:?}"
    );
    assert!(session.done.try_recv().is_err(), "and no other");
}
