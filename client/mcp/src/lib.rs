// SPDX-License-Identifier: Apache-2.0
//! The MCP front end: MCP servers as tools of scripts, and scripts as tools of an MCP server.
//!
//! # Purpose
//! An agent that speaks MCP gets three tools, `exec`, `wait` and `search`, instead of those of all its
//! servers. [`Front`] holds what all its sessions share: the servers ([`upstream`]), what the user lets be
//! done with them ([`policy`]) and where that is written down ([`audit`]). [`McpSession`] is one session,
//! [`Handler`] the MCP server over it. Scripts run wherever a `code_mode_api::SessionProvider` runs them.
//!
//! # Life cycle
//! Making a front end starts nothing. The first list of tools, search or exec starts all servers at the
//! same time; each is started again, after growing pauses, when it is lost. The first exec of a session
//! opens it. A session ends with its client; the servers end with [`upstream::Upstreams::shutdown`].
//!
//! # Threads
//! Everything runs on the Tokio runtime in whose context it is called. Each server has one task, its keeper.
//!
//! # Limits
//! [`config`], [`upstream`] and [`upstream::list`] name the bounds of servers, [`session`] those of what a
//! model gets, [`own`] those of a search.

pub mod audit;
mod bounds;
pub mod catalog;
pub mod clients;
pub mod config;
mod consent;
pub mod edit;
pub mod entry;
mod front;
pub mod guide;
mod handler;
pub mod http;
mod lines;
mod observer;
mod output;
pub mod own;
pub mod policy;
mod prelude;
mod questions;
mod result;
mod search;
mod serve;
pub mod session;
mod session_state;
pub mod upstream;

pub use bounds::{
    DEFAULT_OUTPUT_BYTES, MAX_CLIENT_MESSAGE_BYTES, MAX_OUTPUT_BYTES, MAX_YIELD_TIME,
};
pub use consent::CONSENT_TIMEOUT;
pub use front::{Front, LIST_PATIENCE, LocalTools, Parts};
pub use guide::DEFAULT_CATALOG_BYTES;
pub use handler::Handler;
pub use search::MAX_QUERY_BYTES;
pub use serve::{ServeError, serve_streams};
pub use session::McpSession;
