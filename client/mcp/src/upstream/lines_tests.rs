// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;
use rmcp::model::NumberOrString;
use tokio::io::AsyncReadExt;

use super::*;

fn transport(input: &'static [u8]) -> LineTransport<&'static [u8]> {
    LineTransport::new(input, tokio::io::sink(), Ending::default())
}

fn leaked(text: String) -> &'static [u8] {
    text.into_bytes().leak()
}

#[tokio::test]
async fn messages_are_read_and_nonsense_is_passed_over() {
    let mut transport = transport(
        b"\n  \nnonsense\n[1]\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\r\n{\"jsonrpc\":\"2.0\",\"id\":2,\
          \"error\":{\"code\":-1,\"message\":\"no\"}}\n{\"half",
    );
    let first = transport.receive().await.unwrap();
    assert!(matches!(first, JsonRpcMessage::Response(_)));
    let second = transport.receive().await.unwrap();
    assert!(matches!(second, JsonRpcMessage::Error(_)));
    assert!(transport.receive().await.is_none());
    let why = transport.ending.get().unwrap();
    assert_eq!(why, "the server closed its output");
}

#[tokio::test]
async fn an_answer_that_is_too_long_fails_its_call_and_no_other() {
    let long = "x".repeat(MAX_MESSAGE_BYTES);
    let mut transport = transport(leaked(format!(
        "{{\"result\":\"{long}\",\"id\":5,\"jsonrpc\":\"2.0\"}}\n{{\"jsonrpc\":\"2.0\",\"id\":6,\"result\":{{}}}}\n"
    )));
    let Some(JsonRpcMessage::Error(error)) = transport.receive().await else {
        panic!("an error");
    };
    assert_eq!(error.id, Some(NumberOrString::Number(5)));
    assert!(error.error.message.contains("larger than"), "{error:?}");
    let next = transport.receive().await.unwrap();
    assert!(matches!(next, JsonRpcMessage::Response(_)));
}

#[tokio::test]
async fn a_server_that_floods_is_cut_off() {
    let notification = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
    for line in [notification, "nonsense\n"] {
        let mut transport = transport(leaked(line.repeat(MAX_UNASKED_MESSAGES + 1)));
        let mut received = 0;
        while transport.receive().await.is_some() {
            received += 1;
        }
        assert!(received <= MAX_UNASKED_MESSAGES);
        let why = transport.ending.get().unwrap();
        assert!(why.contains("was cut off"), "{why}");
    }
}

#[tokio::test]
async fn closing_ends_the_input_of_the_server() {
    let (ours, mut servers) = tokio::io::duplex(64);
    let mut transport = LineTransport::new(tokio::io::empty(), ours, Ending::default());
    let message =
        serde_json::from_str("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}").unwrap();
    let (sent, _) = tokio::join!(transport.send(message), async {
        let mut first = [0; 8];
        servers.read_exact(&mut first).await.unwrap();
    });
    sent.unwrap();
    transport.close().await.unwrap();
    let mut rest = Vec::new();
    servers.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.last(), Some(&b'\n'));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_messages_in_so_long_a_time_are_a_flood() {
    let mut transport = transport(b"");
    for _ in 0..2 {
        for _ in 0..MAX_UNASKED_MESSAGES {
            assert!(transport.count_unasked());
        }
        tokio::time::advance(FLOOD_WINDOW + Duration::from_millis(1)).await;
    }
    assert!(transport.unasked.len() <= MAX_UNASKED_MESSAGES + 1);
}

#[tokio::test]
async fn messages_to_a_server_that_does_not_read_wait_for_room() {
    let (ours, _servers) = tokio::io::duplex(1);
    let mut transport = LineTransport::new(tokio::io::empty(), ours, Ending::default());
    let message =
        || serde_json::from_str("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}").unwrap();
    let mut sent = Vec::new();
    // One is being written, and one more finds no room.
    for _ in 0..MAX_QUEUED_MESSAGES + 2 {
        let mut send = Box::pin(transport.send(message()));
        tokio::select! {
            biased;
            _ = &mut send => panic!("nobody has read it"),
            () = tokio::task::yield_now() => {}
        }
        sent.push(send);
    }
    assert_eq!(transport.writer.as_ref().unwrap().capacity(), 0);
}
