// SPDX-License-Identifier: Apache-2.0
//! Which build of the host this is.

use std::sync::OnceLock;

/// What the program's `main` has said, once.
static VERSION: OnceLock<&'static str> = OnceLock::new();

/// Takes the version of the program, which alone knows the revision that it was built from.
///
/// Only the first call in a process has an effect.
pub(crate) fn set(version: &'static str) {
    // A second call comes from a second `main` in one process, which is the same program.
    let _ = VERSION.set(version);
}

/// The version, with the revision in brackets where the program was stamped with one:
/// `0.1.0 (0123456789ab)`.
pub(crate) fn version() -> &'static str {
    VERSION.get().copied().unwrap_or(env!("CARGO_PKG_VERSION"))
}
