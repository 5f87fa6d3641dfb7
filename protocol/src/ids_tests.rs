// SPDX-License-Identifier: Apache-2.0
//! Construction of identifiers; what decoding refuses is in `tests/refusals.rs`.

use super::*;

fn version(number: u64) -> ProtocolVersion {
    ProtocolVersion::new(number).unwrap()
}

fn capability(name: &str) -> Capability {
    Capability::new(name).unwrap()
}

#[test]
fn a_version_is_one_or_more() {
    assert_eq!(ProtocolVersion::new(0), Err(InvalidValue::VersionZero));
    assert_eq!(version(1), ProtocolVersion::V1);
    assert_eq!(version(u64::MAX).get(), u64::MAX);
}

#[test]
fn a_list_of_versions_has_an_entry_and_no_duplicate() {
    assert_eq!(
        SupportedVersions::new(Vec::new()),
        Err(InvalidValue::NoVersions)
    );
    let twice = vec![version(2), version(1), version(2)];
    assert_eq!(
        SupportedVersions::new(twice),
        Err(InvalidValue::DuplicateVersion(version(2)))
    );
    let list = SupportedVersions::new(vec![version(2), version(1)]).unwrap();
    assert_eq!(list.as_slice(), [version(2), version(1)]);
    assert!(list.contains(ProtocolVersion::V1) && !list.contains(version(3)));
}

#[test]
fn a_capability_is_not_blank() {
    for blank in ["", " ", "\t\r\n", "\u{3000}"] {
        assert_eq!(Capability::new(blank), Err(InvalidValue::BlankCapability));
    }
    // White space around a name belongs to it: `x` and ` x` are two capabilities.
    assert_eq!(capability(" x").as_str(), " x");
    assert_ne!(capability(" x"), capability("x"));
}

#[test]
fn a_set_of_capabilities_has_no_duplicate() {
    let twice = vec![capability("a"), capability("b"), capability("b")];
    let expected = InvalidValue::DuplicateCapability(capability("b"));
    assert_eq!(CapabilitySet::new(twice), Err(expected));
    assert!(CapabilitySet::empty().is_empty());
}

#[test]
fn errors_repeat_little_of_a_long_value() {
    let long = capability(&"x".repeat(1_000));
    for error in [
        InvalidValue::DuplicateCapability(long.clone()),
        InvalidValue::OverlappingCapability(long),
        InvalidValue::MalformedErrorCode("x".repeat(1_000)),
    ] {
        let text = error.to_string();
        assert!(text.len() < 250, "{text}");
        assert!(
            text.contains(&"x".repeat(crate::quote::MAX_QUOTED_BYTES)),
            "{text}"
        );
    }
}
