// SPDX-License-Identifier: Apache-2.0
//! Versions, capabilities and the numbers of requests.
//!
//! Rules from the wire contract, section *Identifiers*. An invalid value can neither be built nor
//! decoded, so no other part of the system checks them again. The identifiers of sessions and cells
//! are the interface's ([`code_mode_api`]).

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::number::MAX_OUTPUT_TOKENS;
use crate::quote::quotable;

/// Why a version, capability or identifier was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValue {
    /// A protocol version of 0.
    #[error("a protocol version must be 1 or more")]
    VersionZero,
    /// A list of supported versions without an entry.
    #[error("the list of supported versions must not be empty")]
    NoVersions,
    /// A list of supported versions that names one twice.
    #[error("protocol version {0} is listed twice")]
    DuplicateVersion(ProtocolVersion),
    /// A capability that is empty or white space only.
    #[error("a capability must not be blank")]
    BlankCapability,
    /// A set of capabilities that names one twice.
    #[error("capability {:?} is listed twice", quotable(.0.as_str()))]
    DuplicateCapability(Capability),
    /// A capability that is required and optional at the same time.
    #[error("capability {:?} is both required and optional", quotable(.0.as_str()))]
    OverlappingCapability(Capability),
    /// A session id without a character.
    #[error("a session id must not be empty")]
    EmptySessionId,
    /// A cell id without a character.
    #[error("a cell id must not be empty")]
    EmptyCellId,
    /// More output tokens than the contract allows to ask for.
    #[error("max_output_tokens must be 0 to {MAX_OUTPUT_TOKENS}, not {0}")]
    TooManyOutputTokens(u32),
    /// An error code that is not kebab-case segments divided by slashes.
    #[error("{:?} is not an error code: use kebab-case segments divided by slashes, such as limit/active-cells", quotable(.0))]
    MalformedErrorCode(String),
}

/// A version of the wire protocol: an integer, 1 or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ProtocolVersion(NonZeroU64);

impl ProtocolVersion {
    /// The version that this crate implements.
    pub const V1: Self = Self(NonZeroU64::MIN);

    /// Takes a version number.
    ///
    /// # Errors
    /// When it is 0.
    pub fn new(version: u64) -> Result<Self, InvalidValue> {
        NonZeroU64::new(version)
            .map(Self)
            .ok_or(InvalidValue::VersionZero)
    }

    /// The version as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for ProtocolVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The versions that a side can speak: at least one, none twice, in the order of its list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SupportedVersions(Vec<ProtocolVersion>);

impl SupportedVersions {
    /// Takes a list of versions.
    ///
    /// # Errors
    /// When it is empty or names a version twice.
    pub fn new(versions: Vec<ProtocolVersion>) -> Result<Self, InvalidValue> {
        if versions.is_empty() {
            return Err(InvalidValue::NoVersions);
        }
        match first_duplicate(&versions) {
            Some(duplicate) => Err(InvalidValue::DuplicateVersion(*duplicate)),
            None => Ok(Self(versions)),
        }
    }

    /// The list `[1]`: what this crate implements.
    pub fn v1() -> Self {
        Self(vec![ProtocolVersion::V1])
    }

    /// Whether the list has this version.
    pub fn contains(&self, version: ProtocolVersion) -> bool {
        self.0.contains(&version)
    }

    /// The versions in the order of the list.
    pub fn as_slice(&self) -> &[ProtocolVersion] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for SupportedVersions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The capabilities that a side lists: none twice, in the order of its list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CapabilitySet(Vec<Capability>);

impl CapabilitySet {
    /// Takes a list of capabilities.
    ///
    /// # Errors
    /// When it names a capability twice.
    pub fn new(capabilities: Vec<Capability>) -> Result<Self, InvalidValue> {
        match first_duplicate(&capabilities) {
            Some(duplicate) => Err(InvalidValue::DuplicateCapability(duplicate.clone())),
            None => Ok(Self(capabilities)),
        }
    }

    /// The set without a capability.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether the set has this capability.
    pub fn contains(&self, capability: &Capability) -> bool {
        self.0.contains(capability)
    }

    /// The capabilities in the order of the list.
    pub fn as_slice(&self) -> &[Capability] {
        &self.0
    }

    /// Whether there is no capability in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The first entry that stood in the list before. Takes linear time, because the list is the
/// peer's and may be as long as a frame.
fn first_duplicate<T: Eq + std::hash::Hash>(entries: &[T]) -> Option<&T> {
    let mut seen = HashSet::new();
    entries.iter().find(|entry| !seen.insert(*entry))
}

/// A named addition to the protocol: a string that is not blank. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(Arc<str>);

impl Capability {
    /// Takes the name.
    ///
    /// # Errors
    /// When it is blank.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidValue> {
        let name = name.as_ref();
        if name.trim().is_empty() {
            return Err(InvalidValue::BlankCapability);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl Visitor<'_> for NameVisitor {
            type Value = Capability;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a capability (a string)")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Capability, E> {
                Capability::new(name).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// Defines an identifier that is a signed 64-bit integer.
macro_rules! number_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub struct $name(i64);

        impl $name {
            /// Takes the number; every 64-bit integer is an id.
            pub const fn new(id: i64) -> Self {
                Self(id)
            }

            /// The number.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A request's id, chosen by the client and unique among the requests of a connection that are
    /// in flight.
    RequestId
);

number_id!(
    /// A delegate request's id, chosen by the host and unique on a connection.
    DelegateRequestId
);

#[cfg(test)]
#[path = "ids_tests.rs"]
mod tests;
