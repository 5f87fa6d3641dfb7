// SPDX-License-Identifier: Apache-2.0
//! The way in which tests have the process of a cell do what only native code can.
//!
//! A script cannot make calls into the kernel, and one that could would not tell how. So the program of
//! a test may answer some keys of `load` itself, by code of its own that runs where a script's would.
//! Only [`entry_with_probe`](crate::entry_with_probe) sets this, which the host's program does not call.

use std::sync::{Arc, OnceLock};

/// What a test's program does when a script loads a key: its answer as JSON, or `None` for a key that is
/// the session's.
pub type Probe = fn(&str) -> Option<String>;

static PROBE: OnceLock<Probe> = OnceLock::new();

/// Has this program answer keys by itself.
pub(crate) fn set(probe: Probe) {
    // A program has one entry, which is called once.
    let _ = PROBE.set(probe);
}

/// What the program itself answers to a key.
pub(crate) fn answer(key: &str) -> Option<Arc<str>> {
    PROBE.get().and_then(|probe| probe(key)).map(Arc::from)
}
