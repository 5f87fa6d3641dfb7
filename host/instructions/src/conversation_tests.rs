// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;

fn frames(frames: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        let payload = frame.to_string();
        bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend(payload.as_bytes());
    }
    bytes
}

fn ok(id: u64) -> Value {
    json!({"type": "operation/response", "id": id, "result": {"status": "ok", "value": {}}})
}

fn result(text: &str) -> Value {
    json!({"type": "execute/initialResponse", "id": 2, "result": {"status": "ok", "value": {"Result":
        {"cell_id": "1", "content_items": [{"type": "input_text", "text": text}], "error_text": null}}}})
}

/// What a host says when one cell calls one tool.
fn one_cell() -> Vec<Value> {
    vec![
        json!({"type": "connection/ready", "selectedVersion": 1, "capabilities": []}),
        ok(1),
        ok(2),
        json!({"type": "delegate/request", "id": 9, "request": {"invocation": {"input": {"a": "b"}}}}),
        result("x"),
        json!({"type": "cell/closed", "sessionId": "s1", "cellId": "1"}),
        ok(3),
    ]
}

async fn converse_with(said: &[u8]) -> (Result<(), Error>, Vec<Value>) {
    let cell = Cell {
        source: "text('x')".to_owned(),
        tools: 2,
    };
    let mut sent = Vec::new();
    let outcome = converse(&[cell], said, &mut sent, async || Ok(())).await;
    let mut heard = Vec::new();
    let mut rest = sent.as_slice();
    while let Some(frame) = read_frame(&mut rest).await.unwrap() {
        heard.push(frame);
    }
    (outcome, heard)
}

#[tokio::test]
async fn a_scenario_opens_runs_answers_and_shuts_down() {
    let (outcome, heard) = converse_with(&frames(&one_cell())).await;
    outcome.unwrap();
    let kinds: Vec<_> = heard
        .iter()
        .map(|frame| {
            let method = frame["request"]["method"].as_str();
            method.or(frame["type"].as_str()).unwrap()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "connection/hello",
            "session/open",
            "session/execute",
            "delegate/response",
            "session/shutdown",
        ]
    );
    let tools = &heard[2]["request"]["request"]["enabled_tools"];
    assert_eq!(tools.as_array().unwrap().len(), 2);
    assert_eq!(heard[3]["id"], 9);
    assert_eq!(heard[3]["result"]["value"]["result"], json!({"a": "b"}));
}

#[tokio::test]
async fn each_message_and_the_end_wait_until_the_host_is_at_rest() {
    let cell = Cell {
        source: String::new(),
        tools: 0,
    };
    let said = frames(&one_cell());
    for rests in 0..=6 {
        let mut sent = Vec::new();
        let left = std::cell::Cell::new(rests);
        // After so many times it never comes to rest again.
        let rest = async || match left.get() {
            0 => Err(io::ErrorKind::TimedOut.into()),
            some => {
                left.set(some - 1);
                Ok(())
            }
        };
        let outcome = converse(std::slice::from_ref(&cell), &said[..], &mut sent, rest).await;
        assert_eq!(outcome.is_ok(), rests == 6, "{rests}: {outcome:?}");
        let mut messages = 0;
        let mut sent = sent.as_slice();
        while read_frame(&mut sent).await.unwrap().is_some() {
            messages += 1;
        }
        assert_eq!(messages, rests.min(5));
    }
}

#[tokio::test]
async fn whatever_the_host_says_otherwise_ends_the_scenario() {
    let failed = json!({"type": "operation/response", "id": 1, "result": {"status": "error", "message": "no"}});
    for (at, instead) in [
        (0, json!({"type": "connection/rejected"})),
        (1, failed),
        (2, ok(7)),
        (4, result("y")),
        (5, ok(3)),
        (6, ok(2)),
    ] {
        let mut said = one_cell();
        said[at] = instead;
        let (outcome, _) = converse_with(&frames(&said)).await;
        assert!(matches!(outcome, Err(Error::Unexpected(_))), "{at}");
    }
}

#[tokio::test]
async fn a_host_that_closes_early_or_says_more_is_an_error() {
    let said = one_cell();
    for said in [&said[..6], &[&said[..], &[ok(4)]].concat()] {
        let (outcome, _) = converse_with(&frames(said)).await;
        assert!(matches!(outcome, Err(Error::Unexpected(_))));
    }
}

#[tokio::test]
async fn a_frame_beyond_the_cap_or_cut_off_or_not_json_is_an_error() {
    let beyond = u32::try_from(MAX_PAYLOAD_BYTES + 1).unwrap().to_le_bytes();
    let (outcome, _) = converse_with(&beyond).await;
    assert!(matches!(outcome, Err(Error::Unexpected(_))));
    for said in [&[9, 0, 0, 0, b'{'][..], &[1, 0, 0, 0, b'{']] {
        let (outcome, _) = converse_with(said).await;
        assert!(matches!(outcome, Err(Error::Stream(_))));
    }
}
