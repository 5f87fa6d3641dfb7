// SPDX-License-Identifier: Apache-2.0
//! The bounds of the door: what a client can make it hold, beside what sessions and cells bound.

use std::time::Duration;

/// One id, tool name or namespace that a client chooses, in bytes. Longer ones are refused.
pub const MAX_ID_BYTES: usize = 1_024;

/// Execution ids, wait ids and finished invocations that a session remembers, each, so that it can
/// tell an id that was used. The oldest are forgotten first.
pub const REMEMBERED_IDS: usize = 16_384;

/// Tool calls of a session that may be unanswered at one time, unless it was opened with another
/// number; also the largest number that it can be opened with. A call beyond it fails in the script.
pub const MAX_PENDING_CALLS: usize = 4_096;

/// Executes, waits and terminates of one session that may be unanswered at one time.
pub const MAX_ASKS: usize = 4_096;

/// Subscriptions of one session at one time.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// Tool names in all subscriptions of one session.
pub const MAX_SUBSCRIBED_NAMES: usize = 65_536;

/// Streams of one connection at one time. Each lease, subscription and execute is one for as long as it
/// lasts; a client's further requests wait on its side.
pub const MAX_STREAMS: u32 = 2_048;

/// Headers of one request, in bytes. A request with more is refused.
pub const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Request bytes of one connection that are received and not yet understood, in bytes: requests come
/// in parts, and one that never ends is held in memory. A request beyond it is refused.
pub const MAX_REQUEST_BYTES: usize = 256 << 20;

/// One question whether the host is healthy, in bytes. Whoever asks needs no token, so it is held to what the
/// longest name of a service takes. A longer one is refused.
pub const MAX_CHECK_BYTES: usize = 1_024;

/// Questions whether the host is healthy that one connection may have unanswered at one time: a balancer has one.
/// Those beyond it are refused.
pub const MAX_CHECKS: usize = 16;

/// How long such a question may take, from its headers to its answer. One that is not asked to its end by then is
/// refused, so that nobody without a token holds anything for longer.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client may send on one stream before the host has read it, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// What a client may send on one connection before the host has read it, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// What the host holds for one stream beyond what the client takes, in bytes. Events that do not fit
/// stay in their session, where they count.
pub const STREAM_SEND_BYTES: usize = 256 << 10;

/// How long a connection that is silent is left alone before the host asks whether it is there. Sockets
/// only.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long the answer to that may take before the connection counts as lost.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections of one listener at one time. Those beyond it are closed at once.
pub const MAX_CONNECTIONS: usize = 256;

/// How long a client may take for the TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the connections get to end after the last session was closed, when the host drains.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
