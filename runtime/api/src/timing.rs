// SPDX-License-Identifier: Apache-2.0
//! The name under which every crate tells where the time of a cell goes.

/// The target of all `tracing` spans that tell where time goes, for a subscriber's filter.
pub const TIMING_TARGET: &str = "code_mode::timing";
