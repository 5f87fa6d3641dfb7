// SPDX-License-Identifier: Apache-2.0
//! What several modules go by: names and bounds.

use std::time::Duration;

/// The namespace of the front end's own tools in calls. No server may have this name.
pub const OWN_NAMESPACE_ON_WIRE: &str = "code_mode:own";

/// The method of what stands for a client's message that was too long to be read.
pub const TOO_LONG_METHOD: &str = "code_mode/too_long";

/// Bytes of one message of a client (4 MiB); a longer one is answered by an error. Scripts are at most 1 MiB.
pub const MAX_CLIENT_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of text that a result holds, unless the model asks for more (about 10,000 tokens).
pub const DEFAULT_OUTPUT_BYTES: usize = 40_000;

/// Bytes of text that a result holds at most.
pub const MAX_OUTPUT_BYTES: usize = 1_000_000;

/// How long exec and wait may take before they return, whatever the model asks for (10 min).
pub const MAX_YIELD_TIME: Duration = Duration::from_secs(600);
