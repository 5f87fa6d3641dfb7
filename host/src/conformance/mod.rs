// SPDX-License-Identifier: Apache-2.0
//! Transcripts of the wire contract, and a player that holds a host to them.
//!
//! A transcript is what a client sends and what the host must answer; the player runs it against
//! any pair of streams, so the same transcripts check [`serve`](crate::serve) in a test, the built
//! program, and hosts of others. `docs/conformance.md` describes the language.

mod pattern;
mod player;
mod rules;
mod transcript;

pub use pattern::Bindings;
pub use player::{End, Host, Mismatch, Tolerance, play};
pub use rules::rules;
pub use transcript::{Step, SyntaxError, Transcript};
