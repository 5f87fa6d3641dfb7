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

#[track_caller]
fn check_id(text: &str, expected: Option<NumberOrString>) {
    // A line comes in parts of any length.
    for length in [1, 2, 3, 7, text.len()] {
        let mut scanner = IdScanner::default();
        for part in text.as_bytes().chunks(length) {
            scanner.add(part);
        }
        assert_eq!(scanner.id(), expected, "{text} by {length}");
    }
}

#[test]
fn the_id_of_an_answer_is_found_wherever_it_stands() {
    let seven = Some(NumberOrString::Number(7));
    check_id(
        r#"{"jsonrpc":"2.0","id":7,"result":{"id":8}}"#,
        seven.clone(),
    );
    check_id(
        r#"{"result":{"id":8,"x":[{"id":9}]},"jsonrpc":"2.0", "id" : 7 }"#,
        seven.clone(),
    );
    check_id(r#"{"result":"\"id\":8, } {","id":7}"#, seven);
    check_id(
        r#"{"result":["\\\\","\\\"}",{"id":8}],"id":7}"#,
        Some(NumberOrString::Number(7)),
    );
    let text = Some(NumberOrString::String("a\"b".into()));
    check_id(r#"{"id":"a\"b","result":1}"#, text);
    check_id(r#"{"result":{"id":8}}"#, None);
    check_id(r#"{"key":"id","result":3}"#, None);
    check_id(&format!(r#"{{"id":"{}"}}"#, "x".repeat(100)), None);
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
