// SPDX-License-Identifier: Apache-2.0
//! What the doors of a host have in common, in terms of `runtime/api` alone.
//!
//! # Purpose
//! A host may speak more than one protocol to its clients. What must be the same behind each of
//! them is here: how output is cut to the tokens that a request allows ([`truncate`]), and where
//! the text that was cut out is kept for a client that wants to see it after all ([`KeptOutput`]).
//! A session of a door has both as its [`SessionOutput`].
//!
//! # Life cycle
//! Nothing here lives longer than one response, except [`SessionOutput`], which lives with its session.
//!
//! # Threads
//! There is none here. Every value belongs to whoever has it; a [`SessionOutput`] may be shared.
//!
//! # Limits
//! A response that is cut holds at most [`MAX_RESPONSE_TEXT_BYTES`] of text. What is kept of a
//! session's cut output has a bound in bytes that the caller gives, and one read of it gives at most
//! [`MAX_READ_BYTES`].

#![forbid(unsafe_code)]

mod assembly;
mod bounded;
mod cut;
mod kept;
mod session_output;
mod truncation;

pub use bounded::MAX_RESPONSE_TEXT_BYTES;
pub use cut::BYTES_PER_TOKEN;
pub use kept::{DEFAULT_KEPT_OUTPUT_BYTES, KeptOutput, MAX_READ_BYTES};
pub use session_output::{OUTPUT_NOT_KEPT, OutputNotKept, SessionOutput};
pub use truncation::{DEFAULT_MAX_OUTPUT_TOKENS, Truncated, truncate};
