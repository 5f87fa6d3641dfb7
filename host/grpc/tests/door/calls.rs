// SPDX-License-Identifier: Apache-2.0
//! Tool calls, notifications, and the order that sequences tell.

use code_mode_api::ToolError;
use code_mode_api::waist::{CallId, Event};
use code_mode_grpc::tonic::Code;
use code_mode_grpc::v1;
use code_mode_grpc::v1::session_event::Event as LeaseEvent;

use crate::support::{Client, Done, Fixture, Lease, PlayedSession, refusal};

type Calls = code_mode_grpc::tonic::Streaming<v1::ToolCall>;

async fn subscribe(client: &mut Client, lease: &Lease, names: &[&str]) -> Calls {
    let subscribed = client.subscribe_to_tool_calls(lease.subscribe(names)).await;
    subscribed.expect("it subscribes").into_inner()
}

async fn call(calls: &mut Calls) -> v1::ToolCall {
    let call = calls.message().await.expect("no error");
    call.expect("it goes on")
}

async fn failure(session: &mut PlayedSession) -> String {
    match session.next().await {
        Done::Answered(_, Err(ToolError { message })) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_answered_once_and_a_late_answer_is_no_error() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut calls = subscribe(&mut client, &lease, &[]).await;
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    cell.call(1, "a", r#"{"x":1}"#);
    let first = call(&mut calls).await;
    assert_eq!(first.session_id, lease.id);
    assert_eq!((&*first.execution_id, &*first.cell_id), ("e1", "1"));
    assert_eq!(
        (&*first.runtime_tool_call_id, first.sequence),
        ("tool-1", 1)
    );
    assert_eq!(first.input_json.as_deref(), Some(&br#"{"x":1}"#[..]));
    let complete = lease.complete(&first.invocation_id, "[2]");
    let bad = lease.complete(&first.invocation_id, "{");
    let (code, message) = refusal(client.complete_tool_call(bad).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(
        message.starts_with("invalid code-mode tool output JSON: "),
        "{message}"
    );
    client
        .complete_tool_call(complete.clone())
        .await
        .expect("it is taken");
    assert!(
        matches!(session.next().await, Done::Answered(CallId(1), Ok(result)) if result == "[2]")
    );
    client
        .complete_tool_call(complete)
        .await
        .expect("it is late");
    let mut unknown = lease.complete("6f0c9f0e-8a1b-4a52-9a53-5f8e5dd1a9c1", "1");
    let (code, _) = refusal(client.complete_tool_call(unknown.clone()).await);
    assert_eq!(code, Code::NotFound);
    unknown.outcome = None;
    let (code, message) = refusal(client.complete_tool_call(unknown).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(message, "tool completion is missing its outcome");
}

#[tokio::test]
async fn no_input_is_left_out_and_a_cancelled_call_is_told_on_the_lease() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut calls = subscribe(&mut client, &lease, &["a"]).await;
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    cell.call(1, "a", "null");
    let open = call(&mut calls).await;
    assert_eq!(open.input_json, None);
    cell.put(Event::CallCancelled { call: CallId(1) });
    cell.closed();
    let LeaseEvent::ToolCallCancelled(cancelled) = lease.event().await else {
        panic!("no cancellation");
    };
    assert_eq!(cancelled.invocation_id, open.invocation_id);
    let LeaseEvent::CellClosed(closed) = lease.event().await else {
        panic!("no end");
    };
    assert_eq!(
        (&*closed.execution_id, closed.final_tool_call_sequence),
        ("e1", 1)
    );
    let late = lease.complete(&open.invocation_id, "1");
    client.complete_tool_call(late).await.expect("it is late");
}

#[tokio::test]
async fn a_call_that_nobody_takes_fails_in_the_script_and_has_no_sequence() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let _b = subscribe(&mut client, &lease, &["b"]).await;
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    cell.call(1, "a", "1");
    let message = "no code-mode tool subscription matches the requested tool";
    assert_eq!(failure(&mut session).await, message);
    cell.closed();
    assert!(
        matches!(lease.event().await, LeaseEvent::CellClosed(closed) if closed.final_tool_call_sequence == 0)
    );
}

#[tokio::test]
async fn a_call_beyond_the_sessions_bound_fails_in_the_script() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let request = v1::OpenSessionRequest {
        max_pending_delegate_calls: Some(1),
        ..Default::default()
    };
    let (lease, mut session) = fixture.open(&mut client, request).await;
    let mut calls = subscribe(&mut client, &lease, &[]).await;
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    cell.call(1, "a", "1");
    cell.call(2, "a", "2");
    let message = "code-mode session has too many pending delegate calls";
    assert_eq!(failure(&mut session).await, message);
    let first = call(&mut calls).await;
    let complete = lease.complete(&first.invocation_id, "1");
    client
        .complete_tool_call(complete)
        .await
        .expect("it is taken");
    assert!(matches!(
        session.next().await,
        Done::Answered(CallId(1), Ok(_))
    ));
    cell.call(3, "a", "3");
    assert_eq!(call(&mut calls).await.sequence, 2);
}

#[tokio::test]
async fn the_calls_of_a_dropped_subscription_fail_and_later_ones_go_elsewhere() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let mut named = subscribe(&mut client, &lease, &["a"]).await;
    let mut all = subscribe(&mut client, &lease, &[]).await;
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    cell.call(1, "a", "1");
    call(&mut named).await;
    drop(named);
    let message = "code-mode tool subscription closed before returning tool output";
    assert_eq!(failure(&mut session).await, message);
    cell.call(2, "a", "2");
    assert_eq!(call(&mut all).await.sequence, 2);
}

#[tokio::test]
async fn a_notification_is_delivered_when_it_is_read_and_acknowledging_it_is_a_formality() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (mut lease, mut session) = fixture.open(&mut client, Default::default()).await;
    let (executed, (_, cell)) =
        tokio::join!(client.execute(lease.execute("e1")), session.start("1"));
    let _events = executed.expect("it starts");
    cell.notify(1, "half way");
    let LeaseEvent::Notification(notification) = lease.event().await else {
        panic!("no notification");
    };
    assert_eq!(
        (&*notification.text, &*notification.call_id),
        ("half way", "call")
    );
    assert_eq!(
        (&*notification.execution_id, &*notification.cell_id),
        ("e1", "1")
    );
    assert!(matches!(
        session.next().await,
        Done::Answered(CallId(1), Ok(_))
    ));
    let mut acknowledge = v1::AcknowledgeNotificationRequest {
        session_id: lease.id.clone(),
        notification_id: notification.notification_id,
    };
    for _ in 0..2 {
        let done = client.acknowledge_notification(acknowledge.clone()).await;
        done.expect("it is taken");
    }
    acknowledge.notification_id = "x".to_owned();
    let (code, _) = refusal(client.acknowledge_notification(acknowledge).await);
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test]
async fn tool_definitions_are_checked() {
    let mut fixture = Fixture::new().await;
    let mut client = fixture.client().await;
    let (lease, _session) = fixture.open(&mut client, Default::default()).await;
    let good = v1::ToolDefinition {
        name: "a".to_owned(),
        tool_name: Some(v1::ToolName {
            name: "a".to_owned(),
            namespace: None,
        }),
        kind: 1,
        ..Default::default()
    };
    let cases = [
        (
            v1::ToolDefinition {
                kind: 0,
                ..good.clone()
            },
            "tool definition has an invalid kind",
        ),
        (
            v1::ToolDefinition {
                name: String::new(),
                ..good.clone()
            },
            "code-mode tool definition name must not be empty",
        ),
        (
            v1::ToolDefinition {
                tool_name: None,
                ..good.clone()
            },
            "tool definition is missing its tool name",
        ),
        (
            v1::ToolDefinition {
                input_schema_json: Some("{".into()),
                ..good
            },
            "invalid tool input schema: EOF while parsing an object at line 1 column 1",
        ),
    ];
    for (index, (tool, message)) in cases.into_iter().enumerate() {
        let mut execute = lease.execute(&format!("e{index}"));
        execute.enabled_tools = vec![tool];
        let status = client.execute(execute).await.expect_err("it is refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), message);
    }
}
