// SPDX-License-Identifier: Apache-2.0
//! Faults that unit tests inject. Outside of them there is none, and no way to have one.

/// A fault that a test injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The V8 thread panics in its event loop, before the script runs.
    PanicInThread,
    /// The `text` helper panics when the script calls it.
    PanicInHelper,
    /// The V8 thread ends without an outcome.
    VanishingThread,
    /// The V8 thread reports an end that its state does not have.
    ImpossibleStep,
    /// No V8 thread can be had.
    NoThread,
    /// The V8 thread yields, and is then in native code that does not stop when told to, until the
    /// supervisor has heard of it.
    DeafThread,
}
