// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a command line.

/// A command line that cannot be understood; the message says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; see code_mode_host --help")]
pub struct UsageError(pub(crate) String);
