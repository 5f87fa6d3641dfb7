// SPDX-License-Identifier: Apache-2.0
//! Properties of arbitrary messages and of arbitrary ways in which their bytes arrive.

mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use code_mode_api::{
    CellId, CellLimits, CellResponse, CellState, CellStatus, CellSummary, CellTimings, ContentItem,
    ExecuteRequest, Globals, ImageDetail, Notification, RawJson, SessionId, SideEffects,
    ToolDefinition, ToolError, ToolInvocation, ToolKind, ToolName, WaitRequest,
};
use code_mode_protocol::*;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use support::{Pieces, block_on};

fn agreed() -> AgreedCapabilities {
    AgreedCapabilities::new(Extension::all_capabilities())
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            btree_map(text(), inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Raw JSON, with and without white space between its parts.
fn raw() -> impl Strategy<Value = RawJson> {
    (json(), any::<bool>()).prop_map(|(json, pretty)| {
        let text = if pretty {
            format!("{json:#}")
        } else {
            json.to_string()
        };
        serde_json::value::RawValue::from_string(text).unwrap()
    })
}

fn session() -> impl Strategy<Value = SessionId> {
    text().prop_map(|text| SessionId::new(format!("s{text}")).unwrap())
}

fn cell() -> impl Strategy<Value = CellId> {
    text().prop_map(|text| CellId::new(format!("{text}1")))
}

fn request_id() -> impl Strategy<Value = RequestId> {
    any::<i64>().prop_map(RequestId::new)
}

fn delegate_id() -> impl Strategy<Value = DelegateRequestId> {
    any::<i64>().prop_map(DelegateRequestId::new)
}

fn versions() -> impl Strategy<Value = SupportedVersions> {
    btree_set(1..u64::MAX, 1..4).prop_map(|versions| {
        let versions = versions
            .into_iter()
            .map(|version| ProtocolVersion::new(version).unwrap());
        SupportedVersions::new(versions.collect()).unwrap()
    })
}

/// Disjoint sets of capabilities.
fn capability_sets() -> impl Strategy<Value = (CapabilitySet, CapabilitySet)> {
    (btree_set(text(), 0..5), any::<prop::sample::Index>()).prop_map(|(names, cut)| {
        let all = names
            .iter()
            .map(|name| Capability::new(format!("c{name}")).unwrap());
        let mut required: Vec<_> = all.collect();
        let optional = required.split_off(cut.index(required.len() + 1));
        (
            CapabilitySet::new(required).unwrap(),
            CapabilitySet::new(optional).unwrap(),
        )
    })
}

fn tool_name() -> impl Strategy<Value = ToolName> {
    (text(), option::of(text())).prop_map(|(name, namespace)| ToolName { name, namespace })
}

fn tool_kind() -> impl Strategy<Value = ToolKind> {
    prop_oneof![Just(ToolKind::Function), Just(ToolKind::Freeform)]
}

fn tool() -> impl Strategy<Value = ToolDefinition> {
    (
        text(),
        tool_name(),
        text(),
        tool_kind(),
        option::of(raw()),
        option::of(raw()),
    )
        .prop_map(
            |(name, tool_name, description, kind, input_schema, output_schema)| {
                // A schema that is JSON null is the same as none.
                let schema =
                    |schema: Option<RawJson>| schema.filter(|schema| schema.get() != "null");
                let [input_schema, output_schema] = [schema(input_schema), schema(output_schema)];
                ToolDefinition {
                    name,
                    tool_name,
                    description,
                    kind,
                    input_schema,
                    output_schema,
                }
            },
        )
}

fn milliseconds() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn limits() -> impl Strategy<Value = CellLimits> {
    let times = (option::of(milliseconds()), option::of(milliseconds()));
    (vec(option::of(any::<u64>()), 7), times).prop_map(|(limits, (cpu_time, wall_time))| {
        CellLimits {
            heap_bytes: limits[0],
            external_bytes: limits[1],
            cpu_time,
            wall_time,
            output_bytes: limits[2],
            output_items: limits[3],
            open_tool_calls: limits[4],
            total_tool_calls: limits[5],
            timers: limits[6],
        }
    })
}

fn execute() -> impl Strategy<Value = ExecuteRequest> {
    (
        text(),
        vec(tool(), 0..3),
        text(),
        option::of(milliseconds()),
        option::of(0..=MAX_OUTPUT_TOKENS),
        option::of(limits()),
        option::of(prop_oneof![Just(Globals::Contract), Just(Globals::Web)]),
        option::of(any::<bool>()),
    )
        .prop_map(
            |(exec_call_id, tools, source, yield_time, tokens, limits, globals, exact)| {
                ExecuteRequest {
                    exec_call_id,
                    tools: tools.into(),
                    source,
                    yield_time,
                    max_output_tokens: tokens,
                    limits: limits.unwrap_or_default(),
                    globals,
                    exact_integers: exact,
                }
            },
        )
}

fn values() -> impl Strategy<Value = BTreeMap<String, RawJson>> {
    btree_map(text(), raw(), 0..4)
}

fn execution_limits() -> impl Strategy<Value = CellExecutionLimits> {
    (option::of(any::<u64>()), option::of(any::<u64>())).prop_map(
        |(max_yield_time_ms, max_heap_size_bytes)| CellExecutionLimits {
            max_yield_time_ms,
            max_heap_size_bytes,
        },
    )
}

fn truncation() -> impl Strategy<Value = OutputTruncation> {
    prop_oneof![
        Just(OutputTruncation::Client),
        Just(OutputTruncation::Server)
    ]
}

fn output_range() -> impl Strategy<Value = OutputRange> {
    (any::<u64>(), any::<u64>()).prop_map(|(offset, max_bytes)| OutputRange { offset, max_bytes })
}

fn operation_request() -> impl Strategy<Value = OperationRequest> {
    prop_oneof![
        (
            session(),
            option::of(execution_limits()),
            option::of(truncation())
        )
            .prop_map(|(session_id, cell_execution_limits, output_truncation)| {
                OperationRequest::Open {
                    session_id,
                    cell_execution_limits,
                    output_truncation,
                }
            }),
        (session(), execute()).prop_map(|(session_id, request)| OperationRequest::Execute {
            session_id,
            request,
            encoded_tools: None,
        }),
        (
            session(),
            cell(),
            option::of(milliseconds()),
            option::of(any::<u64>()),
            option::of(output_range())
        )
            .prop_map(
                |(session_id, cell_id, yield_time, max_output_tokens, output_range)| {
                    let request = WaitRequest {
                        cell_id,
                        yield_time,
                    };
                    OperationRequest::Wait {
                        session_id,
                        request,
                        max_output_tokens,
                        output_range,
                    }
                }
            ),
        (session(), cell(), option::of(any::<u64>())).prop_map(
            |(session_id, cell_id, max_output_tokens)| OperationRequest::Terminate {
                session_id,
                cell_id,
                max_output_tokens,
            }
        ),
        session().prop_map(|session_id| OperationRequest::Shutdown { session_id }),
        session().prop_map(|session_id| OperationRequest::ListCells { session_id }),
        session().prop_map(|session_id| OperationRequest::ExportStore { session_id }),
        (session(), values())
            .prop_map(|(session_id, values)| OperationRequest::ImportStore { session_id, values }),
    ]
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let delegate_result = prop_oneof![
        raw().prop_map(|result| Ok(DelegateValue::ToolResult { result })),
        Just(Ok(DelegateValue::NotificationDelivered {})),
        text().prop_map(|message| Err(ToolError { message })),
    ];
    prop_oneof![
        (versions(), capability_sets()).prop_map(|(versions, (required, optional))| {
            ClientMessage::Hello(ClientHello::new(versions, required, optional).unwrap())
        }),
        (request_id(), operation_request())
            .prop_map(|(id, request)| ClientMessage::OperationRequest { id, request }),
        request_id().prop_map(|id| ClientMessage::OperationCancel { id }),
        request_id().prop_map(|id| ClientMessage::OperationYield { id }),
        (delegate_id(), delegate_result)
            .prop_map(|(id, result)| ClientMessage::DelegateResponse { id, result }),
    ]
}

fn content_item() -> impl Strategy<Value = ContentItem> {
    let detail = prop_oneof![
        Just(ImageDetail::Auto),
        Just(ImageDetail::Low),
        Just(ImageDetail::High),
        Just(ImageDetail::Original),
    ];
    prop_oneof![
        text().prop_map(ContentItem::Text),
        (text(), option::of(detail))
            .prop_map(|(image_url, detail)| ContentItem::Image { image_url, detail }),
        text().prop_map(|audio_url| ContentItem::Audio { audio_url }),
    ]
}

fn cell_response() -> impl Strategy<Value = CellResponse> {
    let time = || option::of(any::<u64>().prop_map(Duration::from_nanos));
    let timings = (time(), time()).prop_map(|(host_duration, result_buffered_for)| CellTimings {
        host_duration,
        result_buffered_for,
    });
    let status = prop_oneof![
        option::of(text()).prop_map(|error_text| CellStatus::Completed { error_text }),
        Just(CellStatus::Yielded),
        Just(CellStatus::Terminated),
    ];
    (cell(), status, vec(content_item(), 0..4), timings).prop_map(
        |(cell_id, status, content_items, timings)| CellResponse {
            cell_id,
            status,
            content_items,
            timings,
            state_lost: None,
        },
    )
}

fn wire_error() -> impl Strategy<Value = WireError> {
    let side_effects = prop_oneof![Just(SideEffects::None), Just(SideEffects::Possible)];
    let details = ("[a-z0-9]{1,8}([-/][a-z0-9]{1,8}){0,3}", side_effects);
    (text(), option::of(details)).prop_map(|(message, details)| match details {
        Some((code, side_effects)) => {
            WireError::new(message).with_details(ErrorCode::new(code).unwrap(), side_effects)
        }
        None => WireError::new(message),
    })
}

fn cell_summary() -> impl Strategy<Value = CellSummary> {
    let states = vec![CellState::Running, CellState::Stopping, CellState::Ended];
    (
        cell(),
        text(),
        select(states),
        milliseconds(),
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(
            |(cell_id, exec_call_id, state, age, output_bytes, unread_bytes)| CellSummary {
                cell_id,
                exec_call_id,
                state,
                age,
                output_bytes,
                unread_bytes,
            },
        )
}

fn operation_value() -> impl Strategy<Value = OperationValue> {
    prop_oneof![
        session().prop_map(|session_id| OperationValue::SessionReady { session_id }),
        cell().prop_map(|cell_id| OperationValue::ExecutionStarted { cell_id }),
        (cell_response(), any::<bool>()).prop_map(|(response, live)| {
            let outcome = if live {
                WaitOutcome::LiveCell(response)
            } else {
                WaitOutcome::MissingCell(response)
            };
            OperationValue::WaitCompleted { outcome }
        }),
        session().prop_map(|session_id| OperationValue::SessionClosed { session_id }),
        values().prop_map(|values| OperationValue::StoreExported { values }),
        Just(OperationValue::StoreImported {}),
        vec(cell_summary(), 0..3).prop_map(|cells| OperationValue::CellsListed { cells }),
        (cell(), any::<u64>(), any::<u64>(), text()).prop_map(
            |(cell_id, offset, total_bytes, text)| OperationValue::OutputRead {
                cell_id,
                offset,
                total_bytes,
                text,
            }
        ),
    ]
}

fn delegate_request() -> impl Strategy<Value = DelegateRequest> {
    prop_oneof![
        (session(), cell(), text(), tool_name(), tool_kind(), raw()).prop_map(
            |(session_id, cell_id, call_id, tool_name, tool_kind, input)| {
                DelegateRequest::ToolInvoke {
                    invocation: ToolInvocation {
                        session_id,
                        cell_id,
                        call_id,
                        exec_call_id: String::new(),
                        tool_name,
                        tool_kind,
                        input,
                    },
                }
            }
        ),
        (session(), cell(), text(), text()).prop_map(
            |(session_id, cell_id, exec_call_id, text)| {
                DelegateRequest::NotificationSend {
                    notification: Notification {
                        session_id,
                        cell_id,
                        exec_call_id,
                        text,
                    },
                }
            }
        ),
    ]
}

fn host_message() -> impl Strategy<Value = HostMessage> {
    let reason = prop_oneof![
        versions().prop_map(|supported_versions| RejectReason::NoCompatibleVersion {
            supported_versions
        }),
        text().prop_map(|text| RejectReason::MissingRequiredCapability {
            capability: Capability::new(format!("c{text}")).unwrap(),
        }),
        text().prop_map(|message| RejectReason::InvalidHello { message }),
    ];
    prop_oneof![
        (1..u64::MAX, capability_sets()).prop_map(|(version, (capabilities, _))| {
            let selected_version = ProtocolVersion::new(version).unwrap();
            HostMessage::Ready {
                selected_version,
                capabilities,
            }
        }),
        reason.prop_map(|reason| HostMessage::Rejected { reason }),
        (
            request_id(),
            prop_oneof![operation_value().prop_map(Ok), wire_error().prop_map(Err)]
        )
            .prop_map(|(id, result)| HostMessage::OperationResponse { id, result }),
        (
            request_id(),
            prop_oneof![cell_response().prop_map(Ok), wire_error().prop_map(Err)]
        )
            .prop_map(|(id, result)| HostMessage::ExecuteInitialResponse { id, result }),
        (delegate_id(), delegate_request())
            .prop_map(|(id, request)| HostMessage::DelegateRequest { id, request }),
        delegate_id().prop_map(|id| HostMessage::DelegateCancel { id }),
        (session(), cell()).prop_map(|(session_id, cell_id)| HostMessage::CellClosed {
            session_id,
            cell_id
        }),
    ]
}

/// Encodes messages into one stream, reads it in pieces, and compares what comes out.
fn check_stream<M: Message + Debug>(messages: &[M], sizes: &[usize]) -> Result<(), TestCaseError> {
    let frames: Vec<EncodedFrame> = messages
        .iter()
        .map(|message| EncodedFrame::encode(message, &agreed()).unwrap())
        .collect();
    let stream: Vec<u8> = frames
        .iter()
        .flat_map(|frame| frame.as_bytes())
        .copied()
        .collect();
    let mut reader = FrameReader::new(Pieces::new(&stream, sizes));
    for (message, frame) in messages.iter().zip(&frames) {
        let decoded: M = block_on(reader.next_message(&agreed())).unwrap().unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{message:?}"));
        prop_assert_eq!(&EncodedFrame::encode(&decoded, &agreed()).unwrap(), frame);
    }
    prop_assert!(block_on(reader.next_payload()).unwrap().is_none());
    Ok(())
}

/// Cuts a frame at every byte: an end before it is clean, and one inside it is an error.
fn check_truncation<M: Message>(message: &M) -> Result<(), TestCaseError> {
    let frame = EncodedFrame::encode(message, &agreed()).unwrap();
    let bytes = frame.as_bytes();
    for cut in 0..bytes.len() {
        let mut reader = FrameReader::new(Pieces::new(&bytes[..cut], &[7]));
        match (cut, block_on(reader.next_payload())) {
            (0, Ok(None)) => {}
            (1.., Err(ReadError::Truncated { received, expected })) => {
                prop_assert_eq!(received, cut);
                prop_assert_eq!(expected, (cut >= 4).then_some(bytes.len()));
            }
            (_, other) => prop_assert!(false, "cut at {cut}: {other:?}"),
        }
        // A payload that is cut, with a length that fits it, is no message either.
        let payload = &frame.payload()[..cut.min(frame.payload().len() - 1)];
        prop_assert!(decode::<M>(payload, &agreed()).is_err());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn client_messages_survive_the_wire_in_any_pieces(
        messages in vec(client_message(), 0..4),
        sizes in vec(1_usize..200, 0..5),
    ) {
        check_stream(&messages, &sizes)?;
    }

    #[test]
    fn host_messages_survive_the_wire_in_any_pieces(
        messages in vec(host_message(), 0..4),
        sizes in vec(1_usize..200, 0..5),
    ) {
        check_stream(&messages, &sizes)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_client_message_cut_at_any_byte_is_no_message(message in client_message()) {
        check_truncation(&message)?;
    }

    #[test]
    fn a_host_message_cut_at_any_byte_is_no_message(message in host_message()) {
        check_truncation(&message)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    /// The door holds for every message: without an agreement it is either plain V1 or refused,
    /// by the encoder and by the decoder alike.
    #[test]
    fn without_an_agreement_only_plain_messages_pass(
        client in client_message(),
        host in host_message(),
    ) {
        check_door(&client)?;
        check_door(&host)?;
    }
}

fn check_door<M: Message>(message: &M) -> Result<(), TestCaseError> {
    let frame = EncodedFrame::encode(message, &agreed()).unwrap();
    let none = AgreedCapabilities::none();
    match (
        EncodedFrame::encode(message, &none),
        decode::<M>(frame.payload(), &none),
    ) {
        (Ok(plain), Ok(_)) => prop_assert_eq!(plain, frame),
        (Err(EncodeError::NotAgreed(sent)), Err(DecodeError::NotAgreed(received))) => {
            prop_assert_eq!(sent, received);
        }
        (sent, received) => {
            prop_assert!(
                false,
                "{sent:?} does not fit {:?}",
                received.map(|_| "accepted")
            );
        }
    }
    Ok(())
}
