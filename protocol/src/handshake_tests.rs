// SPDX-License-Identifier: Apache-2.0
//! Negotiation, as tables of what both sides list.

use super::*;
use crate::InvalidValue;

fn capabilities(names: &[&str]) -> CapabilitySet {
    CapabilitySet::new(
        names
            .iter()
            .map(|name| Capability::new(name).unwrap())
            .collect(),
    )
    .unwrap()
}

fn versions(numbers: &[u64]) -> SupportedVersions {
    let numbers = numbers
        .iter()
        .map(|number| ProtocolVersion::new(*number).unwrap());
    SupportedVersions::new(numbers.collect()).unwrap()
}

fn hello(numbers: &[u64], required: &[&str], optional: &[&str]) -> ClientHello {
    ClientHello::new(
        versions(numbers),
        capabilities(required),
        capabilities(optional),
    )
    .unwrap()
}

fn offer(numbers: &[u64], names: &[&str]) -> HostOffer {
    HostOffer {
        versions: versions(numbers),
        capabilities: capabilities(names),
    }
}

#[track_caller]
fn check(hello: &ClientHello, offer: &HostOffer, version: u64, agreed: &[&str]) {
    let agreement = negotiate(hello, offer).unwrap();
    assert_eq!(agreement.version.get(), version);
    assert_eq!(agreement.capabilities.as_set(), &capabilities(agreed));
    // The client takes what the host answers.
    let HostMessage::Ready {
        selected_version,
        capabilities,
    } = agreement.to_ready()
    else {
        panic!("an agreement is answered with ready");
    };
    assert_eq!(
        accept_ready(hello, selected_version, capabilities),
        Ok(agreement)
    );
}

#[test]
fn the_highest_common_version_is_selected() {
    check(&hello(&[1], &[], &[]), &offer(&[1], &[]), 1, &[]);
    check(&hello(&[1, 2, 3], &[], &[]), &offer(&[2, 1], &[]), 2, &[]);
    check(&hello(&[7, 1, 9], &[], &[]), &offer(&[1, 7], &[]), 7, &[]);
}

#[test]
fn the_common_capabilities_are_agreed_in_the_clients_order() {
    check(&hello(&[1], &[], &["x"]), &offer(&[1], &[]), 1, &[]);
    check(&hello(&[1], &[], &[]), &offer(&[1], &["x"]), 1, &[]);
    check(
        &hello(&[1], &["c", "a"], &["z", "b"]),
        &offer(&[1], &["a", "b", "c", "d"]),
        1,
        &["c", "a", "b"],
    );
}

#[test]
fn without_a_common_version_the_host_names_its_own() {
    let rejected = negotiate(&hello(&[2, 3], &["x"], &[]), &offer(&[1, 4], &[])).unwrap_err();
    let supported_versions = versions(&[1, 4]);
    assert_eq!(
        rejected,
        RejectReason::NoCompatibleVersion { supported_versions }
    );
}

#[test]
fn the_first_missing_required_capability_is_named() {
    let rejected = negotiate(&hello(&[1], &["a", "b", "c"], &[]), &offer(&[1], &["a"]));
    let capability = Capability::new("b").unwrap();
    assert_eq!(
        rejected,
        Err(RejectReason::MissingRequiredCapability { capability })
    );
}

#[test]
fn required_and_optional_capabilities_are_disjoint() {
    let both = ClientHello::new(
        versions(&[1]),
        capabilities(&["a"]),
        capabilities(&["b", "a"]),
    );
    assert_eq!(
        both,
        Err(InvalidValue::OverlappingCapability(
            Capability::new("a").unwrap()
        ))
    );
}

#[test]
fn a_client_refuses_a_version_that_it_did_not_offer() {
    let version = ProtocolVersion::new(2).unwrap();
    let refused = accept_ready(&hello(&[1], &[], &[]), version, CapabilitySet::empty());
    assert_eq!(refused, Err(ReadyError::VersionNotOffered(version)));
}

#[test]
fn a_client_refuses_a_capability_that_it_did_not_offer() {
    let hello = hello(&[1], &["a"], &["b"]);
    let refused = accept_ready(&hello, ProtocolVersion::V1, capabilities(&["a", "c"]));
    assert_eq!(
        refused,
        Err(ReadyError::CapabilityNotOffered(
            Capability::new("c").unwrap()
        ))
    );
}

#[test]
fn a_client_refuses_an_answer_without_what_it_requires() {
    let hello = hello(&[1], &["a"], &["b"]);
    let refused = accept_ready(&hello, ProtocolVersion::V1, capabilities(&["b"]));
    assert_eq!(
        refused,
        Err(ReadyError::RequiredCapabilityMissing(
            Capability::new("a").unwrap()
        ))
    );
}

#[test]
fn a_hello_is_decoded() {
    let payload = br#"{"type":"connection/hello","supportedVersions":[1],"requiredCapabilities":["a"],"optionalCapabilities":["b"]}"#;
    assert_eq!(decode_hello(payload).unwrap(), hello(&[1], &["a"], &["b"]));
}

/// What calls itself a hello gets a rejection that says what is wrong with it.
#[test]
fn an_invalid_hello_is_answered() {
    for (payload, expected) in [
        (
            r#"{"type":"connection/hello","supportedVersions":[],"requiredCapabilities":[],"optionalCapabilities":[]}"#,
            "must not be empty",
        ),
        (
            r#"{"type":"connection/hello","supportedVersions":[1],"requiredCapabilities":[""],"optionalCapabilities":[]}"#,
            "must not be blank",
        ),
        (
            r#"{"type":"connection/hello","supportedVersions":[1],"requiredCapabilities":[]}"#,
            "missing field `optionalCapabilities`",
        ),
        (
            r#"{"extra":{"deep":[1]},"type":"connection/hello","supportedVersions":[1],"requiredCapabilities":[],"optionalCapabilities":[]}"#,
            "unknown field \"extra\"",
        ),
    ] {
        let error = decode_hello(payload.as_bytes()).unwrap_err();
        let HelloError::Invalid(RejectReason::InvalidHello { message }) = error else {
            panic!("{error:?}");
        };
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn another_first_message_is_a_violation() {
    let error = decode_hello(br#"{"type":"operation/cancel","id":1}"#).unwrap_err();
    assert!(matches!(error, HelloError::NotHello), "{error:?}");
    // So is one that uses an extension: nothing has been agreed yet.
    let payload = br#"{"type":"operation/request","id":1,"request":{"method":"session/exportStore","sessionId":"s"}}"#;
    let error = decode_hello(payload).unwrap_err();
    assert!(matches!(error, HelloError::NotHello), "{error:?}");
}

#[test]
fn a_first_frame_that_is_no_message_is_a_violation() {
    for payload in [
        b"".as_slice(),
        b"{}",
        b"hello",
        br#"{"type":"connection/hi"}"#,
        br#"{"type":"connection/hello"#,
        b"\xff{\"type\":\"connection/hello\"}",
    ] {
        let error = decode_hello(payload).unwrap_err();
        assert!(matches!(error, HelloError::Malformed(_)), "{error:?}");
    }
}
