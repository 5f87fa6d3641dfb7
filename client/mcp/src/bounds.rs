// SPDX-License-Identifier: Apache-2.0
//! What several modules go by: names and bounds.

use std::time::Duration;

/// The namespace of the front end's own tools in calls. No server may have this name.
pub const OWN_NAMESPACE_ON_WIRE: &str = "code_mode:own";

/// Bytes of text that a result holds, unless the model asks for more (about 10,000 tokens).
pub const DEFAULT_OUTPUT_BYTES: usize = 40_000;

/// Bytes of text that a result holds at most.
pub const MAX_OUTPUT_BYTES: usize = 1_000_000;

/// How long exec and wait may take before they return, whatever the model asks for (10 min).
pub const MAX_YIELD_TIME: Duration = Duration::from_secs(600);
