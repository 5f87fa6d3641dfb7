// SPDX-License-Identifier: Apache-2.0
//! Clients that let go of a session, whatever its cell is doing: nothing of it runs on.

use code_mode_grpc::tonic::Streaming;
use code_mode_grpc::tonic::transport::Channel;
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_grpc::v1::execute_event::Event;
use code_mode_grpc::v1::session_event::Event as LeaseEvent;

use crate::{Host, complete, execute, open, subscribe, tokio};

/// What a cell does when its lease ends.
#[derive(Debug, Clone, Copy)]
enum Doing {
    /// Its execute was sent, and nobody has seen it start.
    Beginning,
    Running,
    WaitingForATool,
    /// It has given a first part of its output and waits for a timer.
    Yielded,
    /// It has come to its end after a first part, and nobody has taken the rest.
    Finished,
}

const EACH: [Doing; 5] = [
    Doing::Beginning,
    Doing::Running,
    Doing::WaitingForATool,
    Doing::Yielded,
    Doing::Finished,
];

/// What was opened, so that a test can let go of it.
struct Opened {
    client: CodeModeHostClient<Channel>,
    lease: Streaming<v1::SessionEvent>,
    calls: Streaming<v1::ToolCall>,
    execute: Option<Streaming<v1::ExecuteEvent>>,
}

async fn bring_to(doing: Doing, channel: Channel) -> Opened {
    let mut client = CodeModeHostClient::new(channel);
    let (mut lease, session_id) = open(&mut client).await;
    let mut calls = subscribe(&mut client, &session_id).await;
    let (source, yield_time_ms) = match doing {
        Doing::Beginning | Doing::Running => ("for (;;) {}", 600_000),
        Doing::WaitingForATool => ("await tools.a()", 600_000),
        Doing::Yielded => ("text(1); await new Promise(end => setTimeout(end, 1e9))", 0),
        Doing::Finished => ("await tools.a(); text(1); notify('at its end')", 0),
    };
    let request = v1::ExecuteRequest {
        yield_time_ms: Some(yield_time_ms),
        ..execute(&session_id, source)
    };
    if let Doing::Beginning = doing {
        let mut asking = client.clone();
        // It goes on when nobody waits for it; what is sent after it comes after it.
        tokio::spawn(async move { asking.execute(request).await });
        tokio::task::yield_now().await;
        return Opened {
            client,
            lease,
            calls,
            execute: None,
        };
    }
    let executed = client.execute(request).await;
    let mut events = executed.expect("it starts").into_inner();
    let mut event = async || {
        let event = events.message().await.expect("no error");
        event.and_then(|event| event.event)
    };
    assert!(matches!(event().await, Some(Event::Started(_))));
    if let Doing::Yielded | Doing::Finished = doing {
        assert!(matches!(event().await, Some(Event::Outcome(_))));
    }
    if let Doing::WaitingForATool | Doing::Finished = doing {
        let call = calls.message().await.expect("no error").expect("a call");
        if let Doing::Finished = doing {
            let completed = client.complete_tool_call(complete(&session_id, call)).await;
            completed.expect("it is taken");
            let told = lease.message().await.expect("no error");
            let told = told.and_then(|event| event.event);
            assert!(
                matches!(told, Some(LeaseEvent::Notification(_))),
                "{told:?}"
            );
        }
    }
    Opened {
        client,
        lease,
        calls,
        execute: Some(events),
    }
}

#[test]
fn no_cell_runs_on_whatever_it_does_when_its_lease_or_its_connection_ends() {
    let host = Host::start(&["--listen", "grpc://127.0.0.1:0", "--drain", "600"], 1);
    tokio().block_on(async {
        let channel = host.channel().await;
        for doing in EACH {
            let Opened {
                client,
                lease,
                calls,
                execute,
            } = bring_to(doing, channel.clone()).await;
            drop(lease);
            // The rest is held: its streams end with the session.
            let mut calls = calls;
            while calls.message().await.is_ok_and(|call| call.is_some()) {}
            if let Some(mut events) = execute {
                while events.message().await.is_ok_and(|event| event.is_some()) {}
            }
            drop(client);
            drop(bring_to(doing, host.channel().await).await);
        }
    });
    // It waits for cells for ten minutes, and for none that nobody has a lease of.
    host.terminate();
    let (status, stderr) = host.ended();
    assert_eq!(status, Some(0), "{stderr}");
    assert!(!stderr.contains("cells still run"), "{stderr}");
}
