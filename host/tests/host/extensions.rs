// SPDX-License-Identifier: Apache-2.0
//! What both sides must have listed, and what a start-up flag adds.

use code_mode_host::{HostConfig, PROMISED_DELEGATE_CALLS, V1Timings};
use serde_json::Value;

use crate::support::{Client, PIPE_BYTES, check, run};

#[test]
fn an_extension_that_was_not_agreed_is_a_violation() {
    for request in [
        r#"{"method":"session/listCells","sessionId":"s1"}"#,
        r#"{"method":"session/exportStore","sessionId":"s1"}"#,
        r#"{"method":"session/importStore","sessionId":"s1","values":{}}"#,
        r#"{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"","yield_time_ms":null,"max_output_tokens":null,"limits":{}}}"#,
        r#"{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"","yield_time_ms":null,"max_output_tokens":null,"globals":"web"}}"#,
        r#"{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"","yield_time_ms":null,"max_output_tokens":null,"exact_integers":true}}"#,
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
fn an_exec_that_asks_for_the_webs_globals_has_them() {
    check(
        HostConfig::default(),
        r#"
        ready code_mode/globals-v1
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"text(new URL('a:b').href)","yield_time_ms":null,"max_output_tokens":null,"globals":"web"}}}
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"a:b"}],"error_text":null}}}}
        closed s1 1
        execute 2 s1 text(typeof URL)
        started 2 2
        < {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Result":{"cell_id":"2","content_items":[{"type":"input_text","text":"undefined"}],"error_text":null}}}}
        closed s1 2
        "#,
    );
}

#[test]
fn an_exec_that_asks_for_exact_integers_has_them() {
    check(
        HostConfig::default(),
        r#"
        ready code_mode/exact-integers-v1
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"store('id', 12345678901234567890n); text(typeof load('id'))","yield_time_ms":null,"max_output_tokens":null,"exact_integers":true}}}
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"bigint"}],"error_text":null}}}}
        closed s1 1
        execute 2 s1 text(typeof load('id'))
        started 2 2
        < {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Result":{"cell_id":"2","content_items":[{"type":"input_text","text":"number"}],"error_text":null}}}}
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
fn cells_that_run_or_keep_a_result_are_listed() {
    check(
        HostConfig::default(),
        r#"
        ready code_mode/cells-v1
        open s1
        > {"type":"operation/request","id":1,"request":{"method":"session/listCells","sessionId":"s1"}}
        < {"type":"operation/response","id":1,"result":{"status":"ok","value":{"type":"cells/listed","cells":[]}}}
        > {"type":"operation/request","id":2,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"call-2","enabled_tools":[],"source":"text('four'); yield_control(); text('äh'); await new Promise(() => setTimeout(() => {}, 1e9))","yield_time_ms":null,"max_output_tokens":null}}}
        started 2 1
        < {"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Yielded":{"cell_id":"1","content_items":[{"type":"input_text","text":"four"}]}}}}
        > {"type":"operation/request","id":3,"request":{"method":"session/listCells","sessionId":"s1"}}
        < {"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"cells/listed","cells":[{"cellId":"1","callId":"call-2","state":"running","ageMs":"$any","outputBytes":"$any","unreadBytes":"$any"}]}}}
        > {"type":"operation/request","id":4,"request":{"method":"session/terminate","sessionId":"s1","cellId":"1"}}
        < {"type":"operation/response","id":4,"result":{"status":"ok","value":"$any"}}
        closed s1 1
        > {"type":"operation/request","id":5,"request":{"method":"session/listCells","sessionId":"s1"}}
        < {"type":"operation/response","id":5,"result":{"status":"ok","value":{"type":"cells/listed","cells":[]}}}
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
        execute 2 s1 yield=-1 text(1)
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
fn first_response(timings: V1Timings) -> Value {
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
    let members = |timings| {
        let response = first_response(timings);
        let members = response.as_object().unwrap().clone();
        for name in ["code_mode_host_duration_ns", "result_buffered_for_ns"] {
            assert!(members.get(name).is_none_or(Value::is_u64), "{response}");
        }
        let mut names: Vec<String> = members.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    };
    let plain = ["cell_id", "content_items", "error_text"];
    assert_eq!(members(V1Timings::None), plain);
    assert_eq!(
        members(V1Timings::Duration),
        [
            "cell_id",
            "code_mode_host_duration_ns",
            "content_items",
            "error_text"
        ]
    );
    assert_eq!(
        members(V1Timings::Both),
        [
            "cell_id",
            "code_mode_host_duration_ns",
            "content_items",
            "error_text",
            "result_buffered_for_ns"
        ]
    );
}

/// What the hello says goes before what the operator says: such a client refuses the other field.
#[test]
fn a_client_that_offers_yield_observation_gets_the_duration_alone() {
    for timings in [V1Timings::None, V1Timings::Duration, V1Timings::Both] {
        check(
            HostConfig {
                timings,
                ..HostConfig::default()
            },
            r#"
            ready yield-observation
            open s1
            execute 1 s1 text(1)
            started 1 1
            < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"1"}],"error_text":null,"code_mode_host_duration_ns":"$integer"}}}}
            closed s1 1
            "#,
        );
    }
}

/// The dialect of the CLI's versions 0.153 to 0.157, which the hello does not give away.
#[test]
fn the_operator_can_have_the_duration_sent_where_the_hello_leaves_it_open() {
    check(
        HostConfig {
            timings: V1Timings::Duration,
            ..HostConfig::default()
        },
        r#"
        ready session-cell-execution-resource-limits
        open s1
        execute 1 s1 text(1)
        started 1 1
        < {"type":"execute/initialResponse","id":1,"result":{"status":"ok","value":{"Result":{"cell_id":"1","content_items":[{"type":"input_text","text":"1"}],"error_text":null,"code_mode_host_duration_ns":"$integer"}}}}
        closed s1 1
        > {"type":"operation/request","id":2,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"9","yield_time_ms":1}}}
        < {"type":"operation/response","id":2,"result":{"status":"ok","value":{"type":"wait/completed","outcome":{"MissingCell":{"Result":{"cell_id":"9","content_items":[],"error_text":"$text","code_mode_host_duration_ns":"$integer"}}}}}}
        "#,
    );
}

/// A host whose operator allows fewer open calls does not promise more.
#[test]
fn the_delegate_capacity_is_offered_only_where_it_is_there() {
    let mut config = HostConfig::default();
    check(config.clone(), "ready delegate-capacity-4096");
    config.limits.delegate_calls = PROMISED_DELEGATE_CALLS - 1;
    check(
        config,
        r#"
        > {"type":"connection/hello","supportedVersions":[1],"requiredCapabilities":[],"optionalCapabilities":["delegate-capacity-4096"]}
        < {"type":"connection/ready","selectedVersion":1,"capabilities":[]}
        "#,
    );
}

/// At its bound, kept output loses what was kept longest.
#[test]
fn kept_output_is_bounded() {
    let mut config = HostConfig::default();
    config.limits.kept_output_bytes = 8;
    check(
        config,
        r#"
        ready bounded-output-v1 code_mode/output-v1
        > {"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s1","outputTruncation":"server"}}
        < {"type":"operation/response","id":1,"result":{"status":"ok","value":{"type":"session/ready","sessionId":"s1"}}}
        > {"type":"operation/request","id":2,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"text('12345')","yield_time_ms":null,"max_output_tokens":0}}}
        started 2 1
        < {"type":"execute/initialResponse","id":2,"result":"$any"}
        closed s1 1
        > {"type":"operation/request","id":3,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[],"source":"text('1234567890')","yield_time_ms":null,"max_output_tokens":0}}}
        started 3 2
        < {"type":"execute/initialResponse","id":3,"result":"$any"}
        closed s1 2
        > {"type":"operation/request","id":4,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":1},"outputRange":{"offset":0,"maxBytes":100}}}
        < {"type":"operation/response","id":4,"result":{"status":"error","message":"$contains:cell 1"}}
        > {"type":"operation/request","id":5,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"2","yield_time_ms":1},"outputRange":{"offset":0,"maxBytes":100}}}
        < {"type":"operation/response","id":5,"result":{"status":"ok","value":{"type":"output/read","cellId":"2","offset":0,"totalBytes":8,"text":"12345678"}}}
        "#,
    );
}
