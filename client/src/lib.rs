// SPDX-License-Identifier: Apache-2.0
//! Code Mode sessions that run in a supervised host process.
//!
//! # Purpose
//! [`ProcessSessionProvider`] implements the interface of `code_mode_api` over host processes that
//! speak the wire protocol V1. It hides that a process stands behind a session, except for one
//! thing: when the process is lost, every caller learns it at once, with the truth about what may
//! have happened. `README.md` next to the source has an example and the table of failures.
//!
//! # Life cycle
//! Making a provider starts nothing; the first execute of a session starts a host and opens the
//! session there. When the host is lost, the session's cells and stored values are gone. The next
//! execute binds the session to a fresh host under a new generation, and its first response says
//! once what was lost. A wait or terminate never starts a host, and an execute that may have run is
//! never sent again; one that surely has not, because its host was lost before anything of it had got
//! there, is sent to a fresh host once. Dropping a session ends its cells; dropping the provider ends its hosts. Neither waits.
//!
//! # Threads
//! Everything runs on the tokio runtime in whose context the futures are polled, which needs its
//! I/O and time drivers. Each host has a thread `code-mode-host` that starts it, waits for it and
//! reaps it, so that no host is left behind by a runtime that shuts down. Each connection has one
//! task, the driver, which reads from the host, writes to it and calls the delegates: the part of a
//! delegate before its future must not block. The futures run in tasks of their own. After the answer
//! to the only open tool call, the driver keeps its thread for up to 50 µs to see what the script does
//! next, unless that took longer the last time.
//!
//! # Limits
//! [`ConnectionLimits`] bounds what a connection may hold: calls, outgoing bytes, delegate calls.
//! [`Deadlines`] bounds how long a host may take for anything; [`ResourceLimits`] what the process
//! may use. A full queue is back-pressure on callers; a missed deadline is the end of the host.

mod backoff;
mod config;
mod connection;
mod connector;
mod delegate;
mod error;
mod find_host;
mod flight;
mod generation;
mod host_message;
mod hosts;
mod messages;
mod opening;
mod place;
mod process;
mod provider;
mod sent;
mod session;
#[cfg(test)]
mod simulation;
mod store_copy;
mod tools;

pub use backoff::{FIRST_RESTART_PAUSE, MAX_RESTART_PAUSE, STABLE_AFTER};
pub use config::{
    ConnectionLimits, DEFAULT_CALL_DEADLINE, DEFAULT_MAX_CALLS, DEFAULT_MAX_DELEGATE_BYTES,
    DEFAULT_MAX_DELEGATE_CALLS, DEFAULT_MAX_OUTGOING_BYTES, DEFAULT_MAX_SESSIONS,
    DEFAULT_SHUTDOWN_DEADLINE, DEFAULT_STARTUP_DEADLINE, DEFAULT_WRITE_DEADLINE, Deadlines,
    Environment, Isolation, ProviderConfig,
};
pub use connection::{CANCEL_GRACE, HostInfo};
pub use connector::{Connector, LOST, Streams};
pub use error::HOST_DRAINING;
pub use find_host::{HOST_PROGRAM, HOST_VARIABLE, HostNotFound, HostSearch};
pub use place::MAX_REMEMBERED_SESSION_IDS;
pub use process::{Resource, ResourceLimits, die_with_parent};
pub use provider::ProcessSessionProvider;
pub use sent::SentExecutes;
pub use session::{DRAINING_PAUSE, MAX_DRAINING_HOSTS};
