// SPDX-License-Identifier: Apache-2.0
//! What a client says first, and why a host may refuse it (wire contract, section *Handshake*).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::object::{ShapeError, required, wire_object, wire_strings};
use crate::quote::quotable;
use crate::{Capability, CapabilitySet, InvalidValue, SupportedVersions};

/// What a client says first. Its required and optional capabilities are disjoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientHello {
    supported_versions: SupportedVersions,
    required_capabilities: CapabilitySet,
    optional_capabilities: CapabilitySet,
}

impl ClientHello {
    /// Takes what the client offers.
    ///
    /// # Errors
    /// When a capability is both required and optional.
    pub fn new(
        supported_versions: SupportedVersions,
        required_capabilities: CapabilitySet,
        optional_capabilities: CapabilitySet,
    ) -> Result<Self, InvalidValue> {
        // Both lists are the peer's and may be long, so no list is searched for each entry.
        let required: HashSet<&Capability> = required_capabilities.as_slice().iter().collect();
        match optional_capabilities
            .as_slice()
            .iter()
            .find(|entry| required.contains(entry))
        {
            Some(both) => Err(InvalidValue::OverlappingCapability(both.clone())),
            None => Ok(Self {
                supported_versions,
                required_capabilities,
                optional_capabilities,
            }),
        }
    }

    /// The versions that the client speaks.
    pub fn supported_versions(&self) -> &SupportedVersions {
        &self.supported_versions
    }

    /// The capabilities without which the client does not go on.
    pub fn required_capabilities(&self) -> &CapabilitySet {
        &self.required_capabilities
    }

    /// The capabilities that the client would use.
    pub fn optional_capabilities(&self) -> &CapabilitySet {
        &self.optional_capabilities
    }

    pub(crate) fn lists(&self, capability: &Capability) -> bool {
        self.required_capabilities.contains(capability)
            || self.optional_capabilities.contains(capability)
    }
}

/// Why a host refuses a hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[serde(try_from = "ReasonFields")]
pub enum RejectReason {
    /// No version is in both lists.
    #[error("no protocol version in common: the host speaks {:?}", .supported_versions.as_slice())]
    NoCompatibleVersion {
        /// What the host speaks.
        supported_versions: SupportedVersions,
    },
    /// The host lacks a capability that the client requires.
    #[error("the host lacks the required capability {:?}", quotable(.capability.as_str()))]
    MissingRequiredCapability {
        /// The capability.
        capability: Capability,
    },
    /// The hello breaks a rule.
    #[error("the hello is invalid: {message}")]
    InvalidHello {
        /// Which.
        message: String,
    },
}

wire_strings! {
    enum ReasonTag ("a reason of a rejection") {
        NoCompatibleVersion = "noCompatibleVersion",
        MissingRequiredCapability = "missingRequiredCapability",
        InvalidHello = "invalidHello",
    }
}

wire_object! {
    ReasonFields ("the reason of a rejection") {
        tag: ReasonTag = "type",
        supported_versions: SupportedVersions = "supportedVersions",
        capability: Capability = "capability",
        message: String = "message",
    }
}

impl TryFrom<ReasonFields> for RejectReason {
    type Error = ShapeError;

    fn try_from(fields: ReasonFields) -> Result<Self, ShapeError> {
        let tag = required(fields.tag, "type", "the reason of a rejection")?;
        let owner = tag.as_str();
        let field = match tag {
            ReasonTag::NoCompatibleVersion => "supportedVersions",
            ReasonTag::MissingRequiredCapability => "capability",
            ReasonTag::InvalidHello => "message",
        };
        fields.refuse_others(owner, &["type", field])?;
        Ok(match tag {
            ReasonTag::NoCompatibleVersion => Self::NoCompatibleVersion {
                supported_versions: required(fields.supported_versions, field, owner)?,
            },
            ReasonTag::MissingRequiredCapability => Self::MissingRequiredCapability {
                capability: required(fields.capability, field, owner)?,
            },
            ReasonTag::InvalidHello => Self::InvalidHello {
                message: required(fields.message, field, owner)?,
            },
        })
    }
}
