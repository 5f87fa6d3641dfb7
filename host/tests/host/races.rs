// SPDX-License-Identifier: Apache-2.0
//! Cancellations and endings that meet what they are about at every point.

use code_mode_host::HostConfig;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Client, PIPE_BYTES, check, execute, frame, run};

#[test]
fn an_execute_that_is_cancelled_in_the_same_write_has_been_answered_and_runs() {
    run(async {
        let mut client = Client::new(HostConfig::default(), PIPE_BYTES);
        client.ready().await;
        let request = json!({
            "type": "operation/request", "id": 1, "request": execute(&[], "text('runs')"),
        });
        let both = [
            frame(&request),
            frame(&json!({"type": "operation/cancel", "id": 1})),
        ]
        .concat();
        client.stream.write_all(&both).await.unwrap();
        assert_eq!(
            client.next().await.unwrap()["result"]["value"]["cellId"],
            "1"
        );
        let first = client.next().await.unwrap();
        assert_eq!(first["type"], "execute/initialResponse");
        assert_eq!(
            first["result"]["value"]["Result"]["content_items"][0]["text"],
            "runs"
        );
        assert_eq!(client.next().await.unwrap()["type"], "cell/closed");
    });
}

#[test]
fn a_cancel_ahead_of_its_request_does_nothing() {
    check(
        HostConfig::default(),
        r#"
        ready
        > {"type":"operation/cancel","id":1}
        > {"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s1"}}
        < {"type":"operation/response","id":1,"result":{"status":"ok","value":{"type":"session/ready","sessionId":"s1"}}}
        "#,
    );
}

#[test]
fn a_cancelled_wait_can_be_followed_by_another_until_the_cell_ends() {
    let mut steps = String::from(
        r#"
        ready
        open s1
        execute 1 s1 tools=go yield_control(); text(await tools.go())
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Yielded":{"cell_id":"1","content_items":[]}}}}
        < {"type":"delegate/request","id":"$bind:go","sessionId":"s1","request":"$any"}
        "#,
    );
    for id in 2..50 {
        steps.push_str(&format!(
            r#"
            > {{"type":"operation/request","id":{id},"request":{{"method":"session/wait","sessionId":"s1","request":{{"cell_id":"1","yield_time_ms":60000}}}}}}
            > {{"type":"operation/cancel","id":{id}}}
            > {{"type":"operation/cancel","id":{id}}}
            < {{"type":"operation/response","id":{id},"result":{{"status":"error","message":"the operation was cancelled"}}}}
            "#
        ));
    }
    steps.push_str(
        r#"
        > {"type":"delegate/response","id":"$go","result":{"status":"ok","value":{"type":"tool/result","result":"end"}}}
        > {"type":"operation/request","id":99,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":60000}}}
        < {"type":"operation/response","id":99,"result":{"status":"ok","value":{"type":"wait/completed","outcome":{"LiveCell":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"end"}],"error_text":null}}}}}}
        closed s1 1
        "#,
    );
    check(HostConfig::default(), &steps);
}

#[test]
fn two_terminates_of_one_cell_both_get_terminated() {
    check(
        HostConfig::default(),
        r#"
        ready
        open s1
        execute 1 s1 for (;;) {}
        started 1 1
        > {"type":"operation/request","id":2,"request":{"method":"session/terminate","sessionId":"s1","cellId":"1"}}
        > {"type":"operation/request","id":3,"request":{"method":"session/terminate","sessionId":"s1","cellId":"1"}}
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Terminated":{"cell_id":"1","content_items":[]}}}}
        <& {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"wait/completed","outcome":{"LiveCell":{"Terminated":{"cell_id":"1","content_items":[]}}}}}}
        <& {"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"wait/completed","outcome":{"LiveCell":{"Terminated":{"cell_id":"1","content_items":[]}}}}}}
        closed s1 1
        "#,
    );
}

#[test]
fn a_session_that_is_being_shut_down_is_gone_for_later_requests() {
    check(
        HostConfig::default(),
        r#"
        ready
        open s1
        execute 1 s1 for (;;) {}
        started 1 1
        > {"type":"operation/request","id":2,"request":{"method":"session/shutdown","sessionId":"s1"}}
        > {"type":"operation/request","id":3,"request":{"method":"session/shutdown","sessionId":"s1"}}
        < {"type":"operation/response","id":3,"result":{"status":"error","message":"unknown code-mode session s1"}}
        <& {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Terminated":{"cell_id":"1","content_items":[]}}}}
        <& {"type":"cell/closed","sessionId":"s1","cellId":"1"}
        <& {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"session/closed","sessionId":"s1"}}}
        "#,
    );
}

#[test]
fn the_end_of_input_during_a_shutdown_is_clean() {
    check(
        HostConfig::default(),
        r#"
        ready
        open s1
        open s2
        execute 1 s1 for (;;) {}
        started 1 1
        execute 2 s2 await new Promise(() => {})
        started 2 1
        > {"type":"operation/request","id":3,"request":{"method":"session/shutdown","sessionId":"s1"}}
        close
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Terminated":{"cell_id":"1","content_items":[]}}}}
        <& {"type":"cell/closed","sessionId":"s1","cellId":"1"}
        <& {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Terminated":{"cell_id":"1","content_items":[]}}}}
        <& {"type":"cell/closed","sessionId":"s2","cellId":"1"}
        <& {"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"session/closed","sessionId":"s1"}}}
        end clean
        "#,
    );
}
