// SPDX-License-Identifier: Apache-2.0
//! Which version and which capabilities a connection uses (wire contract, section *Handshake*).
//!
//! Everything here is a pure function of the two sides' lists.

use std::collections::HashSet;

use serde::Deserialize;

use crate::message::{self, DecodeError};
use crate::quote::quotable;
use crate::{
    AgreedCapabilities, Capability, CapabilitySet, ClientHello, ClientMessage, HostMessage,
    ProtocolVersion, RejectReason, SupportedVersions,
};

/// What a host offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOffer {
    /// The versions that the host speaks.
    pub versions: SupportedVersions,
    /// The capabilities that the host has.
    pub capabilities: CapabilitySet,
}

/// What a connection uses from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// The version.
    pub version: ProtocolVersion,
    /// The capabilities that both sides have.
    pub capabilities: AgreedCapabilities,
}

impl Agreement {
    /// The host's answer to the hello.
    pub fn to_ready(&self) -> HostMessage {
        HostMessage::Ready {
            selected_version: self.version,
            capabilities: self.capabilities.as_set().clone(),
        }
    }
}

/// Finds what the two sides have in common: the highest common version, and of the client's
/// capabilities those that the host has, in the client's order.
///
/// # Errors
/// The reason to put into `connection/rejected`. A missing version goes before a missing
/// capability, and of several missing capabilities the first in the client's list is named.
pub fn negotiate(hello: &ClientHello, offer: &HostOffer) -> Result<Agreement, RejectReason> {
    let client_versions = hello.supported_versions().as_slice().iter();
    let common = client_versions
        .filter(|version| offer.versions.contains(**version))
        .max();
    let Some(&version) = common else {
        return Err(RejectReason::NoCompatibleVersion {
            supported_versions: offer.versions.clone(),
        });
    };
    let offered: HashSet<&Capability> = offer.capabilities.as_slice().iter().collect();
    let required = hello.required_capabilities().as_slice();
    if let Some(missing) = required
        .iter()
        .find(|capability| !offered.contains(capability))
    {
        return Err(RejectReason::MissingRequiredCapability {
            capability: missing.clone(),
        });
    }
    let optional = hello.optional_capabilities().as_slice();
    let agreed = required
        .iter()
        .chain(optional)
        .filter(|capability| offered.contains(capability));
    let capabilities = CapabilitySet::new(agreed.cloned().collect()).map_err(|invalid| {
        RejectReason::InvalidHello {
            message: invalid.to_string(),
        }
    })?;
    Ok(Agreement {
        version,
        capabilities: AgreedCapabilities::new(capabilities),
    })
}

/// Why the first frame of a connection is no hello to negotiate about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// It is a hello that breaks a rule: answer with this reason, then close.
    #[error(transparent)]
    Invalid(RejectReason),
    /// It is another message: a violation, close at once.
    #[error("the first message must be connection/hello")]
    NotHello,
    /// It is no message of the protocol: a violation, close at once.
    #[error("the first message cannot be decoded: {0}")]
    Malformed(DecodeError),
}

/// Decodes the first frame that a host receives.
///
/// # Errors
/// As [`HelloError`] lists them; a frame that calls itself `connection/hello` and is wrong in any
/// way is [`HelloError::Invalid`].
pub fn decode_hello(payload: &[u8]) -> Result<ClientHello, HelloError> {
    match message::decode(payload, &AgreedCapabilities::none()) {
        Ok(ClientMessage::Hello(hello)) => Ok(hello),
        Ok(_) | Err(DecodeError::NotAgreed(_)) => Err(HelloError::NotHello),
        Err(error) if calls_itself_hello(payload) => {
            Err(HelloError::Invalid(RejectReason::InvalidHello {
                message: error.to_string(),
            }))
        }
        Err(error) => Err(HelloError::Malformed(error)),
    }
}

/// Whether a payload that does not decode is JSON at least and has the type of a hello.
fn calls_itself_hello(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct TypeOnly {
        #[serde(rename = "type")]
        tag: String,
    }
    serde_json::from_slice::<TypeOnly>(payload).is_ok_and(|object| object.tag == "connection/hello")
}

/// Why a client cannot go on with a host's answer to its hello.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadyError {
    /// The host chose a version that the client did not list.
    #[error("the host selected protocol version {0}, which was not offered")]
    VersionNotOffered(ProtocolVersion),
    /// The host named a capability that the client did not list.
    #[error("the host named the capability {:?}, which was not offered", quotable(.0.as_str()))]
    CapabilityNotOffered(Capability),
    /// The host left out a capability that the client requires, and yet did not reject.
    #[error("the host left out the required capability {:?}", quotable(.0.as_str()))]
    RequiredCapabilityMissing(Capability),
}

/// Checks a host's `connection/ready` against the hello that the client sent.
///
/// # Errors
/// When the host answers with what was not offered, or without what was required: a violation.
pub fn accept_ready(
    hello: &ClientHello,
    selected_version: ProtocolVersion,
    capabilities: CapabilitySet,
) -> Result<Agreement, ReadyError> {
    if !hello.supported_versions().contains(selected_version) {
        return Err(ReadyError::VersionNotOffered(selected_version));
    }
    let named = capabilities.as_slice();
    if let Some(foreign) = named.iter().find(|capability| !hello.lists(capability)) {
        return Err(ReadyError::CapabilityNotOffered(foreign.clone()));
    }
    let required = hello.required_capabilities().as_slice();
    if let Some(missing) = required
        .iter()
        .find(|capability| !capabilities.contains(capability))
    {
        return Err(ReadyError::RequiredCapabilityMissing(missing.clone()));
    }
    Ok(Agreement {
        version: selected_version,
        capabilities: AgreedCapabilities::new(capabilities),
    })
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
