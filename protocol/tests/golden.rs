// SPDX-License-Identifier: Apache-2.0
//! Every message variant against the golden files, byte for byte and value for value.

#[path = "support/goldens.rs"]
mod goldens;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, CellResponse, CellState, CellStatus, CellSummary, CellTimings, ContentItem,
    ExecuteRequest, Globals, ImageDetail, Notification, RawJson, SessionId, SideEffects,
    ToolDefinition, ToolError, ToolInvocation, ToolKind, ToolName, WaitRequest,
};
use code_mode_protocol::*;
use goldens::Golden;
use pretty_assertions::assert_eq;

fn all() -> AgreedCapabilities {
    AgreedCapabilities::new(Extension::all_capabilities())
}

fn raw(json: &str) -> RawJson {
    RawJson::from(
        serde_json::from_str::<&serde_json::value::RawValue>(json)
            .unwrap()
            .to_owned(),
    )
}

fn session() -> SessionId {
    SessionId::new("s1").unwrap()
}

fn cell(id: &str) -> CellId {
    CellId::new(id)
}

fn versions(versions: &[u64]) -> SupportedVersions {
    let versions = versions
        .iter()
        .map(|version| ProtocolVersion::new(*version).unwrap());
    SupportedVersions::new(versions.collect()).unwrap()
}

fn capabilities(names: &[&str]) -> CapabilitySet {
    CapabilitySet::new(
        names
            .iter()
            .map(|name| Capability::new(name).unwrap())
            .collect(),
    )
    .unwrap()
}

fn hello(supported: &[u64], required: &[&str], optional: &[&str]) -> ClientMessage {
    ClientMessage::Hello(
        ClientHello::new(
            versions(supported),
            capabilities(required),
            capabilities(optional),
        )
        .unwrap(),
    )
}

fn request(id: i64, request: OperationRequest) -> ClientMessage {
    ClientMessage::OperationRequest {
        id: RequestId::new(id),
        request,
    }
}

fn execute(id: i64, request_body: ExecuteRequest) -> ClientMessage {
    request(
        id,
        OperationRequest::Execute {
            session_id: session(),
            request: request_body,
            encoded_tools: None,
        },
    )
}

fn open(
    cell_execution_limits: Option<CellExecutionLimits>,
    output_truncation: Option<OutputTruncation>,
) -> ClientMessage {
    request(
        1,
        OperationRequest::Open {
            session_id: session(),
            cell_execution_limits,
            output_truncation,
        },
    )
}

fn terminate(max_output_tokens: Option<u64>) -> ClientMessage {
    request(
        4,
        OperationRequest::Terminate {
            session_id: session(),
            cell_id: cell("1"),
            max_output_tokens,
        },
    )
}

fn wait(yield_time_ms: Option<u64>) -> ClientMessage {
    wait_for(yield_time_ms, None, None)
}

fn wait_for(
    yield_time_ms: Option<u64>,
    max_output_tokens: Option<u64>,
    output_range: Option<OutputRange>,
) -> ClientMessage {
    let body = WaitRequest {
        cell_id: cell("1"),
        yield_time: yield_time_ms.map(Duration::from_millis),
    };
    request(
        3,
        OperationRequest::Wait {
            session_id: session(),
            request: body,
            max_output_tokens,
            output_range,
        },
    )
}

fn stored_values() -> BTreeMap<String, RawJson> {
    BTreeMap::from([
        ("a".to_owned(), raw("1")),
        ("b".to_owned(), raw(r#"{"c":[null]}"#)),
    ])
}

fn delegate_response(id: i64, result: Result<DelegateValue, ToolError>) -> ClientMessage {
    ClientMessage::DelegateResponse {
        id: DelegateRequestId::new(id),
        result,
    }
}

fn tool_result(json: &str) -> ClientMessage {
    delegate_response(6, Ok(DelegateValue::ToolResult { result: raw(json) }))
}

fn client_message(name: &str) -> ClientMessage {
    match name {
        "hello" => hello(&[1], &[], &["x"]),
        "hello-with-all-lists" => hello(
            &[3, 1],
            &["code_mode/limits-v1", "y"],
            &["x", "code_mode/errors-v1"],
        ),
        "session-open" => open(None, None),
        "session-open-limits" => open(
            Some(CellExecutionLimits {
                max_yield_time_ms: Some(5_000),
                max_heap_size_bytes: Some(32 << 20),
            }),
            Some(OutputTruncation::Server),
        ),
        "session-open-other-values" => open(
            Some(CellExecutionLimits::default()),
            Some(OutputTruncation::Client),
        ),
        "session-execute" => execute(
            2,
            ExecuteRequest {
                exec_call_id: "call-1".to_owned(),
                tools: vec![ToolDefinition {
                    name: "get-profile".to_owned(),
                    tool_name: ToolName {
                        name: "get-profile".to_owned(),
                        namespace: Some("mcp__ologs__".to_owned()),
                    },
                    description: "...".to_owned(),
                    kind: ToolKind::Function,
                    input_schema: Some(raw(r#"{"type":"object"}"#)),
                    output_schema: None,
                }]
                .into(),
                source: "text('hello')".to_owned(),
                yield_time: Some(Duration::from_secs(10)),
                max_output_tokens: None,
                limits: CellLimits::default(),
                globals: None,
                exact_integers: None,
            },
        ),
        "session-execute-other-values" => execute(
            i64::MIN,
            ExecuteRequest {
                exec_call_id: String::new(),
                tools: vec![ToolDefinition {
                    name: "patch".to_owned(),
                    tool_name: ToolName {
                        name: "patch".to_owned(),
                        namespace: None,
                    },
                    description: String::new(),
                    kind: ToolKind::Freeform,
                    input_schema: None,
                    output_schema: Some(raw(r#"{ "type" : "string" }"#)),
                }]
                .into(),
                source: String::new(),
                yield_time: None,
                max_output_tokens: Some(MAX_OUTPUT_TOKENS),
                limits: CellLimits::default(),
                globals: None,
                exact_integers: None,
            },
        ),
        "session-execute-limits" => execute(
            2,
            ExecuteRequest {
                exec_call_id: "call-1".to_owned(),
                tools: Vec::new().into(),
                source: "1".to_owned(),
                yield_time: Some(Duration::ZERO),
                max_output_tokens: Some(0),
                limits: CellLimits {
                    heap_bytes: Some(1),
                    external_bytes: Some(2),
                    cpu_time: Some(Duration::from_millis(3)),
                    wall_time: Some(Duration::from_millis(4)),
                    output_bytes: Some(5),
                    output_items: Some(6),
                    open_tool_calls: Some(7),
                    total_tool_calls: Some(8),
                    timers: Some(9),
                },
                globals: None,
                exact_integers: None,
            },
        ),
        "session-execute-globals" => execute(
            2,
            ExecuteRequest {
                exec_call_id: "call-1".to_owned(),
                tools: Vec::new().into(),
                source: "1".to_owned(),
                yield_time: None,
                max_output_tokens: None,
                limits: CellLimits::default(),
                globals: Some(Globals::Web),
                exact_integers: None,
            },
        ),
        "session-execute-exact-integers" => execute(
            2,
            ExecuteRequest {
                exec_call_id: "call-1".to_owned(),
                exact_integers: Some(true),
                ..ExecuteRequest::new("1")
            },
        ),
        "session-wait" => wait(Some(50)),
        "session-wait-default" => wait(None),
        "session-wait-tokens" => wait_for(Some(50), Some(100), None),
        "session-wait-range" => {
            let range = OutputRange {
                offset: 0,
                max_bytes: 65_536,
            };
            wait_for(Some(50), None, Some(range))
        }
        "session-terminate" => terminate(None),
        "session-terminate-tokens" => terminate(Some(0)),
        "session-shutdown" => request(
            5,
            OperationRequest::Shutdown {
                session_id: session(),
            },
        ),
        "session-list-cells" => request(
            13,
            OperationRequest::ListCells {
                session_id: session(),
            },
        ),
        "session-export-store" => request(
            11,
            OperationRequest::ExportStore {
                session_id: session(),
            },
        ),
        "session-import-store" => request(
            12,
            OperationRequest::ImportStore {
                session_id: session(),
                values: stored_values(),
            },
        ),
        "operation-yield" => ClientMessage::OperationYield {
            id: RequestId::new(2),
        },
        "operation-cancel" => ClientMessage::OperationCancel {
            id: RequestId::new(2),
        },
        "delegate-tool-result" => tool_result(r#"{"answer":42}"#),
        "delegate-tool-result-null" => tool_result("null"),
        "delegate-notification-delivered" => {
            delegate_response(7, Ok(DelegateValue::NotificationDelivered {}))
        }
        "delegate-error" => delegate_response(8, Err(ToolError::new("tool failed"))),
        other => panic!("no value is written for the golden file {other}"),
    }
}

fn operation(id: i64, result: Result<OperationValue, WireError>) -> HostMessage {
    HostMessage::OperationResponse {
        id: RequestId::new(id),
        result,
    }
}

fn initial(result: Result<CellResponse, WireError>) -> HostMessage {
    HostMessage::ExecuteInitialResponse {
        id: RequestId::new(2),
        result,
    }
}

fn response(id: &str, status: CellStatus, content_items: Vec<ContentItem>) -> CellResponse {
    CellResponse {
        cell_id: cell(id),
        status,
        content_items,
        timings: CellTimings::default(),
        state_lost: None,
    }
}

fn result(content_items: Vec<ContentItem>) -> CellResponse {
    let status = CellStatus::Completed { error_text: None };
    response("1", status, content_items)
}

fn timed(status: CellStatus, host: Option<u64>, buffered: Option<u64>) -> CellResponse {
    let timings = CellTimings {
        host_duration: host.map(Duration::from_nanos),
        result_buffered_for: buffered.map(Duration::from_nanos),
    };
    CellResponse {
        timings,
        ..response("1", status, Vec::new())
    }
}

fn image(url: &str, detail: Option<ImageDetail>) -> ContentItem {
    ContentItem::Image {
        image_url: url.to_owned(),
        detail,
    }
}

fn text(text: &str) -> ContentItem {
    ContentItem::Text(text.to_owned())
}

fn rejected(reason: RejectReason) -> HostMessage {
    HostMessage::Rejected { reason }
}

fn invoke(id: i64, invocation: ToolInvocation) -> HostMessage {
    HostMessage::DelegateRequest {
        id: DelegateRequestId::new(id),
        request: DelegateRequest::ToolInvoke { invocation },
    }
}

fn error(message: &str, code: &str, side_effects: SideEffects) -> WireError {
    WireError::new(message).with_details(ErrorCode::new(code).unwrap(), side_effects)
}

fn host_message(name: &str) -> HostMessage {
    let ready = |names: &[&str]| HostMessage::Ready {
        selected_version: ProtocolVersion::V1,
        capabilities: capabilities(names),
    };
    let waited = |id, outcome| operation(id, Ok(OperationValue::WaitCompleted { outcome }));
    match name {
        "ready" => ready(&[]),
        "ready-with-capabilities" => ready(&["code_mode/store-v1", "x"]),
        "rejected-no-compatible-version" => rejected(RejectReason::NoCompatibleVersion {
            supported_versions: versions(&[1]),
        }),
        "rejected-missing-capability" => rejected(RejectReason::MissingRequiredCapability {
            capability: Capability::new("x").unwrap(),
        }),
        "rejected-invalid-hello" => rejected(RejectReason::InvalidHello {
            message: "...".to_owned(),
        }),
        "session-ready" => operation(
            1,
            Ok(OperationValue::SessionReady {
                session_id: session(),
            }),
        ),
        "execution-started" => operation(
            2,
            Ok(OperationValue::ExecutionStarted { cell_id: cell("1") }),
        ),
        "initial-result" => initial(Ok(result(vec![text("hello")]))),
        "initial-result-audio" => {
            let audio = ContentItem::Audio {
                audio_url: "data:audio/wav;base64,AAAA".to_owned(),
            };
            initial(Ok(result(vec![audio])))
        }
        "initial-result-failed" => {
            let items = vec![
                text("a\n\u{1}\"é"),
                image("data:,a", None),
                image("data:,b", Some(ImageDetail::Auto)),
                image("data:,c", Some(ImageDetail::Low)),
                image("data:,d", Some(ImageDetail::High)),
                image("data:,e", Some(ImageDetail::Original)),
            ];
            let error_text = Some("Error: no".to_owned());
            let status = CellStatus::Completed { error_text };
            initial(Ok(response("1", status, items)))
        }
        "initial-result-timings" => {
            let status = CellStatus::Completed { error_text: None };
            initial(Ok(timed(status, Some(1_200_345), Some(0))))
        }
        "initial-yielded" => initial(Ok(response("1", CellStatus::Yielded, Vec::new()))),
        "initial-yielded-timings" => initial(Ok(timed(CellStatus::Yielded, Some(7), None))),
        "initial-terminated" => initial(Ok(timed(CellStatus::Terminated, None, Some(u64::MAX)))),
        "initial-error" => initial(Err(WireError::new("the runtime was lost"))),
        "initial-error-details" => initial(Err(error(
            "the runtime was lost",
            "runtime-lost",
            SideEffects::Possible,
        ))),
        "wait-live-terminated" => {
            let response = response("1", CellStatus::Terminated, Vec::new());
            waited(3, WaitOutcome::LiveCell(response))
        }
        "wait-missing" => {
            let error_text = Some("exec cell 9 not found".to_owned());
            let status = CellStatus::Completed { error_text };
            waited(
                4,
                WaitOutcome::MissingCell(response("9", status, Vec::new())),
            )
        }
        "session-closed" => operation(
            5,
            Ok(OperationValue::SessionClosed {
                session_id: session(),
            }),
        ),
        "cells-listed" => operation(
            13,
            Ok(OperationValue::CellsListed {
                cells: vec![
                    CellSummary {
                        cell_id: cell("1"),
                        exec_call_id: "call-1".to_owned(),
                        state: CellState::Running,
                        age: Duration::from_millis(1_500),
                        output_bytes: 12,
                        unread_bytes: 4,
                    },
                    CellSummary {
                        cell_id: cell("2"),
                        exec_call_id: "call-2".to_owned(),
                        state: CellState::Ended,
                        age: Duration::from_millis(20),
                        output_bytes: 0,
                        unread_bytes: 0,
                    },
                ],
            }),
        ),
        "store-exported" => operation(
            11,
            Ok(OperationValue::StoreExported {
                values: stored_values(),
            }),
        ),
        "store-imported" => operation(12, Ok(OperationValue::StoreImported {})),
        "output-read" => operation(
            3,
            Ok(OperationValue::OutputRead {
                cell_id: cell("1"),
                offset: 4096,
                total_bytes: 100_000,
                text: "more".to_owned(),
            }),
        ),
        "operation-error" => operation(5, Err(WireError::new("unknown code-mode session s1"))),
        "operation-error-details" => operation(
            5,
            Err(error("too many", "limit/active-cells", SideEffects::None)),
        ),
        "delegate-tool-invoke" => invoke(
            9,
            ToolInvocation {
                session_id: session(),
                cell_id: cell("1"),
                exec_call_id: String::new(),
                call_id: "tool-1".to_owned(),
                tool_name: ToolName {
                    name: "get-profile".to_owned(),
                    namespace: Some("mcp__ologs__".to_owned()),
                },
                tool_kind: ToolKind::Function,
                input: raw(r#"{"a":1}"#),
            },
        ),
        "delegate-tool-invoke-freeform" => invoke(
            i64::MAX,
            ToolInvocation {
                session_id: session(),
                cell_id: cell("1"),
                exec_call_id: String::new(),
                call_id: "tool-2".to_owned(),
                tool_name: ToolName {
                    name: "patch".to_owned(),
                    namespace: None,
                },
                tool_kind: ToolKind::Freeform,
                input: raw("null"),
            },
        ),
        "delegate-notification" => {
            let notification = Notification {
                session_id: session(),
                cell_id: cell("1"),
                exec_call_id: "call-1".to_owned(),
                text: "half way".to_owned(),
            };
            HostMessage::DelegateRequest {
                id: DelegateRequestId::new(10),
                request: DelegateRequest::NotificationSend { notification },
            }
        }
        "delegate-cancel" => HostMessage::DelegateCancel {
            id: DelegateRequestId::new(9),
        },
        "cell-closed" => HostMessage::CellClosed {
            session_id: session(),
            cell_id: cell("1"),
        },
        other => panic!("no value is written for the golden file {other}"),
    }
}

/// Checks that the value encodes to the golden file and that the file decodes to the value.
#[track_caller]
fn check<M: Message + Debug>(golden: &Golden, value: &M) {
    let frame = EncodedFrame::encode(value, &all()).unwrap();
    let encoded = std::str::from_utf8(frame.payload()).unwrap();
    assert_eq!(encoded, golden.json, "{}", golden.name);
    let decoded: M = decode(golden.json.as_bytes(), &all()).unwrap();
    assert_eq!(
        format!("{decoded:?}"),
        format!("{value:?}"),
        "{}",
        golden.name
    );
}

#[test]
fn client_messages_equal_their_golden_files() {
    for golden in goldens::CLIENT {
        check(golden, &client_message(golden.name));
    }
}

#[test]
fn host_messages_equal_their_golden_files() {
    for golden in goldens::HOST {
        check(golden, &host_message(golden.name));
    }
}

#[test]
fn a_message_of_the_other_direction_is_refused() {
    for golden in goldens::CLIENT {
        assert!(
            decode::<HostMessage>(golden.json.as_bytes(), &all()).is_err(),
            "{}",
            golden.name
        );
    }
    for golden in goldens::HOST {
        let decoded = decode::<ClientMessage>(golden.json.as_bytes(), &all());
        assert!(decoded.is_err(), "{}", golden.name);
    }
}

/// The order of fields is the sender's choice, so the tag may come last at every level.
#[test]
fn fields_may_come_in_any_order() {
    for (reordered, golden) in [
        (
            r#"{"request":{"request":{"yield_time_ms":50,"cell_id":"1"},"sessionId":"s1","method":"session/wait"},"id":3,"type":"operation/request"}"#,
            "session-wait",
        ),
        (
            r#"{"result":{"value":{"result":{"answer":42},"type":"tool/result"},"status":"ok"},"id":6,"type":"delegate/response"}"#,
            "delegate-tool-result",
        ),
    ] {
        let decoded: ClientMessage = decode(reordered.as_bytes(), &all()).unwrap();
        assert_eq!(
            format!("{decoded:?}"),
            format!("{:?}", client_message(golden))
        );
    }
    let reordered = r#"{"result":{"value":{"outcome":{"LiveCell":{"Terminated":{"content_items":[],"cell_id":"1"}}},"type":"wait/completed"},"status":"ok"},"id":3,"type":"operation/response"}"#;
    let decoded: HostMessage = decode(reordered.as_bytes(), &all()).unwrap();
    assert_eq!(
        format!("{decoded:?}"),
        format!("{:?}", host_message("wait-live-terminated"))
    );
}

/// A field that may be null may also be left out; it is always written.
#[test]
fn nullable_fields_may_be_left_out() {
    let sparse = r#"{"type":"operation/request","id":1,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[{"name":"t","tool_name":{"name":"t"},"description":"d","kind":"function"}],"source":"1"}}}"#;
    let full = r#"{"type":"operation/request","id":1,"request":{"method":"session/execute","sessionId":"s1","request":{"tool_call_id":"c","enabled_tools":[{"name":"t","tool_name":{"name":"t","namespace":null},"description":"d","kind":"function","input_schema":null,"output_schema":null}],"source":"1","yield_time_ms":null,"max_output_tokens":null}}}"#;
    let decoded: ClientMessage = decode(sparse.as_bytes(), &AgreedCapabilities::none()).unwrap();
    let encoded = EncodedFrame::encode(&decoded, &AgreedCapabilities::none()).unwrap();
    assert_eq!(std::str::from_utf8(encoded.payload()).unwrap(), full);
}

/// Whoever sends raw JSON gets it back as it was, layout, repeated keys and depth included.
#[test]
fn raw_json_passes_through_as_it_is() {
    let depth = 10_000;
    let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for json in [r#"{ "a" : 1.0e+2 , "a":[ ] }"#, "-0.000", deep.as_str()] {
        let payload = format!(
            r#"{{"type":"delegate/response","id":6,"result":{{"status":"ok","value":{{"type":"tool/result","result":{json}}}}}}}"#
        );
        let decoded: ClientMessage =
            decode(payload.as_bytes(), &AgreedCapabilities::none()).unwrap();
        let encoded = EncodedFrame::encode(&decoded, &AgreedCapabilities::none()).unwrap();
        assert_eq!(std::str::from_utf8(encoded.payload()).unwrap(), payload);
    }
}
