//! What both sides must have listed, and what a start-up flag adds.

use code_mode_host::HostConfig;
use serde_json::Value;

use crate::support::{Client, PIPE_BYTES, check, run};

#[test]
fn an_extension_that_was_not_agreed_is_a_violation() {
    for request in [
        r#"{"method":"session/exportStore","sessionId":"s1"}"#,
        r#"{"method":"session/importStore","sessionId":"s1","values":{}}"#,
        r#"{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"","yield_time_ms":null,"max_output_tokens":null,"limits":{}}}"#,
    ] {
        check(
            HostConfig::default(),
            &format!(
                r#"
                ready
                open s1
                > {{"type":"operation/request","id":1,"request":{request}}}
                end failed
                "#
            ),
        );
    }
}

#[test]
fn a_required_capability_of_ours_is_granted() {
    check(
        HostConfig::default(),
        r#"
        > {"type":"connection/hello","supportedVersions":[1],"requiredCapabilities":["code_mode/store-v1"],"optionalCapabilities":["code_mode/limits-v1","code_mode/errors-v1","x"]}
        < {"type":"connection/ready","selectedVersion":1,"capabilities":["code_mode/store-v1","code_mode/limits-v1","code_mode/errors-v1"]}
        "#,
    );
}

#[test]
fn limits_of_a_request_bound_its_cell() {
    check(
        HostConfig::default(),
        r#"
        ready code_mode/limits-v1
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"text(1); text(2)","yield_time_ms":null,"max_output_tokens":null,"limits":{"output_items":1}}}}
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"1"}],"error_text":"$contains:1 output items"}}}}
        closed s1 1
        > {"type":"operation/request","id":2,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"for (;;) {}","yield_time_ms":null,"max_output_tokens":null,"limits":{"cpu_time_ms":50}}}}
        started 2 2
        < {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Result":{"cell_id":"2","content_items":[],"error_text":"$contains:50 CPU time in ms"}}}}
        closed s1 2
        "#,
    );
}

#[test]
fn stored_values_are_exported_and_imported() {
    check(
        HostConfig::default(),
        r#"
        ready code_mode/store-v1
        open s1
        execute 1 s1 store('a', {n: [1, null]}); store('b', 'text')
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":"$any"}}
        closed s1 1
        > {"type":"operation/request","id":2,"request":{"method":"session/exportStore","sessionId":"s1"}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"store/exported","values":{"a":{"n":[1,null]},"b":"text"}}}}
        open s2
        > {"type":"operation/request","id":3,"request":{"method":"session/importStore","sessionId":"s2","values":{"a":{"n":[1,null]}}}}
        < {"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"store/imported"}}}
        execute 4 s2 text(load('a'))
        started 4 1
        < {"type":"execute/initialResponse","id":4,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"{\"n\":[1,null]}"}],"error_text":null}}}}
        closed s2 1
        > {"type":"operation/request","id":5,"request":{"method":"session/exportStore","sessionId":"nobody"}}
        < {"type":"operation/response","id":5,"result":{"status":"error","message":"unknown code-mode session nobody"}}
        "#,
    );
}

#[test]
fn an_import_over_its_bound_stores_nothing() {
    let mut config = HostConfig::default();
    config.runtime.max_stored_value_bytes = 10;
    check(
        config,
        r#"
        ready code_mode/store-v1 code_mode/errors-v1
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/importStore","sessionId":"s1","values":{"a":1,"b":"far too long"}}}
        < {"type":"operation/response","id":1,"result":{"status":"error","message":"$contains:10 bytes of one stored value","code":"limit/stored-value-bytes","side_effects":"none"}}
        > {"type":"operation/request","id":2,"request":{"method":"session/exportStore","sessionId":"s1"}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"store/exported","values":{}}}}
        "#,
    );
}

#[test]
fn errors_carry_a_code_and_whether_the_script_may_have_acted() {
    let mut config = HostConfig::default();
    config.runtime.max_active_cells = 1;
    config.limits.requests_in_flight = 3;
    check(
        config,
        r#"
        ready code_mode/errors-v1
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/shutdown","sessionId":"nobody"}}
        < {"type":"operation/response","id":1,"result":{"status":"error","message":"unknown code-mode session nobody","code":"unknown-session","side_effects":"none"}}
        execute 2 s1 tools=a-b,a_b text(1)
        < {"type":"operation/response","id":2,"result":{"status":"error","message":"$text","code":"invalid-request","side_effects":"none"}}
        execute 3 s1 yield_control(); await new Promise(() => {})
        started 3 1
        < {"type":"execute/initialResponse","id":3,"result":{"status":"ok","value":{"Yielded":"$any"}}}
        execute 4 s1 text(1)
        < {"type":"operation/response","id":4,"result":{"status":"error","message":"$text","code":"limit/active-cells","side_effects":"none"}}
        > {"type":"operation/request","id":5,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":60000}}}
        > {"type":"operation/request","id":6,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":60000}}}
        < {"type":"operation/response","id":6,"result":{"status":"error","message":"$text","code":"busy-observer","side_effects":"possible"}}
        > {"type":"operation/cancel","id":5}
        < {"type":"operation/response","id":5,"result":{"status":"error","message":"$text","code":"cancelled","side_effects":"possible"}}
        "#,
    );
}

/// The first response of a cell that ends at once, as it is on the wire.
fn first_response(timings: bool) -> Value {
    run(async {
        let mut client = Client::new(
            HostConfig {
                timings,
                ..HostConfig::default()
            },
            PIPE_BYTES,
        );
        client.ready().await;
        client.execute(1, &[], "text(1)").await;
        client.next().await.unwrap();
        client.next().await.unwrap()["result"]["value"]["Result"].take()
    })
}

#[test]
fn timings_are_sent_only_when_the_operator_says_so() {
    let plain = first_response(false);
    let members: Vec<&String> = plain.as_object().unwrap().keys().collect();
    assert_eq!(members, ["cell_id", "content_items", "error_text"]);
    let timed = first_response(true);
    assert!(
        timed["code_mode_host_duration_ns"]
            .as_u64()
            .is_some_and(|ns| ns > 0),
        "{timed}"
    );
    assert!(timed["result_buffered_for_ns"].is_u64(), "{timed}");
}
