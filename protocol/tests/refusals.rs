// SPDX-License-Identifier: Apache-2.0
//! Each refusal that the wire contract names, and the strictness of every object in it.

#[path = "support/goldens.rs"]
mod goldens;

use code_mode_protocol::{
    AgreedCapabilities, ClientMessage, DecodeError, DelegateValue, Extension, HostMessage,
    MAX_DECODE_ERROR_BYTES, Message, decode,
};
use goldens::Golden;
use serde_json::Value;

fn all() -> AgreedCapabilities {
    AgreedCapabilities::new(Extension::all_capabilities())
}

/// Checks that the payload is refused with an error that has this text in it.
#[track_caller]
fn refused<M: Message>(payload: &str, expected: &str) {
    match decode::<M>(payload.as_bytes(), &all()) {
        Ok(_) => panic!("accepted {payload}"),
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.contains(expected),
                "{payload} gives {error:?}, not {expected:?}"
            );
        }
    }
}

#[track_caller]
fn client_refused(payload: &str, expected: &str) {
    refused::<ClientMessage>(payload, expected);
}

/// Checks that the payload is a request with a number out of range, and that its id is known.
#[track_caller]
fn client_out_of_range(payload: &str, expected: &str) {
    match decode::<ClientMessage>(payload.as_bytes(), &all()) {
        Err(DecodeError::OutOfRange { id, message }) => {
            assert_eq!(id.get(), 2, "{payload}");
            assert!(
                message.contains(expected),
                "{payload} gives {message:?}, not {expected:?}"
            );
        }
        other => panic!("{payload} gives {other:?}"),
    }
}

#[track_caller]
fn host_refused(payload: &str, expected: &str) {
    refused::<HostMessage>(payload, expected);
}

fn hello(versions: &str, required: &str, optional: &str) -> String {
    format!(
        r#"{{"type":"connection/hello","supportedVersions":{versions},"requiredCapabilities":{required},"optionalCapabilities":{optional}}}"#
    )
}

fn execute(tool: &str, yield_time: &str, tokens: &str) -> String {
    format!(
        r#"{{"type":"operation/request","id":2,"request":{{"method":"session/execute","sessionId":"s1","request":{{"tool_call_id":"c","enabled_tools":[{tool}],"source":"1","yield_time_ms":{yield_time},"max_output_tokens":{tokens}}}}}}}"#
    )
}

fn result_item(item: &str) -> String {
    format!(
        r#"{{"type":"execute/initialResponse","id":2,"result":{{"status":"ok","value":{{"Result":{{"cell_id":"1","content_items":[{item}],"error_text":null}}}}}}}}"#
    )
}

#[test]
fn version_zero_is_refused() {
    client_refused(
        &hello("[0]", "[]", "[]"),
        "a protocol version must be 1 or more",
    );
    host_refused(
        r#"{"type":"connection/ready","selectedVersion":0,"capabilities":[]}"#,
        "a protocol version must be 1 or more",
    );
}

#[test]
fn a_version_that_is_no_positive_integer_is_refused() {
    for version in [
        "-1",
        "1.0",
        "1.5",
        "\"1\"",
        "null",
        "[1]",
        "18446744073709551616",
    ] {
        client_refused(&hello(&format!("[{version}]"), "[]", "[]"), "invalid");
    }
}

#[test]
fn an_empty_list_of_versions_is_refused() {
    let expected = "the list of supported versions must not be empty";
    client_refused(&hello("[]", "[]", "[]"), expected);
    host_refused(
        r#"{"type":"connection/rejected","reason":{"type":"noCompatibleVersion","supportedVersions":[]}}"#,
        expected,
    );
}

#[test]
fn a_version_that_is_listed_twice_is_refused() {
    client_refused(
        &hello("[1,2,1]", "[]", "[]"),
        "protocol version 1 is listed twice",
    );
}

#[test]
fn a_blank_capability_is_refused() {
    for blank in [r#"[""]"#, r#"[" \t\n"]"#, r#"["\u00a0\u2003"]"#] {
        client_refused(&hello("[1]", blank, "[]"), "a capability must not be blank");
        client_refused(&hello("[1]", "[]", blank), "a capability must not be blank");
    }
    host_refused(
        r#"{"type":"connection/ready","selectedVersion":1,"capabilities":[""]}"#,
        "a capability must not be blank",
    );
}

#[test]
fn a_capability_that_is_listed_twice_is_refused() {
    let twice = r#"["a","b","a"]"#;
    client_refused(
        &hello("[1]", twice, "[]"),
        r#"capability "a" is listed twice"#,
    );
    client_refused(
        &hello("[1]", "[]", twice),
        r#"capability "a" is listed twice"#,
    );
    host_refused(
        r#"{"type":"connection/ready","selectedVersion":1,"capabilities":["a","a"]}"#,
        r#"capability "a" is listed twice"#,
    );
}

#[test]
fn a_capability_that_is_required_and_optional_is_refused() {
    client_refused(
        &hello("[1]", r#"["a","b"]"#, r#"["c","b"]"#),
        r#"capability "b" is both required and optional"#,
    );
}

#[test]
fn an_empty_session_id_is_refused() {
    let request =
        r#"{"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":""}}"#;
    client_refused(request, "a session id must not be empty");
    host_refused(
        r#"{"type":"cell/closed","sessionId":"","cellId":"1"}"#,
        "a session id must not be empty",
    );
}

#[test]
fn an_empty_cell_id_is_refused() {
    let request = r#"{"type":"operation/request","id":1,"request":{"method":"session/terminate","sessionId":"s","cellId":""}}"#;
    client_refused(request, "a cell id must not be empty");
    host_refused(
        r#"{"type":"cell/closed","sessionId":"s","cellId":""}"#,
        "a cell id must not be empty",
    );
}

#[test]
fn an_id_that_is_no_signed_64_bit_integer_is_refused() {
    let ids = [
        "9223372036854775808",
        "-9223372036854775809",
        "1.0",
        "\"1\"",
        "null",
        "true",
    ];
    for id in ids {
        client_refused(
            &format!(r#"{{"type":"operation/cancel","id":{id}}}"#),
            "invalid",
        );
        host_refused(
            &format!(r#"{{"type":"delegate/cancel","id":{id}}}"#),
            "invalid",
        );
    }
}

#[test]
fn max_output_tokens_outside_its_range_is_refused() {
    let expected = "max_output_tokens must be 0 to 2147483647";
    for tokens in [
        "-1",
        "2147483648",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
    ] {
        client_out_of_range(&execute("", "null", tokens), expected);
    }
    for tokens in ["1.5", "\"1\""] {
        client_refused(&execute("", "null", tokens), "invalid");
    }
}

#[test]
fn a_yield_time_that_is_no_unsigned_integer_is_refused() {
    for time in ["-1", "18446744073709551616"] {
        client_out_of_range(&execute("", time, "null"), "yield_time_ms must be 0 to");
    }
    for time in ["0.5", "\"1\""] {
        client_refused(&execute("", time, "null"), "invalid");
    }
}

#[test]
fn every_number_of_a_request_that_is_out_of_range_is_an_error_of_that_request() {
    for (request, expected) in [
        (
            r#"{"method":"session/wait","sessionId":"s","request":{"cell_id":"1","yield_time_ms":-1}}"#,
            "yield_time_ms must",
        ),
        (
            r#"{"method":"session/wait","sessionId":"s","request":{"cell_id":"1"},"maxOutputTokens":-1}"#,
            "maxOutputTokens must",
        ),
        (
            r#"{"method":"session/wait","sessionId":"s","request":{"cell_id":"1"},"outputRange":{"offset":-1,"maxBytes":1}}"#,
            "offset must",
        ),
        (
            r#"{"method":"session/terminate","sessionId":"s","cellId":"1","maxOutputTokens":-1}"#,
            "maxOutputTokens must",
        ),
        (
            r#"{"method":"session/open","sessionId":"s","cellExecutionLimits":{"maxYieldTimeMs":-1}}"#,
            "maxYieldTimeMs must",
        ),
        (
            r#"{"method":"session/execute","sessionId":"s","request":{"tool_call_id":"c","enabled_tools":[],"source":"1","limits":{"timers":-1}}}"#,
            "timers must",
        ),
    ] {
        // The id may come last; it is known all the same.
        client_out_of_range(
            &format!(r#"{{"type":"operation/request","request":{request},"id":2}}"#),
            expected,
        );
    }
}

#[test]
fn a_number_out_of_range_does_not_excuse_anything_else() {
    client_refused(
        r#"{"type":"operation/request","id":2,"request":{"method":"session/wait","sessionId":"s","request":{"cell_id":"1","yield_time_ms":-1,"x":1}}}"#,
        "unknown field",
    );
    client_refused(
        r#"{"type":"operation/request","id":2,"request":{"method":"session/wait","sessionId":"s","request":{"yield_time_ms":-1}}}"#,
        "missing field `cell_id`",
    );
}

#[test]
fn a_lone_surrogate_in_any_text_is_read_as_the_replacement_character() {
    let payload = r#"{"type":"delegate/response","id":6,"result":{"status":"ok","value":{"type":"tool/result","result":["\ud800","a\udfffb","\ud83d\ude00"]}}}"#;
    let message: ClientMessage = decode(payload.as_bytes(), &all()).unwrap();
    let ClientMessage::DelegateResponse {
        result: Ok(DelegateValue::ToolResult { result }),
        ..
    } = message
    else {
        panic!("{message:?}");
    };
    assert_eq!(result.get(), r#"["\ufffd","a\ufffdb","\ud83d\ude00"]"#);
    let payload = r#"{"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s\uD800"}}"#;
    let message: ClientMessage = decode(payload.as_bytes(), &all()).unwrap();
    let ClientMessage::OperationRequest { request, .. } = message else {
        panic!("{message:?}");
    };
    assert_eq!(request.session_id().as_str(), "s\u{fffd}");
}

#[test]
fn a_kind_that_the_contract_does_not_have_is_refused() {
    let tool = |kind: &str| {
        format!(
            r#"{{"name":"t","tool_name":{{"name":"t","namespace":null}},"description":"","kind":{kind},"input_schema":null,"output_schema":null}}"#
        )
    };
    client_refused(
        &execute(&tool("\"Function\""), "null", "null"),
        "is not a tool kind",
    );
    client_refused(
        &execute(&tool("\"\""), "null", "null"),
        "is not a tool kind",
    );
    client_refused(&execute(&tool("null"), "null", "null"), "a tool kind");
    client_refused(
        &execute(&tool(r#"{"function":null}"#), "null", "null"),
        "a tool kind",
    );
    client_refused(&execute(&tool("0"), "null", "null"), "a tool kind");
}

#[test]
fn a_detail_that_the_contract_does_not_have_is_refused() {
    let image = |detail: &str| {
        result_item(&format!(
            r#"{{"type":"input_image","image_url":"data:,","detail":{detail}}}"#
        ))
    };
    for detail in ["\"HIGH\"", "\"medium\"", "null", "1", r#"{"high":null}"#] {
        host_refused(
            &image(detail),
            "an image detail: auto, low, high or original",
        );
    }
}

#[test]
fn an_item_or_message_of_unknown_type_is_refused() {
    host_refused(
        &result_item(r#"{"type":"input_video"}"#),
        "is not a content item's type",
    );
    client_refused(
        r#"{"type":"operation/pause","id":1}"#,
        "is not a type of message",
    );
    host_refused(
        r#"{"type":"cell/opened","sessionId":"s","cellId":"1"}"#,
        "is not a type",
    );
    client_refused(
        r#"{"type":"operation/request","id":1,"request":{"method":"session/list","sessionId":"s"}}"#,
        "is not a method",
    );
}

#[test]
fn a_field_of_another_variant_is_refused_even_if_null() {
    client_refused(
        r#"{"type":"operation/cancel","id":1,"result":null}"#,
        "a delegate response",
    );
    client_refused(
        r#"{"type":"operation/cancel","id":1,"supportedVersions":[1]}"#,
        "field `supportedVersions` does not belong to operation/cancel",
    );
    client_refused(
        r#"{"type":"operation/request","id":3,"request":{"method":"session/wait","sessionId":"s1","request":{"cell_id":"1","yield_time_ms":50,"max_output_tokens":null}}}"#,
        "field `max_output_tokens` does not belong to the request of session/wait",
    );
    client_refused(
        r#"{"type":"delegate/response","id":7,"result":{"status":"ok","value":{"type":"notification/delivered","result":null}}}"#,
        "field `result` does not belong to notification/delivered",
    );
    host_refused(
        r#"{"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Yielded":{"cell_id":"1","content_items":[],"error_text":null}}}}"#,
        "field `error_text` does not belong to Yielded",
    );
    host_refused(
        r#"{"type":"operation/response","id":2,"result":{"status":"ok","value":{"Yielded":{"cell_id":"1","content_items":[]}}}}"#,
        "missing field `type`",
    );
    host_refused(
        r#"{"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"type":"session/ready","sessionId":"s1"}}}"#,
        "does not belong to the value of execute/initialResponse",
    );
    host_refused(
        &result_item(r#"{"type":"input_text","text":"a","detail":"low"}"#),
        "field `detail` does not belong to input_text",
    );
}

#[test]
fn a_response_of_two_variants_or_of_none_is_refused() {
    let value = |value: &str| {
        format!(
            r#"{{"type":"execute/initialResponse","id":2,"result":{{"status":"ok","value":{value}}}}}"#
        )
    };
    let body = r#"{"cell_id":"1","content_items":[]}"#;
    let expected = "must be one of Result, Yielded or Terminated";
    host_refused(&value("{}"), expected);
    host_refused(
        &value(&format!(r#"{{"Yielded":{body},"Terminated":{body}}}"#)),
        expected,
    );
    host_refused(
        r#"{"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"wait/completed","outcome":{}}}}"#,
        "must be LiveCell or MissingCell",
    );
}

#[test]
fn a_result_that_is_both_ok_and_error_is_refused() {
    client_refused(
        r#"{"type":"delegate/response","id":8,"result":{"status":"ok","message":"m"}}"#,
        "a result with status ok has the fields of an error",
    );
    client_refused(
        r#"{"type":"delegate/response","id":8,"result":{"status":"error","message":"m","value":{"type":"notification/delivered"}}}"#,
        "a result with status error has a value",
    );
    client_refused(
        r#"{"type":"delegate/response","id":8,"result":{"status":"failed","message":"m"}}"#,
        "is not a status",
    );
}

/// A delegate's error is no operation's error: the extension adds nothing to it.
#[test]
fn a_delegate_error_has_no_code() {
    client_refused(
        r#"{"type":"delegate/response","id":8,"result":{"status":"error","message":"m","code":"a","side_effects":"none"}}"#,
        "unknown field \"code\"",
    );
}

#[test]
fn half_of_the_error_details_is_refused() {
    for half in [r#""code":"missing-cell""#, r#""side_effects":"none""#] {
        let payload = format!(
            r#"{{"type":"operation/response","id":5,"result":{{"status":"error","message":"m",{half}}}}}"#
        );
        host_refused(&payload, "code and side_effects must come together");
    }
}

#[test]
fn a_malformed_error_code_is_refused() {
    for code in ["", "Missing", "missing cell", "-a", "a-", "a//b", "/a", "ä"] {
        let payload = format!(
            r#"{{"type":"operation/response","id":5,"result":{{"status":"error","message":"m","code":"{code}","side_effects":"none"}}}}"#
        );
        host_refused(&payload, "is not an error code");
    }
}

#[test]
fn a_stored_value_whose_key_comes_twice_is_refused() {
    client_refused(
        r#"{"type":"operation/request","id":1,"request":{"method":"session/importStore","sessionId":"s","values":{"a":1,"a":2}}}"#,
        "a stored value's key comes twice",
    );
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    for payload in [
        "",
        " ",
        "{",
        "null",
        "1",
        "\"operation/cancel\"",
        "[]",
        "{}",
        "\u{feff}{}",
    ] {
        client_refused(payload, "the payload is not a valid message");
        host_refused(payload, "the payload is not a valid message");
    }
    client_refused(
        r#"{"type":"operation/cancel","id":1}{}"#,
        "trailing characters",
    );
    client_refused(r#"{"type":"operation/cancel","id":1,}"#, "trailing comma");
    client_refused(r#"["operation/cancel",1]"#, "an object");
}

#[test]
fn what_is_not_utf8_is_refused_with_its_position() {
    let mut payload = br#"{"type":"operation/cancel","id":1}"#.to_vec();
    payload[10] = 0xff;
    assert_eq!(
        decode::<ClientMessage>(&payload, &all()).unwrap_err(),
        DecodeError::NotUtf8 { valid_up_to: 10 }
    );
    // An encoded surrogate is not UTF-8 either, not even where nobody looks into the JSON.
    let start = br#"{"type":"delegate/response","id":6,"result":{"status":"ok","value":{"type":"tool/result","result":""#;
    let payload = [start.as_slice(), b"\xed\xa0\x80\"}}}"].concat();
    assert_eq!(
        decode::<ClientMessage>(&payload, &all()).unwrap_err(),
        DecodeError::NotUtf8 {
            valid_up_to: start.len()
        }
    );
}

#[test]
fn an_error_repeats_little_of_what_the_peer_sent() {
    let long = "ä".repeat(1_000_000);
    for payload in [
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"type":"operation/cancel","id":"{long}"}}"#),
        hello("[1]", &format!(r#"["{long}","{long}"]"#), "[]"),
    ] {
        let error = decode::<ClientMessage>(payload.as_bytes(), &all()).unwrap_err();
        let DecodeError::Malformed(text) = error else {
            panic!("{error}")
        };
        assert!(text.len() <= MAX_DECODE_ERROR_BYTES, "{} bytes", text.len());
    }
    // The bound itself is reached by the text of a value of the wrong type.
    let payload = format!(
        r#"{{"type":"operation/cancel","id":"{}"}}"#,
        "a".repeat(2_000)
    );
    let error = decode::<ClientMessage>(payload.as_bytes(), &all()).unwrap_err();
    let DecodeError::Malformed(text) = error else {
        panic!("{error}")
    };
    assert_eq!(text.len(), MAX_DECODE_ERROR_BYTES);
}

/// One change of a JSON object that makes the message wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Damage<'a> {
    /// A field that the contract does not have.
    Unknown,
    /// The object's values as an array, in the object's place.
    Array,
    /// A field twice.
    Repeat(&'a str),
    /// A field left out.
    Remove(&'a str),
}

/// Keys whose values are raw JSON or keyed freely, into which nobody looks.
const OPAQUE: &[&str] = &["input_schema", "output_schema", "input", "values", "answer"];

/// Fields that may be left out: because they may be null, or by the contract's words.
const MAY_BE_LEFT_OUT: &[&str] = &[
    "namespace",
    "input_schema",
    "output_schema",
    "yield_time_ms",
    "max_output_tokens",
    "error_text",
    "detail",
    "limits",
    "cellExecutionLimits",
    "outputTruncation",
    "maxYieldTimeMs",
    "maxHeapSizeBytes",
    "maxOutputTokens",
    "outputRange",
    "code_mode_host_duration_ns",
    "result_buffered_for_ns",
];

/// The JSON pointers of all objects that the contract defines.
fn objects(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(path.to_owned());
            let is_tool_result = fields.get("type").is_some_and(|tag| tag == "tool/result");
            for (key, value) in fields {
                let opaque = OPAQUE.contains(&key.as_str()) || (is_tool_result && key == "result");
                if !opaque {
                    objects(value, &format!("{path}/{key}"), found);
                }
            }
        }
        Value::Array(entries) => {
            for (index, value) in entries.iter().enumerate() {
                objects(value, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Writes a value with one object damaged.
fn write(value: &Value, path: &str, target: &str, damage: Damage<'_>) -> String {
    match value {
        Value::Object(fields) => {
            let here = path == target;
            let mut parts = Vec::new();
            let mut values = Vec::new();
            for (key, value) in fields {
                let text = write(value, &format!("{path}/{key}"), target, damage);
                let part = format!("{}:{text}", Value::from(key.as_str()));
                values.push(text);
                match damage {
                    Damage::Remove(removed) if here && removed == key => {}
                    Damage::Repeat(repeated) if here && repeated == key => {
                        parts.extend([part.clone(), part]);
                    }
                    _ => parts.push(part),
                }
            }
            if here && damage == Damage::Unknown {
                parts.push(r#""unexpected":null"#.to_owned());
            }
            if here && damage == Damage::Array {
                return format!("[{}]", values.join(","));
            }
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .enumerate()
                .map(|(index, value)| write(value, &format!("{path}/{index}"), target, damage))
                .collect();
            format!("[{}]", entries.join(","))
        }
        scalar => scalar.to_string(),
    }
}

fn check_strictness<M: Message>(goldens: &[Golden]) -> usize {
    let mut checked = 0;
    for golden in goldens {
        let value: Value = serde_json::from_str(golden.json).unwrap();
        let mut paths = Vec::new();
        objects(&value, "", &mut paths);
        for path in &paths {
            let fields = value.pointer(path).unwrap().as_object().unwrap();
            let mut damages = vec![
                (Damage::Unknown, "unknown field"),
                (Damage::Array, "object"),
            ];
            for key in fields.keys() {
                damages.push((Damage::Repeat(key), "duplicate field"));
                if !MAY_BE_LEFT_OUT.contains(&key.as_str()) && !path.ends_with("/limits") {
                    damages.push((Damage::Remove(key), ""));
                }
            }
            for (damage, expected) in damages {
                let damaged = write(&value, "", path, damage);
                assert_ne!(damaged, golden.json, "{}", golden.name);
                refused::<M>(&damaged, expected);
                checked += 1;
            }
        }
    }
    checked
}

/// For every object of every golden message: an unknown field, an array in the object's place,
/// each field twice, each required field left out.
#[test]
fn every_object_at_every_level_is_strict() {
    let checked = check_strictness::<ClientMessage>(goldens::CLIENT)
        + check_strictness::<HostMessage>(goldens::HOST);
    assert!(checked > 500, "only {checked} damaged messages");
}
