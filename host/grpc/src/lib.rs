// SPDX-License-Identifier: Apache-2.0
//! The gRPC door of a code-mode host: serves `codex.code_mode.v1` over any stream.
//!
//! # Purpose
//! [`Door`] turns the calls of the service into asks of whatever implements
//! [`Sessions`](code_mode_api::waist::Sessions), and events into messages of the streams that they
//! belong to. It knows neither V8 nor the runtime; the program that links it brings both together.
//! [`serve_connection`] serves HTTP/2 over one stream; [`listen`] has the sockets.
//!
//! # Life cycle
//! A session lives as long as the stream of its `OpenSession`, unless it is closed before. Only who
//! opened it can reach it: the connection, the user behind a Unix socket, or the holder of the token.
//! A host that drains says so, opens no session any more, and takes an execute only in a session that
//! has a cell, since every other one can go on elsewhere. Once no cell is left there will be none, so the
//! sessions are ended then, or when the time is over.
//!
//! # Threads
//! An event is passed on by the thread that put it, if that is a cell's own, or else by the session's
//! courier, a task. Passing on means to put a message into a [mailbox](mailbox), which never waits;
//! the connection's task encodes and writes it when the client has room.
//!
//! # Limits
//! See [`limits`]. An event counts for its session until the connection has taken its message, so a
//! client that reads slowly holds its own cells back, and nobody else.

pub mod limits;
pub mod listen;

mod asked;
mod asks;
mod bell;
mod body;
mod calls;
mod check;
mod connection;
mod convert;
mod door;
mod extensions;
mod gate;
mod health;
mod mailbox;
mod metrics;
mod peer;
mod registry;
mod remembered;
mod session;
mod status;
mod tokens;
mod trace;
mod watched;
mod word;

pub use connection::{ConnectionOptions, Served, serve_connection};
pub use door::Door;
pub use metrics::{Counter, Gauge, Metrics, Page};
pub use peer::Owner;
pub use tokens::{Tokens, TokensError};
