//! The Code Mode host: serves the wire protocol V1 from an ordered reader and writer.
//!
//! # Purpose
//! [`serve`] runs one connection: it takes the client's frames, hands requests to
//! [`code_mode_runtime`], and sends what the cells say, in the order in which they said it.
//! It is the only place that knows both the wire ([`code_mode_protocol`]) and the runtime; both speak in
//! the types of [`code_mode_api`].
//! [`process`] is the program around it: arguments, standard streams, exit status.
//! [`conformance`] and [`conformance_grpc`] hold transcripts of the contracts' rules and play them
//! against any host; [`checker`] is what their programs share.
//!
//! # Life cycle
//! Handshake, then requests until the client closes its side (clean: sessions are shut down, cells
//! end, [`serve`] gives `Ok`) or something fails.
//! The first failure, of the client, the streams, the runtime or a task, ends the connection:
//! pending requests are answered with an error if the writer still lives and it was not the client
//! who broke the protocol, cells are terminated, and [`serve`] gives the reason within
//! [`ConnectionLimits::close_deadline`]. Nothing is repaired in place.
//!
//! # Threads
//! - The *reader* task takes frames and acts on each before it takes the next; a request is given to
//!   the runtime on the spot.
//! - Each cell's V8 thread (the runtime's) encodes the cell's events where they happen and queues
//!   them. Over pipes and sockets it writes them as well, so that no task stands between a script
//!   and the pipe.
//! - The *writer* task writes what no thread could write at once, all frames that are ready in one
//!   write.
//! - The task that called [`serve`] supervises: it waits for the first of the others that ends, or
//!   for a failure that the runtime reports, and closes.
//!
//! # Limits
//! Everything that a peer or a script could make grow is bounded: see [`ConnectionLimits`] for the
//! connection, [`code_mode_runtime::limits`] for cells, and [`code_mode_protocol::MAX_FRAME_BYTES`].
//! What exceeds a bound on admission is answered with an error that names the bound; a client that
//! does not read is waited for, and then the connection fails.

#![deny(unsafe_code)]

mod args;
mod calls;
pub mod checker;
mod closing;
mod config;
mod confinement;
pub mod conformance;
pub mod conformance_grpc;
mod connection;
mod direct;
mod dispatch;
mod doors;
mod draining;
mod error;
mod frames;
mod listening;
mod logging;
mod outgoing;
mod output;
pub mod process;
mod requests;
mod serve;
mod session;
mod sessions;
mod sockets;
mod stdio;
mod tombstones;
mod version;
mod writer;

pub use config::{
    ConnectionLimits, DEFAULT_CLOSE_DEADLINE, DEFAULT_DELEGATE_CALLS, DEFAULT_OUTGOING_BYTES,
    DEFAULT_OUTGOING_BYTES_HARD, DEFAULT_OUTGOING_FRAMES, DEFAULT_REMEMBERED_CALLS,
    DEFAULT_REMEMBERED_REQUESTS, DEFAULT_REMEMBERED_SESSIONS, DEFAULT_REQUESTS_IN_FLIGHT,
    DEFAULT_STALL_DEADLINE, EXIT_DEADLINE, FailureHook, HostConfig, MAX_SESSION_ID_BYTES,
    MAX_TOOL_CALL_ID_BYTES, PROMISED_DELEGATE_CALLS, V1Timings,
};
pub use draining::Drain;
pub use error::ServeError;
pub use serve::serve;
