//! The bounds of a connection: their defaults, their units and what happens at each.
//!
//! The runtime's own bounds (cells, sessions, source, tools, output, store) are in
//! [`code_mode_runtime::limits`]; the wire's frame cap is the contract's. Everything that a peer
//! could make grow is bounded by one or the other.

use std::sync::Arc;
use std::time::Duration;

use code_mode_runtime::RuntimeConfig;
use code_mode_service::DEFAULT_KEPT_OUTPUT_BYTES;

use crate::{Drain, ServeError};

/// Requests in flight on one connection. The next request gets an error response.
///
/// An execute counts until its initial response, a wait until its answer. At most
/// [`DEFAULT_MAX_ACTIVE_CELLS`](code_mode_runtime::limits::DEFAULT_MAX_ACTIVE_CELLS) (128) cells can
/// be observed at one time, so half of these are always there for terminating and shutting down.
pub const DEFAULT_REQUESTS_IN_FLIGHT: usize = 256;

/// Tool calls and notifications open on one connection, all cells together. The next one is
/// rejected in the script, with an error that names this bound.
///
/// The bounds per cell are the runtime's: `open_tool_calls` and `max_open_notifications`.
pub const DEFAULT_DELEGATE_CALLS: usize = 8_192;

/// Open delegate calls that the capability `delegate-capacity-4096` promises. A host that the
/// operator has allowed fewer does not offer it.
pub const PROMISED_DELEGATE_CALLS: usize = 4_096;

/// Frames that wait to be written. At this many the host stops reading and scripts stop at their
/// next tool call or notification, until the client has read some.
pub const DEFAULT_OUTGOING_FRAMES: usize = 4_096;

/// Bytes that wait to be written; what happens is the same as for [`DEFAULT_OUTGOING_FRAMES`].
pub const DEFAULT_OUTGOING_BYTES: usize = 64 << 20;

/// Bytes that wait to be written at which the connection fails at once.
///
/// Answers to requests in flight cannot wait for room (see `outgoing.rs`), so they may pass
/// [`DEFAULT_OUTGOING_BYTES`]; this bounds them.
pub const DEFAULT_OUTGOING_BYTES_HARD: usize = 1 << 30;

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

/// From the first failure to the end of the process, whatever hangs (issue: at most 2 seconds).
pub const EXIT_DEADLINE: Duration = Duration::from_secs(2);

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

/// What the operator decides about a host.
#[derive(Clone, Default)]
pub struct HostConfig {
    /// Bounds of the connection.
    pub limits: ConnectionLimits,
    /// Bounds of the runtime behind it.
    pub runtime: RuntimeConfig,
    /// Which timings the responses carry where the client's hello leaves that open.
    pub timings: V1Timings,
    /// Told of the first failure. The process uses it to end itself within [`EXIT_DEADLINE`] even
    /// if the rest of the connection hangs.
    pub on_failure: Option<FailureHook>,
    /// Says when the host is to end in order; without it, it ends with its client only.
    pub drain: Option<Drain>,
}
