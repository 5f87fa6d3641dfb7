// SPDX-License-Identifier: Apache-2.0
//! The Code Mode host: the process that serves sessions to its clients.
//!
//! # Purpose
//! [`process`] is the program: arguments, standard streams, exit status. It makes the runtime and hands
//! it to the doors: [`code_mode_frames`] speaks V1, [`code_mode_host_grpc`] gRPC.
//! [`serve`] is one connection of V1 over a runtime of its own.
//! [`conformance`] and [`conformance_grpc`] hold transcripts of the contracts' rules and play them
//! against any host; [`checker`] is what their programs share.
//!
//! # Life cycle
//! That of a connection is told in [`code_mode_frames`]. The process ends when the client of standard
//! input and output is gone, on SIGTERM where it listens elsewhere, or with the first failure, within
//! [`EXIT_DEADLINE`]. Nothing is repaired in place.
//!
//! # Threads
//! One for all connections where there is only the one of standard input and output, a few where there
//! are sockets; the cells have their own.
//!
//! # Limits
//! See [`ConnectionLimits`] for a connection of V1, [`code_mode_host_grpc::limits`] for one of gRPC, and
//! [`code_mode_runtime::limits`] for cells.

#![deny(unsafe_code)]

mod args;
pub mod checker;
mod config;
mod confinement;
pub mod conformance;
pub mod conformance_grpc;
mod doors;
mod exit;
mod inherited;
mod listening;
mod logging;
mod memory;
mod metrics;
mod pipes;
pub mod process;
mod serve;
mod signals;
mod sockets;
mod stdio;
mod usage;
mod version;

pub use code_mode_frames::{
    ConnectionLimits, Drain, FailureHook, MAX_SESSION_ID_BYTES, MAX_TOOL_CALL_ID_BYTES,
    PROMISED_DELEGATE_CALLS, ServeError, V1Timings,
};
pub use config::{EXIT_DEADLINE, HostConfig};
pub use serve::serve;
pub use usage::UsageError;
