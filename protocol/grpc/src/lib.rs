// SPDX-License-Identifier: Apache-2.0
//! The second contract of a code-mode host, `codex.code_mode.v1`, over gRPC.
//!
//! # Purpose
//! The messages and calls of [`v1`] are compiled from `proto/codex/code_mode/v1/code_mode.proto`,
//! which is the contract; nothing generated is kept. Those of [`extensions`] are what our hosts offer
//! beside it. The crate holds nothing else: whoever serves or asks converts these types by hand, as
//! with the frames of V1.
//!
//! # Life cycle
//! `OpenSession` leases a session for as long as its stream is read; `SubscribeToToolCalls` takes the
//! calls of its scripts; `Execute` runs one; `Wait`, `YieldObservation`, `CancelWait` and `Terminate`
//! follow its cell; `CompleteToolCall` and `AcknowledgeNotification` answer it.
//!
//! # Threads
//! There is none here; every value belongs to whoever has it.
//!
//! # Order
//! Each stream keeps its order; between streams there is none. A cancellation may come before its
//! call, and `cell_closed` before the outcome is read: `ToolCall.sequence` and
//! `CellClosed.final_tool_call_sequence` let a client sort that out.
//!
//! # Limits
//! A message has [`MAX_MESSAGE_BYTES`] at most, in either direction.

/// The largest message, in bytes: as the largest frame of V1.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// The messages, and the service as client and server see it.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated: the contract's comments stand in its .proto file"
)]
pub mod v1 {
    tonic::include_proto!("codex.code_mode.v1");
}

/// The messages and calls that our hosts offer beside the contract, from
/// `proto/code_mode/v1/extensions.proto`.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated: the comments stand in its .proto file"
)]
pub mod extensions {
    tonic::include_proto!("code_mode.v1");
}

/// The metadata of an `Execute` that carries the bounds of its cell, a
/// [`CellLimits`](extensions::CellLimits).
pub const CELL_LIMITS_METADATA: &str = "code-mode-cell-limits-bin";

/// The metadata of an `Execute` that says which globals its script has: `contract` or `web`.
pub const GLOBALS_METADATA: &str = "code-mode-globals";

/// The metadata of an `Execute` that says whether its script reads integers that a number cannot hold as
/// bigints: `true` or `false`.
pub const EXACT_INTEGERS_METADATA: &str = "code-mode-exact-integers";

/// The metadata of a refusal that carries the name of its error in V1 frames.
pub const ERROR_CODE_METADATA: &str = "code-mode-error-code";

/// The metadata of a refusal that says whether the script may have acted, as the error in V1 frames does:
/// `none` or `possible`.
pub const SIDE_EFFECTS_METADATA: &str = "code-mode-side-effects";

pub use prost;
pub use tonic;
pub use tonic_health;
