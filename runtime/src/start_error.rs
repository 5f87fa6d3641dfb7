// SPDX-License-Identifier: Apache-2.0
//! Why there is no runtime.

/// Why the runtime could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeStartError {
    /// A thread of the runtime could not be made.
    #[error("Failed to start the runtime's thread {name}: {source}")]
    Thread {
        /// The thread's name.
        name: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
}
