// SPDX-License-Identifier: Apache-2.0
//! Whoever has not opened a session reaches nothing of it, by no call.

use code_mode_grpc::extensions;
use code_mode_grpc::extensions::code_mode_extensions_client::CodeModeExtensionsClient;
use code_mode_grpc::tonic::transport::Channel;
use code_mode_grpc::tonic::{Code, Response, Status};
use code_mode_grpc::v1;
use code_mode_host_grpc::Owner;

use crate::support::{Client, Fixture, Lease};

/// An id as the host makes them, of nothing.
const UNKNOWN: &str = "6f0c9f0e-8a1b-4a52-9a53-5f8e5dd1a9c1";

fn code<T>(result: Result<Response<T>, Status>) -> Code {
    result.err().map_or(Code::Ok, |status| status.code())
}

/// What each call of the contract that names a session says to whoever is on this channel.
async fn calls_of_the_contract(channel: Channel, lease: &Lease) -> Vec<(&'static str, Code)> {
    let session_id = || lease.id.clone();
    let mut client = Client::new(channel);
    let observation = v1::yield_observation_request::Observation::ExecutionId("e".to_owned());
    let yields = v1::YieldObservationRequest {
        session_id: session_id(),
        observation: Some(observation),
    };
    let cancel = v1::CancelWaitRequest {
        session_id: session_id(),
        wait_id: "w".to_owned(),
    };
    let terminate = v1::TerminateRequest {
        session_id: session_id(),
        cell_id: "1".to_owned(),
        max_output_tokens: None,
    };
    let complete = lease.complete(UNKNOWN, "1");
    let acknowledge = v1::AcknowledgeNotificationRequest {
        session_id: session_id(),
        notification_id: UNKNOWN.to_owned(),
    };
    let subscribe = lease.subscribe(&[]);
    let close = v1::CloseSessionRequest {
        session_id: session_id(),
    };
    vec![
        ("Execute", code(client.execute(lease.execute("e")).await)),
        ("Wait", code(client.wait(lease.wait("1", "w")).await)),
        ("Yield", code(client.yield_observation(yields).await)),
        ("CancelWait", code(client.cancel_wait(cancel).await)),
        ("Terminate", code(client.terminate(terminate).await)),
        ("Complete", code(client.complete_tool_call(complete).await)),
        (
            "Acknowledge",
            code(client.acknowledge_notification(acknowledge).await),
        ),
        (
            "Subscribe",
            code(client.subscribe_to_tool_calls(subscribe).await),
        ),
        ("Close", code(client.close_session(close).await)),
    ]
}

/// The same of our own calls.
async fn calls_of_ours(channel: Channel, lease: &Lease) -> Vec<(&'static str, Code)> {
    let session_id = || lease.id.clone();
    let mut client = CodeModeExtensionsClient::new(channel);
    let list = extensions::ListCellsRequest {
        session_id: session_id(),
    };
    let read = extensions::ReadOutputRequest {
        session_id: session_id(),
        cell_id: "1".to_owned(),
        offset: 0,
        max_bytes: 1,
    };
    let export = extensions::ExportStoreRequest {
        session_id: session_id(),
    };
    let import = extensions::ImportStoreRequest {
        session_id: session_id(),
        values: Vec::new(),
    };
    vec![
        ("ListCells", code(client.list_cells(list).await)),
        ("ReadOutput", code(client.read_output(read).await)),
        ("ExportStore", code(client.export_store(export).await)),
        ("ImportStore", code(client.import_store(import).await)),
    ]
}

#[tokio::test]
async fn no_call_of_a_stranger_reaches_a_session() {
    let mut fixture = Fixture::new().await;
    for (ours, strangers) in [
        (Owner::User(1), [Owner::User(2), Owner::Token(1)]),
        (Owner::Token(1), [Owner::Token(2), Owner::User(1)]),
        (
            Owner::of_new_connection(),
            [Owner::of_new_connection(), Owner::Token(1)],
        ),
    ] {
        let mut client = Client::new(fixture.channel_of(ours.clone()).await);
        let (lease, mut session) = fixture.open(&mut client, Default::default()).await;
        for stranger in strangers {
            let channel = fixture.channel_of(stranger.clone()).await;
            let mut told = calls_of_the_contract(channel.clone(), &lease).await;
            told.extend(calls_of_ours(channel, &lease).await);
            for (call, code) in told {
                assert_eq!(code, Code::NotFound, "{call} of {stranger:?}");
            }
        }
        assert!(session.done.try_recv().is_err(), "nothing was asked of it");
        // It is the owner who counts, and not the connection.
        let mut again = Client::new(fixture.channel_of(ours).await);
        let (executed, _) = tokio::join!(again.execute(lease.execute("e")), session.start("1"));
        executed.expect("it is the same one");
    }
}
