// SPDX-License-Identifier: Apache-2.0
//! The interface of Code Mode sessions, without an implementation.
//!
//! # Purpose
//! An embedder writes against these types once and chooses later whether its scripts run in its own
//! process (`code_mode_runtime`) or in a supervised host process (`code_mode_client`).
//! This crate therefore links neither V8 nor any process code, and knows nothing of the wire.
//!
//! # Life cycle
//! A [`SessionProvider`] opens a [`CodeModeSession`]; [`CodeModeSession::execute`] starts a cell and
//! gives a [`StartedCell`]. A cell is observed by its first response and then by
//! [`CodeModeSession::wait`], until a response says [`CellStatus::Completed`] or
//! [`CellStatus::Terminated`]. [`CodeModeSession::shutdown`] ends the session.
//!
//! Beside these traits stands the [`waist`], which has no futures: the runtime implements it, and
//! whatever serves sessions to a client consumes it.
//!
//! # Threads
//! Every trait object is `Send + Sync`. Futures may be polled on any thread and dropped at any time.
//!
//! # Limits
//! [`CellLimits`] names each bound of a cell; the implementation says what its defaults are.

use std::future::Future;
use std::pin::Pin;

mod cells;
mod delegate;
mod error;
mod error_code;
mod fence;
mod identifier;
mod limits;
mod output;
mod request;
mod response;
mod session;
mod timing;
pub mod waist;

pub use cells::{CellState, CellSummary};
pub use delegate::{Notification, SessionDelegate, ToolError, ToolInvocation};
pub use error::{HostExit, SessionError, SideEffects};
pub use fence::without_fence;
pub use identifier::script_name;
pub use limits::{CellLimits, LimitName};
pub use output::{KeptText, ReadOutputRequest};
pub use request::{
    DEFAULT_YIELD_TIME, ExecuteRequest, Globals, SessionOptions, ToolDefinition, ToolKind,
    ToolName, WaitRequest,
};
pub use response::{
    CellId, CellResponse, CellStatus, CellTimings, ContentItem, ImageDetail, RestoredStore,
    SessionId, StateLost,
};
pub use session::{CodeModeSession, FirstResponse, SessionProvider, StartedCell};
pub use timing::TIMING_TARGET;

/// JSON text that is known to be well formed, carried without being looked into.
///
/// Tool inputs, tool results and schemas pass through the engine in this form.
pub type RawJson = Box<serde_json::value::RawValue>;

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The signal that work done on behalf of a cell is no longer wanted.
pub type CancellationSignal = tokio_util::sync::CancellationToken;
