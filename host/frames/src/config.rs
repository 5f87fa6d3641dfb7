// SPDX-License-Identifier: Apache-2.0
//! The bounds of a connection: their defaults, their units and what happens at each.
//!
//! The bounds of cells, sessions, source, tools, output and store belong to whatever runs cells; the
//! wire's frame cap is the contract's. Everything that a peer could make grow is bounded by one or the
//! other.

use std::sync::Arc;
use std::time::Duration;

use code_mode_service::DEFAULT_KEPT_OUTPUT_BYTES;

use crate::{Drain, ServeError};

/// Requests in flight on one connection. The next request gets an error response.
///
/// An execute counts until its initial response, a wait until its answer. At most
/// 128 cells can be active and observed at one time by default, so half of these are always there for
/// terminating and shutting down. Of the executes and waits no session has more than seven eighths, unless it is
/// within its share; so none can take the places of all.
pub const DEFAULT_REQUESTS_IN_FLIGHT: usize = 256;

/// Tool calls and notifications open on one connection, all cells together. The next one is
/// rejected in the script, with an error that names this bound.
///
/// The bounds per cell are the runtime's: `open_tool_calls` and `max_open_notifications`.
pub const DEFAULT_DELEGATE_CALLS: usize = 8_192;

/// Open delegate calls that the capability `delegate-capacity-4096` promises. A host that the
/// operator has allowed fewer does not offer it.
pub const PROMISED_DELEGATE_CALLS: usize = 4_096;

/// Frames that wait to be written. At this many the host takes no events of cells any more, and cells
/// whose outbox is full wait at their next tool call or notification, until the client has read some.
pub const DEFAULT_OUTGOING_FRAMES: usize = 4_096;

/// Bytes that wait to be written; what happens is the same as for [`DEFAULT_OUTGOING_FRAMES`].
pub const DEFAULT_OUTGOING_BYTES: usize = 64 << 20;

/// Bytes that wait to be written at which the connection fails at once.
///
/// What the host itself answers does not wait for room (see `outgoing.rs`), so it may pass
/// [`DEFAULT_OUTGOING_BYTES`]; this and [`DEFAULT_OUTGOING_FRAMES_HARD`] bound it.
pub const DEFAULT_OUTGOING_BYTES_HARD: usize = 1 << 30;

/// Frames that wait to be written at which the connection fails at once.
pub const DEFAULT_OUTGOING_FRAMES_HARD: usize = 65_536;

/// Events of one outbox that are passed on before another session has its turn, where some wait for
/// room.
pub(crate) const EVENTS_IN_A_ROW: usize = 64;

/// How long the outgoing queue may be full without a byte being taken before the connection fails.
pub const DEFAULT_STALL_DEADLINE: Duration = Duration::from_secs(30);

/// Answered requests whose ids are remembered. Using one of them again is a violation; using an id
/// that was forgotten goes unnoticed.
pub const DEFAULT_REMEMBERED_REQUESTS: usize = 65_536;

/// Cancelled delegate calls that are remembered. A late answer to one of them is ignored; so is
/// one to a call that was forgotten.
pub const DEFAULT_REMEMBERED_CALLS: usize = 16_384;

/// Closed sessions whose ids are remembered. Opening one of them again is a violation.
pub const DEFAULT_REMEMBERED_SESSIONS: usize = 4_096;

/// Bytes of a session id. A longer one gets an error response. The id is part of every delegate
/// request and is remembered when the session is closed.
pub const MAX_SESSION_ID_BYTES: usize = 1_024;

/// Bytes of an execute's `tool_call_id`, which is part of every notification of the cell. A longer
/// one gets an error response.
pub const MAX_TOOL_CALL_ID_BYTES: usize = 4_096;

/// From the first failure, or the end of input, to the end of [`serve`](crate::serve): the time in
/// which pending requests are answered, the queue is written out and the cells are terminated.
pub const DEFAULT_CLOSE_DEADLINE: Duration = Duration::from_millis(1_500);

/// The bounds of one connection. Every default is a constant of this module.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// See [`DEFAULT_REQUESTS_IN_FLIGHT`].
    pub requests_in_flight: usize,
    /// See [`DEFAULT_DELEGATE_CALLS`].
    pub delegate_calls: usize,
    /// See [`DEFAULT_OUTGOING_FRAMES`].
    pub outgoing_frames: usize,
    /// See [`DEFAULT_OUTGOING_BYTES`].
    pub outgoing_bytes: usize,
    /// See [`DEFAULT_OUTGOING_BYTES_HARD`].
    pub outgoing_bytes_hard: usize,
    /// See [`DEFAULT_OUTGOING_FRAMES_HARD`].
    pub outgoing_frames_hard: usize,
    /// See [`DEFAULT_STALL_DEADLINE`].
    pub stall_deadline: Duration,
    /// See [`DEFAULT_REMEMBERED_REQUESTS`].
    pub remembered_requests: usize,
    /// See [`DEFAULT_REMEMBERED_CALLS`].
    pub remembered_calls: usize,
    /// See [`DEFAULT_REMEMBERED_SESSIONS`].
    pub remembered_sessions: usize,
    /// See [`DEFAULT_CLOSE_DEADLINE`].
    pub close_deadline: Duration,
    /// Cut output that each session keeps, bytes of UTF-8; see [`DEFAULT_KEPT_OUTPUT_BYTES`].
    pub kept_output_bytes: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            requests_in_flight: DEFAULT_REQUESTS_IN_FLIGHT,
            delegate_calls: DEFAULT_DELEGATE_CALLS,
            outgoing_frames: DEFAULT_OUTGOING_FRAMES,
            outgoing_bytes: DEFAULT_OUTGOING_BYTES,
            outgoing_bytes_hard: DEFAULT_OUTGOING_BYTES_HARD,
            outgoing_frames_hard: DEFAULT_OUTGOING_FRAMES_HARD,
            stall_deadline: DEFAULT_STALL_DEADLINE,
            remembered_requests: DEFAULT_REMEMBERED_REQUESTS,
            remembered_calls: DEFAULT_REMEMBERED_CALLS,
            remembered_sessions: DEFAULT_REMEMBERED_SESSIONS,
            close_deadline: DEFAULT_CLOSE_DEADLINE,
            kept_output_bytes: DEFAULT_KEPT_OUTPUT_BYTES,
        }
    }
}

/// Told of the first failure of a connection, at once and on whatever thread found it. Must not
/// block.
pub type FailureHook = Arc<dyn Fn(&ServeError) + Send + Sync>;

/// Which of the timings that the contract tolerates (section *Extensions*) a response carries.
///
/// Decoders of the public client differ from age to age: some refuse both, some need the first and
/// refuse the second. A client that offers `yield-observation` is one of the latter and gets
/// [`V1Timings::Duration`] whatever the operator says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum V1Timings {
    /// None: plain V1.
    #[default]
    None,
    /// `code_mode_host_duration_ns`: from the receipt of the request to its answer.
    Duration,
    /// That and `result_buffered_for_ns`: how long a finished result waited for its observer.
    Both,
}

impl V1Timings {
    /// The timings of this name, as the command line and the environment give it.
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "duration" => Some(Self::Duration),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

/// What the operator decides about a connection.
#[derive(Clone)]
pub struct Config {
    /// Bounds of the connection.
    pub limits: ConnectionLimits,
    /// Which timings the responses carry where the client's hello leaves that open.
    pub timings: V1Timings,
    /// The yield time of a request that does not say.
    pub default_yield_time: Duration,
    /// What the log says about this program.
    pub version: &'static str,
    /// Told of the first failure.
    pub on_failure: Option<FailureHook>,
    /// Says when the connection is to end in order; without it, it ends with its client only.
    pub drain: Option<Drain>,
}
