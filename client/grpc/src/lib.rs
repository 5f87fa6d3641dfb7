// SPDX-License-Identifier: Apache-2.0
//! Code Mode sessions on a host at an address, over gRPC.
//!
//! # Purpose
//! [`AddressSessionProvider`] implements the interface of `code_mode_api` over a connection to a host that
//! somebody else runs: `http://`, `https://` or `unix:`. Everything that the client of host processes
//! promises holds here as well, because it is the same client: a bridge turns its frames of V1 into the
//! calls of `codex.code_mode.v1`, and the host's answers into frames. What a host process's death is there,
//! the end of the connection is here.
//!
//! # Life cycle
//! Making a provider connects to nothing. The first execute of a session makes a connection, which sessions
//! share; when it is lost, everybody who waits is told at once, and the next execute makes another. A fresh
//! session there gets the stored values back from the client's copy, and its first response says so.
//!
//! # Threads
//! Everything runs on the tokio runtime in whose context the futures are polled, which needs its I/O and
//! time drivers. Each connection has a task that carries its bytes, one that bridges, one for each open
//! session, and one for each call that is under way.
//!
//! # Order
//! The streams of a connection have no order among each other; V1 has one. The bridge restores it for each
//! session: a call comes after the start of its cell, a result after everything that its cell has said
//! before, and that a cell is closed after everything else of it. A result waits for that for up to
//! [`ORDER_DEADLINE`].
//!
//! # Limits
//! [`AddressConfig`] has the deadlines and bounds. A message has `code_mode_grpc::MAX_MESSAGE_BYTES` at most;
//! what is within it and is larger than a frame of V1 once it is written as JSON is an error of the call that
//! it belongs to.

mod address;
mod asks;
mod bridge;
mod cells;
mod config;
mod convert;
mod proof;
mod provider;
mod session;
mod streams;
mod tell;
mod tls;
mod wire;

pub use address::{Address, AddressError};
pub use bridge::PROOF_GRACE;
pub use cells::ORDER_DEADLINE;
pub use config::{
    AddressConfig, DEFAULT_CONNECT_DEADLINE, DEFAULT_PING_DEADLINE, DEFAULT_PING_INTERVAL,
};
pub use provider::AddressSessionProvider;
