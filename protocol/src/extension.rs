// SPDX-License-Identifier: Apache-2.0
//! Additions to V1 that both sides must have agreed to.
//!
//! `protocol/README.md` describes what each extension adds to the wire. The one door is here: a
//! message says which extensions it uses, and both encoding and decoding refuse a message that
//! uses one that was not agreed. Without an agreement every byte is plain V1.

use std::sync::{Arc, LazyLock};

use crate::{Capability, CapabilitySet};

/// An addition to V1: of ours, or of the public host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `code_mode/limits-v1`: a `session/execute` may carry the bounds of its cell.
    Limits,
    /// `code_mode/store-v1`: the methods `session/exportStore` and `session/importStore`.
    Store,
    /// `code_mode/errors-v1`: errors of operations carry a code and a statement of side effects.
    Errors,
    /// `code_mode/globals-v1`: a `session/execute` may say which globals its script has.
    Globals,
    /// `code_mode/exact-integers-v1`: a `session/execute` may say whether its script reads integers that a
    /// number cannot hold as bigints.
    ExactIntegers,
    /// `code_mode/output-v1`: a `session/wait` may ask again for text that was cut.
    Output,
    /// `code_mode/cells-v1`: the method `session/listCells`.
    Cells,
    /// `session-cell-execution-resource-limits`, of the public host: a `session/open` may carry
    /// bounds of the session's cells.
    CellExecutionLimits,
    /// `yield-observation`, of the public host: `operation/yield`; and responses carry
    /// `code_mode_host_duration_ns`.
    YieldObservation,
    /// `bounded-output-v1`, of the public host: a `session/open` may have the host cut output, and
    /// a `session/wait` and `session/terminate` may say to how many tokens.
    BoundedOutput,
    /// `delegate-capacity-4096`, of the public host: a connection holds 4,096 open delegate
    /// requests. No message uses it.
    DelegateCapacity,
}

impl Extension {
    /// Every extension.
    pub const ALL: [Self; 11] = [
        Self::Limits,
        Self::Store,
        Self::Errors,
        Self::Globals,
        Self::ExactIntegers,
        Self::Output,
        Self::Cells,
        Self::CellExecutionLimits,
        Self::YieldObservation,
        Self::BoundedOutput,
        Self::DelegateCapacity,
    ];

    /// The name of the extension's capability.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limits => "code_mode/limits-v1",
            Self::Store => "code_mode/store-v1",
            Self::Errors => "code_mode/errors-v1",
            Self::Globals => "code_mode/globals-v1",
            Self::ExactIntegers => "code_mode/exact-integers-v1",
            Self::Output => "code_mode/output-v1",
            Self::Cells => "code_mode/cells-v1",
            Self::CellExecutionLimits => "session-cell-execution-resource-limits",
            Self::YieldObservation => "yield-observation",
            Self::BoundedOutput => "bounded-output-v1",
            Self::DelegateCapacity => "delegate-capacity-4096",
        }
    }

    /// The extension's capability.
    pub fn capability(self) -> Capability {
        static CAPABILITIES: LazyLock<[Capability; Extension::ALL.len()]> = LazyLock::new(|| {
            Extension::ALL.map(|extension| {
                Capability::new(extension.name()).expect("no name in this file is blank")
            })
        });
        CAPABILITIES[self as usize].clone()
    }

    /// The capabilities of all extensions: what a side lists that has them all.
    pub fn all_capabilities() -> CapabilitySet {
        Self::capabilities(&Self::ALL)
    }

    /// The capabilities of these extensions; one that comes twice counts once.
    pub fn capabilities(extensions: &[Self]) -> CapabilitySet {
        let listed = Self::ALL.into_iter().filter(|one| extensions.contains(one));
        CapabilitySet::new(listed.map(Self::capability).collect())
            .expect("no two names in this file are the same")
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Some of the extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ExtensionSet(u16);

impl ExtensionSet {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(extension: Extension) -> Self {
        Self(extension.bit())
    }

    /// These and one more.
    pub(crate) const fn with(self, extension: Extension) -> Self {
        Self(self.0 | extension.bit())
    }

    /// These and those.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
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
