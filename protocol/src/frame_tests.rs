// SPDX-License-Identifier: Apache-2.0
//! Encoding: the header, the cap, and what a frame keeps in memory.

use code_mode_api::{CellId, ExecuteRequest, RawJson, SessionId, ToolError};

use super::*;
use crate::{
    ClientMessage, DelegateRequestId, DelegateValue, HostMessage, InvalidValue, MAX_OUTPUT_TOKENS,
    OperationRequest, RequestId,
};

fn none() -> AgreedCapabilities {
    AgreedCapabilities::none()
}

fn failure(message: String) -> ClientMessage {
    let result = Err(ToolError { message });
    ClientMessage::DelegateResponse {
        id: DelegateRequestId::new(1),
        result,
    }
}

fn tool_result(json: String) -> ClientMessage {
    let result: RawJson = serde_json::value::RawValue::from_string(json).unwrap();
    let result = Ok(DelegateValue::ToolResult { result });
    ClientMessage::DelegateResponse {
        id: DelegateRequestId::new(1),
        result,
    }
}

/// Bytes of a failure's payload around its message.
fn overhead() -> usize {
    EncodedFrame::encode(&failure(String::new()), &none())
        .unwrap()
        .payload()
        .len()
}

#[test]
fn a_frame_is_a_little_endian_length_and_the_payload() {
    let cancel = ClientMessage::OperationCancel {
        id: RequestId::new(7),
    };
    let frame = EncodedFrame::encode(&cancel, &none()).unwrap();
    let payload = br#"{"type":"operation/cancel","id":7}"#;
    assert_eq!(frame.payload(), payload);
    assert_eq!(
        frame.as_bytes(),
        [&[34, 0, 0, 0], payload.as_slice()].concat()
    );
    assert_eq!(frame.wire_bytes(), payload.len() + 4);
    // A length of more than one byte shows the order.
    let frame = EncodedFrame::encode(&failure("a".repeat(0x0001_0000)), &none()).unwrap();
    let length = u32::try_from(frame.payload().len()).unwrap();
    assert_eq!(frame.as_bytes()[..4], length.to_le_bytes());
}

#[test]
fn a_payload_of_exactly_the_cap_is_encoded() {
    let frame =
        EncodedFrame::encode(&failure("a".repeat(MAX_FRAME_BYTES - overhead())), &none()).unwrap();
    assert_eq!(frame.payload().len(), MAX_FRAME_BYTES);
}

#[test]
fn a_payload_of_one_byte_over_the_cap_is_refused_with_its_size() {
    let message = failure("a".repeat(MAX_FRAME_BYTES - overhead() + 1));
    let error = EncodedFrame::encode(&message, &none()).unwrap_err();
    let EncodeError::TooLong { at_least, maximum } = error else {
        panic!("{error}")
    };
    assert_eq!((at_least, maximum), (MAX_FRAME_BYTES + 1, MAX_FRAME_BYTES));
}

/// Texts that are over the cap by themselves are refused before a byte is written.
#[test]
fn texts_over_the_cap_are_refused_with_their_size() {
    let json = format!("\"{}\"", "a".repeat(MAX_FRAME_BYTES));
    let error = EncodedFrame::encode(&tool_result(json), &none()).unwrap_err();
    let EncodeError::TooLong { at_least, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(at_least, MAX_FRAME_BYTES + 2);
}

/// Escapes make a text longer than it was; the encoder stops where the cap is reached.
#[test]
fn encoding_stops_when_escapes_exceed_the_cap() {
    let maximum = 1_000;
    let message = failure("\u{1}".repeat(900));
    let error = EncodedFrame::encode_within(&message, &none(), maximum).unwrap_err();
    let EncodeError::TooLong {
        at_least,
        maximum: named,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(named, maximum);
    assert!(at_least > maximum && at_least <= maximum + 6, "{at_least}");
    let escaped = overhead() + 6 * 900;
    assert!(EncodedFrame::encode_within(&message, &none(), escaped).is_ok());
    assert!(EncodedFrame::encode_within(&message, &none(), escaped - 1).is_err());
}

#[test]
fn a_frame_holds_little_more_memory_than_its_bytes() {
    for message in [
        failure("a".repeat(1_000_000)),
        failure("\n".repeat(1_000_000)),
        tool_result(format!("\"{}\"", "a".repeat(1_000_000))),
    ] {
        let frame = EncodedFrame::encode(&message, &none()).unwrap();
        assert!(frame.bytes.capacity() <= frame.wire_bytes() + MAX_UNUSED_BYTES);
    }
}

#[test]
fn the_size_known_in_advance_is_never_too_large() {
    let texts = ["", "a", "\"\\\n\u{1}é😀"];
    for text in texts {
        let message = failure(text.to_owned());
        let frame = EncodedFrame::encode(&message, &none()).unwrap();
        assert!(message.least_bytes() <= frame.payload().len());
    }
}

#[test]
fn what_the_interface_can_hold_and_the_wire_cannot_is_refused() {
    let operation = |request| ClientMessage::OperationRequest {
        id: RequestId::new(1),
        request,
    };
    let session_id = SessionId::new("s").unwrap();
    let mut request = ExecuteRequest::new("1");
    request.max_output_tokens = Some(MAX_OUTPUT_TOKENS + 1);
    let execute = operation(OperationRequest::Execute {
        session_id: session_id.clone(),
        request,
        encoded_tools: None,
    });
    let terminate = operation(OperationRequest::Terminate {
        session_id: session_id.clone(),
        cell_id: CellId::new(""),
        max_output_tokens: None,
    });
    for (message, expected) in [
        (execute, InvalidValue::TooManyOutputTokens(1 << 31)),
        (terminate, InvalidValue::EmptyCellId),
    ] {
        match EncodedFrame::encode(&message, &none()) {
            Err(EncodeError::Invalid(invalid)) => assert_eq!(invalid, expected),
            other => panic!("{other:?}"),
        }
    }
    let closed = HostMessage::CellClosed {
        session_id,
        cell_id: CellId::new(""),
    };
    let refused = EncodedFrame::encode(&closed, &none());
    assert!(matches!(refused, Err(EncodeError::Invalid(_))));
}
