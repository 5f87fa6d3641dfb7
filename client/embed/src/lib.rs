// SPDX-License-Identifier: Apache-2.0
//! Code Mode for the author of an agent: tools from closures, sessions, scripts as streams.
//!
//! # Purpose
//! An agent hands a model's JavaScript to a [`Session`], offers it a [`ToolSet`], and gets text and
//! images back. Below are the traits of `code_mode_api`, so that the same code runs over the process
//! client (`code_mode_client`) and over V8 in process (`code_mode_runtime`); this crate links
//! neither; the feature `grpc` adds hosts at addresses. `README.md` next to the source has the examples, which are tests.
//!
//! # Life cycle
//! [`Session::exec`] runs a script to its end. [`Session::start`] gives a [`Cell`]: a stream of
//! [`CellEvent`]s that ends with [`CellEvent::Ended`]; dropping it terminates the script, unless it
//! was detached. Every call that a script makes goes through the session's [`Policy`], if there is
//! one, before its [`Tool`] runs. When a host is lost, the scripts in it end with
//! [`ExecError::HostLost`], and the next one finds the session's stored values again in a new host.
//! Dropping a session terminates its scripts without waiting.
//!
//! # Threads
//! Everything runs on the tokio runtime in whose context sessions are opened and scripts started:
//! one task for each script that runs.
//! Closures of tools run where the provider runs its delegates, several at a time; what they do
//! before their first await must not block.
//!
//! # Limits
//! [`CellLimits`] bounds a script. What this crate holds itself is bounded by
//! [`MAX_WAITING_EVENTS`] and [`MAX_WAITING_BYTES`] for each reader, [`MAX_OUTPUT_BYTES`] for each
//! cell, [`MAX_ENDED_CELLS`], [`MAX_ENDED_BYTES`], [`MAX_WAITING_QUESTIONS`] and [`MAX_LINGERING_CALLS`] for each
//! session.

#![forbid(unsafe_code)]

mod cell;
mod cell_core;
mod cell_event;
mod delegate;
pub mod describe;
mod error;
mod exec;
mod first_values;
mod follow;
#[cfg(feature = "grpc")]
pub mod grpc;
mod output;
mod policy;
mod progress;
mod registry;
mod schema;
mod script_error;
mod session;
mod tool;
mod tool_set;

pub use cell::{Cell, CellHandle};
pub use cell_core::{MAX_OUTPUT_BYTES, ORDER_DEADLINE};
pub use cell_event::{CellEvent, CellEvents, MAX_WAITING_BYTES, MAX_WAITING_EVENTS};
pub use delegate::MAX_LINGERING_CALLS;
pub use error::{ExecError, HostLost, OpenError};
pub use exec::Exec;
pub use follow::STREAM_INTERVAL;
pub use output::{Media, MediaError, Output};
pub use policy::{Decision, MAX_WAITING_QUESTIONS, Policy, PolicyCall, Question, Questions};
pub use progress::Progress;
pub use registry::{MAX_ENDED_BYTES, MAX_ENDED_CELLS};
pub use script_error::{Position, ScriptError};
pub use session::{Session, SessionBuilder};
pub use tool::{CallContext, MAX_CANCEL_GRACE, NAMESPACE_SEPARATOR, Tool};
pub use tool_set::{ToolSet, ToolSetError};

/// What [`SessionBuilder::delegate`] is made of.
#[doc(no_inline)]
pub use code_mode_api::{BoxFuture, Notification, SessionDelegate, ToolInvocation};

#[doc(no_inline)]
pub use code_mode_api::{
    CancellationSignal, CellId, CellLimits, ContentItem, Globals, HostExit, ImageDetail, RawJson,
    SessionError, SessionId, SessionProvider, SideEffects, StateLost, ToolDefinition, ToolError,
    ToolKind, ToolName,
};
