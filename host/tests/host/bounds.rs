// SPDX-License-Identifier: Apache-2.0
//! Every bound, reached.

use std::time::{Duration, Instant};

use code_mode_host::{
    ConnectionLimits, HostConfig, MAX_SESSION_ID_BYTES, MAX_TOOL_CALL_ID_BYTES, ServeError,
};
use code_mode_runtime::RuntimeConfig;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Client, PIPE_BYTES, check, execute, frame, run, within};

fn limits(set: impl FnOnce(&mut ConnectionLimits)) -> HostConfig {
    let mut config = HostConfig::default();
    set(&mut config.limits);
    config
}

fn runtime(set: impl FnOnce(&mut RuntimeConfig)) -> HostConfig {
    let mut config = HostConfig::default();
    set(&mut config.runtime);
    config
}

#[test]
fn a_request_past_those_in_flight_is_refused_and_names_the_bound() {
    check(
        limits(|limits| limits.requests_in_flight = 2),
        r#"
        ready
        open s1
        execute 1 s1 await new Promise(() => {})
        started 1 1
        execute 2 s1 await new Promise(() => {})
        started 2 2
        execute 3 s1 text(3)
        < {"type":"operation/response","id":3,"result":{"status":"error","message":"$contains:the limit of 2 requests in flight is reached"}}
        # A refused request counts as answered.
        > {"type":"operation/request","id":3,"request":{"method":"session/open","sessionId":"s2"}}
        end failed
        "#,
    );
}

#[test]
fn one_session_cannot_take_the_places_of_all_requests() {
    check(
        limits(|limits| limits.requests_in_flight = 8),
        r#"
        ready
        open s1
        open s2
        execute 1 s1 await new Promise(() => {})
        started 1 1
        execute 2 s1 await new Promise(() => {})
        started 2 2
        execute 3 s1 await new Promise(() => {})
        started 3 3
        execute 4 s1 await new Promise(() => {})
        started 4 4
        execute 5 s1 await new Promise(() => {})
        started 5 5
        execute 6 s1 await new Promise(() => {})
        started 6 6
        execute 7 s1 await new Promise(() => {})
        started 7 7
        execute 8 s1 text(8)
        < {"type":"operation/response","id":8,"result":{"status":"error","message":"$contains:the limit of 8 requests in flight is reached"}}
        execute 9 s2 text(9)
        started 9 1
        < {"type":"execute/initialResponse","id":9,"result":{"status":"ok","value":"$any"}}
        closed s2 1
        "#,
    );
}

#[test]
fn the_place_of_an_answered_request_is_free_again() {
    check(
        limits(|limits| limits.requests_in_flight = 1),
        r#"
        ready
        open s1
        execute 1 s1 text(1)
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":"$any"}}
        closed s1 1
        execute 2 s1 text(2)
        started 2 2
        < {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":"$any"}}
        closed s1 2
        "#,
    );
}

#[test]
fn a_session_past_those_open_is_refused_and_a_closed_one_makes_room() {
    check(
        runtime(|runtime| runtime.max_sessions = 1),
        r#"
        ready
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s2"}}
        < {"type":"operation/response","id":1,"result":{"status":"error","message":"$contains:the limit of 1 sessions is reached"}}
        > {"type":"operation/request","id":2,"request":{"method":"session/shutdown","sessionId":"s1"}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"session/closed","sessionId":"s1"}}}
        # An id that was refused was not used.
        > {"type":"operation/request","id":3,"request":{"method":"session/open","sessionId":"s2"}}
        < {"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"session/ready","sessionId":"s2"}}}
        "#,
    );
}

#[test]
fn a_cell_past_those_active_is_refused_and_the_holders_are_named() {
    check(
        runtime(|runtime| runtime.max_active_cells = 2),
        r#"
        ready
        open s1
        open other
        execute 1 s1 await new Promise(() => {})
        started 1 1
        execute 2 s1 await new Promise(() => {})
        started 2 2
        execute 3 s1 text(3)
        < {"type":"operation/response","id":3,"result":{"status":"error","message":"$contains:the limit of 2 active cells is reached: held by session s1: 1, 2;"}}
        # The cells of another session are nobody's business.
        execute 4 other text(4)
        < {"type":"operation/response","id":4,"result":{"status":"error","message":"$contains:the limit of 2 active cells is reached: held by other sessions;"}}
        "#,
    );
}

#[test]
fn a_cell_that_has_finished_unread_holds_no_slot() {
    run(async {
        let mut client = Client::new(runtime(|runtime| runtime.max_active_cells = 1), PIPE_BYTES);
        client.ready().await;
        client
            .execute(
                1,
                &["go"],
                "yield_control(); await tools.go(); text('kept')",
            )
            .await;
        assert_eq!(
            client.next().await.unwrap()["result"]["value"]["cellId"],
            "1"
        );
        assert!(client.next().await.unwrap()["result"]["value"]["Yielded"].is_object());
        let call = client.next().await.unwrap();
        let result = json!({"type": "tool/result", "result": null});
        let answer = json!({"status": "ok", "value": result});
        let answer = json!({"type": "delegate/response", "id": call["id"], "result": answer});
        client.send(&answer).await;
        // The slot is free as soon as the script has ended, which no frame says.
        let mut id = 2;
        loop {
            client.execute(id, &[], "text('next')").await;
            if client.next().await.unwrap()["result"]["status"] == "ok" {
                break;
            }
            id += 1;
        }
        let next = client.next().await.unwrap();
        assert_eq!(next["result"]["value"]["Result"]["cell_id"], "2");
        assert_eq!(client.next().await.unwrap()["type"], "cell/closed");
        let wait = json!({
            "method": "session/wait", "sessionId": "s1",
            "request": {"cell_id": "1", "yield_time_ms": 60_000},
        });
        client.request(id + 1, wait).await;
        let kept = client.next().await.unwrap();
        let kept = &kept["result"]["value"]["outcome"]["LiveCell"]["Result"];
        assert_eq!(kept["content_items"][0]["text"], "kept");
    });
}

#[test]
fn results_that_nobody_reads_are_bounded() {
    check(
        runtime(|runtime| runtime.max_stored_results = 1),
        r#"
        ready
        open s1
        execute 1 s1 yield_control(); await new Promise(() => {})
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Yielded":"$any"}}}
        execute 2 s1 text(2)
        < {"type":"operation/response","id":2,"result":{"status":"error","message":"$contains:the limit of 1 results that nobody has read is reached"}}
        "#,
    );
}

#[test]
fn a_source_that_is_too_long_is_refused() {
    check(
        runtime(|runtime| runtime.max_source_bytes = 10),
        r#"
        ready
        open s1
        execute 1 s1 text('far too long')
        < {"type":"operation/response","id":1,"result":{"status":"error","message":"$contains:the limit of 10 source bytes is reached"}}
        execute 2 s1 text('ok')
        started 2 1
        < {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":"$any"}}
        closed s1 1
        "#,
    );
}

#[test]
fn too_many_tools_and_too_large_tools_are_refused() {
    let config = runtime(|runtime| {
        runtime.max_tools = 1;
        runtime.max_tool_bytes = 20;
    });
    check(
        config,
        r#"
        ready
        open s1
        execute 1 s1 tools=a,b text(1)
        < {"type":"operation/response","id":1,"result":{"status":"error","message":"$contains:the limit of 1 tools is reached"}}
        execute 2 s1 tools=this-one-has-a-long-name text(1)
        < {"type":"operation/response","id":2,"result":{"status":"error","message":"$contains:the limit of 20 bytes of tool definitions is reached"}}
        "#,
    );
}

#[test]
fn ids_that_are_repeated_in_many_frames_are_short() {
    let long = MAX_SESSION_ID_BYTES + 1;
    let fits = MAX_SESSION_ID_BYTES;
    let call = "c".repeat(MAX_TOOL_CALL_ID_BYTES + 1);
    check(
        HostConfig::default(),
        &format!(
            r#"
            ready
            > {{"type":"operation/request","id":1,"request":{{"method":"session/open","sessionId":"$repeat:{long}:x"}}}}
            < {{"type":"operation/response","id":1,"result":{{"status":"error","message":"$contains:the limit of 1024 bytes of sessionId"}}}}
            > {{"type":"operation/request","id":2,"request":{{"method":"session/open","sessionId":"$repeat:{fits}:x"}}}}
            < {{"type":"operation/response","id":2,"result":{{"status":"ok","value":"$any"}}}}
            open s1
            execute 3 s1 call={call} text(1)
            < {{"type":"operation/response","id":3,"result":{{"status":"error","message":"$contains:the limit of 4096 bytes of tool_call_id"}}}}
            "#
        ),
    );
}

#[test]
fn a_tool_call_past_those_open_on_the_connection_is_rejected_in_the_script() {
    check(
        limits(|limits| limits.delegate_calls = 1),
        r#"
        ready
        open s1
        execute 1 s1 tools=t const first = tools.t(1); try { await tools.t(2) } catch (e) { text(e.message) } yield_control(); await first
        started 1 1
        < {"type":"delegate/request","id":"$bind:first","sessionId":"s1","request":"$any"}
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Yielded":{"cell_id":"1","content_items":[{"type":"input_text","text":"$contains:the limit of 1 open delegate calls"}]}}}}
        > {"type":"delegate/response","id":"$first","result":{"status":"ok","value":{"type":"tool/result","result":1}}}
        > {"type":"operation/request","id":2,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":60000}}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"wait/completed","outcome":{"LiveCell":{"Result":{"cell_id":"1","content_items":[],"error_text":null}}}}}}
        closed s1 1
        "#,
    );
}

#[test]
fn a_cell_with_too_many_calls_open_ends_with_an_error_that_names_the_bound() {
    check(
        runtime(|runtime| runtime.cell_limits.open_tool_calls = Some(1)),
        r#"
        ready
        open s1
        execute 1 s1 tools=t await Promise.all([tools.t(1), tools.t(2)])
        started 1 1
        < {"type":"delegate/request","id":"$bind:first","sessionId":"s1","request":"$any"}
        < {"type":"delegate/cancel","id":"$first"}
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[],"error_text":"$contains:open tool calls"}}}}
        closed s1 1
        "#,
    );
}

#[test]
fn a_request_id_that_was_forgotten_can_be_used_again() {
    check(
        limits(|limits| limits.remembered_requests = 1),
        r#"
        ready
        > {"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"a"}}
        < {"type":"operation/response","id":1,"result":{"status":"ok","value":"$any"}}
        > {"type":"operation/request","id":2,"request":{"method":"session/open","sessionId":"b"}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":"$any"}}
        > {"type":"operation/cancel","id":1}
        > {"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"c"}}
        < {"type":"operation/response","id":1,"result":{"status":"ok","value":"$any"}}
        "#,
    );
}

#[test]
fn a_session_id_that_was_forgotten_can_be_used_again() {
    check(
        limits(|limits| limits.remembered_sessions = 1),
        r#"
        ready
        open a
        open b
        > {"type":"operation/request","id":1,"request":{"method":"session/shutdown","sessionId":"a"}}
        < {"type":"operation/response","id":1,"result":{"status":"ok","value":"$any"}}
        > {"type":"operation/request","id":2,"request":{"method":"session/shutdown","sessionId":"b"}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":"$any"}}
        open a
        > {"type":"operation/request","id":3,"request":{"method":"session/open","sessionId":"b"}}
        end failed
        "#,
    );
}

#[test]
fn a_late_answer_to_a_call_that_was_forgotten_is_ignored() {
    check(
        limits(|limits| limits.remembered_calls = 1),
        r#"
        ready
        open s1
        execute 1 s1 tools=t tools.t(1); tools.t(2); tools.t(3)
        started 1 1
        < {"type":"delegate/request","id":"$bind:one","sessionId":"s1","request":"$any"}
        < {"type":"delegate/request","id":"$bind:two","sessionId":"s1","request":"$any"}
        < {"type":"delegate/request","id":"$bind:three","sessionId":"s1","request":"$any"}
        < {"type":"delegate/cancel","id":"$any"}
        < {"type":"delegate/cancel","id":"$any"}
        < {"type":"delegate/cancel","id":"$any"}
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":"$any"}}
        closed s1 1
        > {"type":"delegate/response","id":"$one","result":{"status":"ok","value":{"type":"tool/result","result":1}}}
        > {"type":"delegate/response","id":"$two","result":{"status":"ok","value":{"type":"tool/result","result":1}}}
        > {"type":"delegate/response","id":"$three","result":{"status":"ok","value":{"type":"tool/result","result":1}}}
        > {"type":"operation/request","id":2,"request":{"method":"session/shutdown","sessionId":"s1"}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":"$any"}}
        "#,
    );
}

#[test]
fn a_result_over_the_frame_cap_is_answered_with_an_error_that_gives_its_size() {
    // Each of these characters takes six bytes as JSON.
    let characters = 11 << 20;
    let bytes = 6 * characters + json_around_the_text();
    check(
        HostConfig::default(),
        &format!(
            r#"
            ready
            open s1
            execute 1 s1 yield=100000 text('\u0001'.repeat({characters}))
            started 1 1
            < {{"type":"execute/initialResponse","id":1,"result":{{"status":"error","message":"$contains:the result takes {bytes} bytes as a frame, which holds at most 67108864"}}}}
            closed s1 1
            > {{"type":"operation/request","id":2,"request":{{"method":"session/wait","sessionId":"s1","request":{{"cell_id":"1","yield_time_ms":0}}}}}}
            < {{"type":"operation/response","id":2,"result":{{"status":"ok","value":{{"type":"wait/completed","outcome":{{"MissingCell":"$any"}}}}}}}}
            "#
        ),
    );
}

fn json_around_the_text() -> usize {
    json!({
        "type": "execute/initialResponse", "id": 1,
        "result": {"status": "ok", "value": {"Result": {
            "cell_id": "1", "content_items": [{"type": "input_text", "text": ""}], "error_text": null,
        }}},
    })
    .to_string()
    .len()
}

#[test]
fn a_tool_input_over_the_frame_cap_rejects_that_call_in_the_script() {
    let config = runtime(|runtime| {
        runtime.max_value_bytes = 1 << 30;
        runtime.cell_limits.heap_bytes = Some(512 << 20);
    });
    check(
        config,
        r#"
        ready
        open s1
        execute 1 s1 tools=t yield=100000 try { await tools.t('x'.repeat(65 << 20)) } catch (e) { text(e.message) }
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"$contains:a frame holds at most 67108864"}],"error_text":null}}}}
        closed s1 1
        "#,
    );
}

/// A host whose outgoing queue is full after two frames, behind streams that hold next to nothing.
fn narrow(set: impl FnOnce(&mut ConnectionLimits)) -> (HostConfig, usize) {
    let config = limits(|limits| {
        limits.outgoing_frames = 2;
        set(limits);
    });
    (config, 128)
}

#[test]
fn a_client_that_reads_late_gets_everything_in_order() {
    const CALLS: i64 = 100;
    run(async {
        let (config, stream_bytes) = narrow(|_| {});
        let mut client = Client::new(config, stream_bytes);
        client.ready().await;
        client
            .execute(
                1,
                &["t"],
                "for (let i = 0; i < 100; i++) tools.t(i); text('end')",
            )
            .await;
        assert_eq!(
            client.next().await.unwrap()["result"]["value"]["cellId"],
            "1"
        );
        for input in 0..CALLS {
            let call = client.next().await.unwrap();
            assert_eq!(call["request"]["invocation"]["input"], input);
        }
        for _ in 0..CALLS {
            assert_eq!(client.next().await.unwrap()["type"], "delegate/cancel");
        }
        assert_eq!(
            client.next().await.unwrap()["type"],
            "execute/initialResponse"
        );
        assert_eq!(client.next().await.unwrap()["type"], "cell/closed");
    });
}

#[test]
fn a_client_that_stops_reading_fails_the_connection_after_a_bounded_wait() {
    let deadline = Duration::from_millis(300);
    run(async {
        let (config, stream_bytes) = narrow(|limits| limits.stall_deadline = deadline);
        let mut client = Client::new(config, stream_bytes);
        client.ready().await;
        let start = Instant::now();
        client
            .execute(1, &["t"], "for (let i = 0; i < 100; i++) tools.t(i)")
            .await;
        // Nothing is read from here on.
        let error = (&mut client.served).await.unwrap().unwrap_err();
        assert!(matches!(error, ServeError::Stalled { .. }), "{error}");
        assert!(start.elapsed() >= deadline);
    });
}

#[test]
fn a_client_that_asks_on_and_reads_nothing_fails_the_connection_at_once() {
    run(async {
        let (config, stream_bytes) = narrow(|limits| limits.outgoing_frames_hard = 20);
        let mut client = Client::new(config, stream_bytes);
        client.ready().await;
        // Every request of an unknown session is answered with an error, none of which is read.
        let mut id = 1;
        loop {
            let request = json!({"method": "session/shutdown", "sessionId": "nobody"});
            let message = json!({"type": "operation/request", "id": id, "request": request});
            // The write fails once the host has ended.
            if client.stream.write_all(&frame(&message)).await.is_err() {
                break;
            }
            id += 1;
        }
        let error = client.end().await.unwrap_err();
        assert!(
            matches!(error, ServeError::OutgoingOverflow { frames: 21, .. }),
            "{error}"
        );
    });
}

#[test]
fn a_client_is_heard_while_its_output_waits() {
    run(async {
        let (config, stream_bytes) = narrow(|_| {});
        let mut client = Client::new(config, stream_bytes);
        client.ready().await;
        client
            .execute(1, &["t"], "for (let i = 0; ; i++) await tools.t(i)")
            .await;
        assert_eq!(
            client.next().await.unwrap()["result"]["value"]["cellId"],
            "1"
        );
        // From here on nothing is read, and the queue is full of refusals.
        for id in 10..20 {
            let request = json!({"method": "session/shutdown", "sessionId": "nobody"});
            client.request(id, request).await;
        }
        // Many times what the streams hold is taken from the client.
        for _ in 0..100 {
            let message = json!({"type": "operation/cancel", "id": 77});
            within(client.send(&message)).await;
        }
        let request = json!({"method": "session/terminate", "sessionId": "s1", "cellId": "1"});
        within(client.request(2, request)).await;
        let mut kinds = Vec::new();
        while kinds.last() != Some(&json!("cell/closed")) {
            let message = within(client.next()).await.unwrap();
            if message["id"] != json!(2) || message["type"] != "operation/response" {
                kinds.push(message["type"].clone());
            }
        }
        assert!(
            kinds.contains(&json!("execute/initialResponse")),
            "{kinds:?}"
        );
    });
}

#[test]
fn a_client_that_lets_too_many_bytes_wait_fails_the_connection_at_once() {
    run(async {
        let config = limits(|limits| {
            limits.outgoing_bytes = 100_000;
            limits.outgoing_bytes_hard = 200_000;
        });
        let mut client = Client::new(config, 128);
        client.ready().await;
        client.execute(1, &[], "text('x'.repeat(300_000))").await;
        let error = (&mut client.served).await.unwrap().unwrap_err();
        assert!(
            matches!(error, ServeError::OutgoingOverflow { .. }),
            "{error}"
        );
    });
}

#[test]
fn a_client_that_closes_without_reading_does_not_hold_up_the_end() {
    run(async {
        let config = limits(|limits| limits.close_deadline = Duration::from_millis(300));
        let mut client = Client::new(config, 128);
        client.ready().await;
        client.execute(1, &[], "text('x'.repeat(300_000))").await;
        client.stream.shutdown().await.unwrap();
        (&mut client.served).await.unwrap().unwrap();
    });
}

#[test]
fn frames_of_the_longest_kind_are_taken() {
    run(async {
        let mut client = Client::new(HostConfig::default(), PIPE_BYTES);
        client.ready().await;
        // The source is over its bound, but the frame is within the cap.
        let mut request = execute(&[], "");
        request["request"]["source"] = json!(" ".repeat(60 << 20));
        client.request(1, request).await;
        let answer = client.next().await.unwrap();
        let message = answer["result"]["message"].as_str().unwrap();
        assert!(message.contains("source bytes"), "{message}");
    });
}
