// SPDX-License-Identifier: Apache-2.0
//! What an exec costs, as scenarios that measure any provider of sessions.
//!
//! # Purpose
//! One set of scenarios measures host processes through the client and the runtime in process, so
//! that their figures can be laid side by side. It knows nothing but the traits of `code_mode_api`,
//! and asserts nothing about time.
//!
//! # Life cycle
//! A program makes a [`Subject`] of each thing that it measures and calls [`run`]. Each [`Task`] is
//! one round of one scenario: the subject starts afresh for it, hands an [`Instance`] to
//! [`Task::run`], and gives the [`Round`]. The subjects take turns (A B A B), so that a machine that
//! slows down meanwhile slows all of them down.
//!
//! # Threads
//! Rounds run one after the other in a task on tokio's workers, as in a server, and never on the
//! thread that waits for the end: an answer that has to wake another thread would cost more here
//! than it does an embedder.
//!
//! # Limits
//! [`PATIENCE`] ends a scenario whose subject does not answer. The samples of a round are kept in
//! memory, 16 bytes each.

mod delegate;
mod figures;
mod instance;
mod json;
mod memory;
mod options;
mod program;
mod report;
mod round;
mod sampling;
mod scenario;
mod script;
mod table;
mod task;

#[cfg(test)]
mod fake;

pub use delegate::{ParkedCalls, delegate};
pub use figures::Figures;
pub use instance::{Instance, Subject};
pub use options::{HostCommand, Options, Parsed, Program, Transport, UsageError};
pub use program::run;
pub use scenario::{CALLS, LONG_SCRIPT_BYTES, Load, Scenario};
pub use script::PATIENCE;
pub use task::{Failure, Round, Task};
