// SPDX-License-Identifier: Apache-2.0
//! Transcripts of the gRPC contract, and a player that holds a host to them.
//!
//! As with the [frames](crate::conformance), the same transcripts check our host in a test and hosts of
//! others by hand. `docs/conformance.md` describes the language.

mod calls;
mod lines;
mod player;
mod process;
mod transcript;

pub use player::{Mismatch, play};
pub use process::GrpcHost;
pub use transcript::{SyntaxError, Transcript, rules};
