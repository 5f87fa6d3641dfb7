//! Additions to V1 that both sides must have agreed to.
//!
//! `protocol/README.md` describes what each extension adds to the wire. The one door is here: a
//! message says which extensions it uses, and both encoding and decoding refuse a message that
//! uses one that was not agreed. Without an agreement every byte is plain V1.

use std::sync::{Arc, LazyLock};

use crate::{Capability, CapabilitySet};

/// An addition of ours to V1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `code_mode/limits-v1`: a `session/execute` may carry the bounds of its cell.
    Limits,
    /// `code_mode/store-v1`: the methods `session/exportStore` and `session/importStore`.
    Store,
    /// `code_mode/errors-v1`: errors of operations carry a code and a statement of side effects.
    Errors,
}

impl Extension {
    /// Every extension.
    pub const ALL: [Self; 3] = [Self::Limits, Self::Store, Self::Errors];

    /// The name of the extension's capability.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "code_mode/limits-v1",
            Self::Store => "code_mode/store-v1",
            Self::Errors => "code_mode/errors-v1",
        }
    }

    /// The extension's capability.
    pub fn capability(self) -> Capability {
        static CAPABILITIES: LazyLock<[Capability; 3]> = LazyLock::new(|| {
            Extension::ALL.map(|extension| {
                Capability::new(extension.name()).expect("no name in this file is blank")
            })
        });
        CAPABILITIES[self as usize].clone()
    }

    /// The capabilities of all extensions: what a side lists that has them all.
    pub fn all_capabilities() -> CapabilitySet {
        CapabilitySet::new(Self::ALL.map(Self::capability).to_vec())
            .expect("no two names in this file are the same")
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Some of the extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExtensionSet(u8);

impl ExtensionSet {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(extension: Extension) -> Self {
        Self(extension.bit())
    }

    fn contains(self, extension: Extension) -> bool {
        self.0 & extension.bit() != 0
    }
}

/// The capabilities that both sides of a connection have; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgreedCapabilities {
    set: Arc<CapabilitySet>,
    extensions: ExtensionSet,
}

impl AgreedCapabilities {
    /// No capability: plain V1, and what holds before the handshake is through.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes the capabilities that both sides have, as [`negotiate`](crate::negotiate) and
    /// [`accept_ready`](crate::accept_ready) find them. One that this crate does not know is kept
    /// and allows nothing.
    pub fn new(set: CapabilitySet) -> Self {
        let bits = Extension::ALL
            .into_iter()
            .filter(|extension| set.contains(&extension.capability()))
            .fold(0, |bits, extension| bits | extension.bit());
        Self {
            set: Arc::new(set),
            extensions: ExtensionSet(bits),
        }
    }

    /// Whether messages may use this extension.
    pub fn has(&self, extension: Extension) -> bool {
        self.extensions.contains(extension)
    }

    /// The capabilities as a list for `connection/ready`.
    pub fn as_set(&self) -> &CapabilitySet {
        &self.set
    }

    /// The first extension that is used and was not agreed.
    pub(crate) fn first_missing(&self, used: ExtensionSet) -> Option<Extension> {
        Extension::ALL
            .into_iter()
            .find(|extension| used.contains(*extension) && !self.has(*extension))
    }
}

#[cfg(test)]
#[path = "extension_tests.rs"]
mod tests;
