// SPDX-License-Identifier: Apache-2.0
//! The V1 door: serves the wire protocol V1 over one ordered stream, from whatever runs cells.
//!
//! # Purpose
//! [`serve`] runs one connection: it takes the client's frames, asks the sessions for what they say
//! ([`code_mode_api::waist`]), and sends what the cells tell, in the order in which they told it.
//! It knows neither V8 nor a runtime; what runs cells is handed in.
//!
//! # Life cycle
//! Handshake, then requests until the client closes its side (clean: sessions are shut down, cells
//! end, [`serve`] gives `Ok`) or something fails.
//! The first failure, of the client, the streams, what runs cells or a task, ends the connection:
//! pending requests are answered with an error if the writer still lives and it was not the client
//! who broke the protocol, cells are terminated, and [`serve`] gives the reason within
//! [`ConnectionLimits::close_deadline`]. Nothing is repaired in place.
//!
//! # Threads
//! - The *reader* task takes frames and acts on each before it takes the next; a request is given to
//!   its session on the spot, and what that brings about is passed on there. It always reads.
//! - A cell's own thread, or the task that reads its process, takes the cell's events where they
//!   happen, encodes and queues them. Over pipes and sockets it writes them as well, so that no task
//!   stands between a script and the pipe.
//! - The *courier* task passes on what others have put (`word.rs`), and what found no room, session
//!   after session.
//! - The *writer* task writes what no thread could write at once, all frames that are ready in one
//!   write.
//! - The task that called [`serve`] supervises: it waits for the first of the others that ends, or
//!   for an [`Alarm`], and closes.
//!
//! # Limits
//! Everything that a peer or a script could make grow is bounded: see [`ConnectionLimits`] for the
//! connection, [`code_mode_protocol::MAX_FRAME_BYTES`], and the bounds of outboxes and budgets for
//! events. An event counts for its cell and its session until its frame is written, so a client that
//! does not read holds back the cells that speak, and then the connection fails.

#![forbid(unsafe_code)]

mod bounds;
mod calls;
mod config;
mod connection;
mod direct;
mod dispatch;
mod draining;
mod error;
mod frames;
mod outgoing;
mod refusal;
mod requests;
mod serve;
mod session;
mod sessions;
mod tombstones;
mod word;
mod writer;

pub use config::{
    Config, ConnectionLimits, DEFAULT_CLOSE_DEADLINE, DEFAULT_DELEGATE_CALLS,
    DEFAULT_OUTGOING_BYTES, DEFAULT_OUTGOING_BYTES_HARD, DEFAULT_OUTGOING_FRAMES,
    DEFAULT_OUTGOING_FRAMES_HARD, DEFAULT_REMEMBERED_CALLS, DEFAULT_REMEMBERED_REQUESTS,
    DEFAULT_REMEMBERED_SESSIONS, DEFAULT_REQUESTS_IN_FLIGHT, DEFAULT_STALL_DEADLINE, FailureHook,
    MAX_SESSION_ID_BYTES, MAX_TOOL_CALL_ID_BYTES, PROMISED_DELEGATE_CALLS, V1Timings,
};
pub use direct::DirectOutput;
pub use draining::Drain;
pub use error::{BoxedError, ServeError};
pub use serve::{Alarm, serve};
