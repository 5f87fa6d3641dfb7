// SPDX-License-Identifier: Apache-2.0
//! The door: what passes with which agreement.

use std::time::Duration;

use code_mode_api::{CellStatus, SideEffects};

use super::*;
use crate::{
    ClientMessage, DecodeError, EncodeError, EncodedFrame, ErrorCode, HostMessage, Message,
    WireError, decode,
};

fn agreed(extensions: &[Extension]) -> AgreedCapabilities {
    let capabilities = extensions
        .iter()
        .map(|extension| extension.capability())
        .collect();
    AgreedCapabilities::new(CapabilitySet::new(capabilities).unwrap())
}

/// Checks that the payload passes both ways with `needed` alone, and neither way without it.
#[track_caller]
fn needs<M: Message + std::fmt::Debug>(payload: &str, needed: Extension) {
    let with = agreed(&[needed]);
    let message: M = decode(payload.as_bytes(), &with).unwrap();
    assert_eq!(
        EncodedFrame::encode(&message, &with).unwrap().payload(),
        payload.as_bytes()
    );

    let others: Vec<Extension> = Extension::ALL
        .into_iter()
        .filter(|extension| *extension != needed)
        .collect();
    for without in [AgreedCapabilities::none(), agreed(&others)] {
        let refused = decode::<M>(payload.as_bytes(), &without).unwrap_err();
        assert_eq!(refused, DecodeError::NotAgreed(needed));
        assert!(refused.to_string().contains(needed.name()), "{refused}");
        let refused = EncodedFrame::encode(&message, &without).unwrap_err();
        assert!(
            matches!(refused, EncodeError::NotAgreed(named) if named == needed),
            "{refused}"
        );
        assert!(refused.to_string().contains(needed.name()), "{refused}");
    }
}

fn execute_with(limits: &str) -> String {
    format!(
        r#"{{"type":"operation/request","id":2,"request":{{"method":"session/execute","sessionId":"s1","request":{{"tool_call_id":"c","enabled_tools":[],"source":"1","yield_time_ms":null,"max_output_tokens":null{limits}}}}}}}"#
    )
}

#[test]
fn limits_need_their_capability_even_if_empty() {
    let payload = execute_with(r#","limits":{"heap_bytes":1}"#);
    needs::<ClientMessage>(&payload, Extension::Limits);
    // Empty ones say nothing, so they are not written again.
    let payload = execute_with(r#","limits":{}"#);
    let refused = decode::<ClientMessage>(payload.as_bytes(), &AgreedCapabilities::none());
    assert_eq!(
        refused.err(),
        Some(DecodeError::NotAgreed(Extension::Limits))
    );
    let with = agreed(&[Extension::Limits]);
    let message: ClientMessage = decode(payload.as_bytes(), &with).unwrap();
    let frame = EncodedFrame::encode(&message, &AgreedCapabilities::none()).unwrap();
    assert_eq!(frame.payload(), execute_with("").as_bytes());
}

#[test]
fn globals_need_their_capability() {
    for globals in ["contract", "web"] {
        let payload = format!(
            r#"{{"type":"operation/request","id":2,"request":{{"method":"session/execute","sessionId":"s1","request":{{"tool_call_id":"c","enabled_tools":[],"source":"1","yield_time_ms":null,"max_output_tokens":null,"globals":"{globals}"}}}}}}"#
        );
        needs::<ClientMessage>(&payload, Extension::Globals);
    }
}

#[test]
fn exact_integers_need_their_capability() {
    for exact in [true, false] {
        let payload = execute_with(&format!(r#","exact_integers":{exact}"#));
        needs::<ClientMessage>(&payload, Extension::ExactIntegers);
    }
}

#[test]
fn stored_values_need_their_capability() {
    for request in [
        r#"{"method":"session/exportStore","sessionId":"s1"}"#,
        r#"{"method":"session/importStore","sessionId":"s1","values":{}}"#,
    ] {
        let payload = format!(r#"{{"type":"operation/request","id":1,"request":{request}}}"#);
        needs::<ClientMessage>(&payload, Extension::Store);
    }
    for value in [
        r#"{"type":"store/exported","values":{}}"#,
        r#"{"type":"store/imported"}"#,
    ] {
        let payload = format!(
            r#"{{"type":"operation/response","id":1,"result":{{"status":"ok","value":{value}}}}}"#
        );
        needs::<HostMessage>(&payload, Extension::Store);
    }
}

#[test]
fn a_list_of_cells_needs_its_capability() {
    let payload = r#"{"type":"operation/request","id":1,"request":{"method":"session/listCells","sessionId":"s1"}}"#;
    needs::<ClientMessage>(payload, Extension::Cells);
    for cells in [
        "",
        r#"{"cellId":"1","callId":"call-1","state":"running","ageMs":0,"outputBytes":7,"unreadBytes":3}"#,
        r#"{"cellId":"2","callId":"","state":"stopping","ageMs":1,"outputBytes":0,"unreadBytes":0},{"cellId":"3","callId":"c","state":"ended","ageMs":2,"outputBytes":0,"unreadBytes":0}"#,
    ] {
        let payload = format!(
            r#"{{"type":"operation/response","id":1,"result":{{"status":"ok","value":{{"type":"cells/listed","cells":[{cells}]}}}}}}"#
        );
        needs::<HostMessage>(&payload, Extension::Cells);
    }
}

#[test]
fn error_details_need_their_capability() {
    for message in ["operation/response", "execute/initialResponse"] {
        let payload = format!(
            r#"{{"type":"{message}","id":1,"result":{{"status":"error","message":"m","code":"missing-cell","side_effects":"none"}}}}"#
        );
        needs::<HostMessage>(&payload, Extension::Errors);
    }
}

#[test]
fn the_additions_of_the_public_host_need_their_capabilities() {
    for (message, needed) in [
        (
            r#"{"type":"operation/yield","id":2}"#,
            Extension::YieldObservation,
        ),
        (
            r#"{"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s","cellExecutionLimits":{}}}"#,
            Extension::CellExecutionLimits,
        ),
        (
            r#"{"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s","outputTruncation":"client"}}"#,
            Extension::BoundedOutput,
        ),
        (
            r#"{"type":"operation/request","id":1,"request":{"method":"session/wait","sessionId":"s","request":{"cell_id":"1","yield_time_ms":1},"maxOutputTokens":1}}"#,
            Extension::BoundedOutput,
        ),
        (
            r#"{"type":"operation/request","id":1,"request":{"method":"session/terminate","sessionId":"s","cellId":"1","maxOutputTokens":1}}"#,
            Extension::BoundedOutput,
        ),
        (
            r#"{"type":"operation/request","id":1,"request":{"method":"session/wait","sessionId":"s","request":{"cell_id":"1","yield_time_ms":1},"outputRange":{"offset":0,"maxBytes":1}}}"#,
            Extension::Output,
        ),
    ] {
        needs::<ClientMessage>(message, needed);
    }
    needs::<HostMessage>(
        r#"{"type":"operation/response","id":3,"result":{"status":"ok","value":{"type":"output/read","cellId":"1","offset":0,"totalBytes":1,"text":"a"}}}"#,
        Extension::Output,
    );
}

/// A client that leaves them out may write null.
#[test]
fn a_field_of_an_addition_that_is_null_needs_no_agreement() {
    let payload = br#"{"type":"operation/request","id":1,"request":{"method":"session/open","sessionId":"s","cellExecutionLimits":null,"outputTruncation":null}}"#;
    decode::<ClientMessage>(payload, &AgreedCapabilities::none()).unwrap();
}

#[test]
fn an_error_loses_its_details_unless_they_were_agreed() {
    let code = ErrorCode::new("limit/active-cells").unwrap();
    let plain = WireError::new("m");
    let detailed = plain.clone().with_details(code, SideEffects::None);
    assert_eq!(
        detailed.clone().as_agreed(&agreed(&[Extension::Errors])),
        detailed
    );
    let others = agreed(&[Extension::Limits, Extension::Store]);
    assert_eq!(detailed.as_agreed(&others), plain);
}

#[test]
fn an_unknown_capability_is_kept_and_allows_nothing() {
    let unknown = Capability::new("x").unwrap();
    let agreed = AgreedCapabilities::new(CapabilitySet::new(vec![unknown.clone()]).unwrap());
    assert_eq!(agreed.as_set().as_slice(), [unknown]);
    for extension in Extension::ALL {
        assert!(!agreed.has(extension));
    }
}

#[test]
fn every_extension_has_a_capability_of_its_name() {
    for extension in Extension::ALL {
        assert_eq!(extension.capability().as_str(), extension.name());
        assert!(agreed(&[extension]).has(extension));
    }
    assert_eq!(
        Extension::all_capabilities().as_slice().len(),
        Extension::ALL.len()
    );
}

/// The tolerated timings are no extension: any host may send them.
#[test]
fn timings_need_no_agreement() {
    let payload = br#"{"type":"execute/initialResponse","id":2,"result":{"status":"ok","value":{"Yielded":{"cell_id":"1","content_items":[],"code_mode_host_duration_ns":5,"result_buffered_for_ns":null}}}}"#;
    let decoded: HostMessage = decode(payload, &AgreedCapabilities::none()).unwrap();
    let HostMessage::ExecuteInitialResponse {
        result: Ok(response),
        ..
    } = decoded
    else {
        panic!("{decoded:?}");
    };
    assert_eq!(response.status, CellStatus::Yielded);
    let host_duration = Some(Duration::from_nanos(5));
    assert_eq!(response.timings.host_duration, host_duration);
    assert_eq!(response.timings.result_buffered_for, None);
}
