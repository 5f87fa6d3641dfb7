// SPDX-License-Identifier: Apache-2.0
//! The bounds of the runtime: defaults, units, what happens when one is reached, and what it does
//! not cover.
//!
//! A cell that reaches one of its bounds ends, and its script cannot catch that: the response
//! carries the output so far and an error text that names the bound and its value.
//! The session and all other cells go on.
//! A bound on admission (source, tools, sessions, cells, results) refuses the operation with
//! [`SessionError::Limit`](code_mode_api::SessionError::Limit), and nothing has run.

use std::time::Duration;

#[doc(inline)]
pub use code_mode_engine::limits::*;

/// Sessions open at one time.
pub const DEFAULT_MAX_SESSIONS: usize = 64;

/// Cells running at one time, all sessions together. A cell whose script has ended no longer
/// counts, even if nobody has read its result. The last eighth is for sessions that have fewer than their share,
/// so that no session can take all.
pub const DEFAULT_MAX_ACTIVE_CELLS: usize = 128;

/// Results that wait for an observer, per session; active cells count too, since each may leave
/// one.
pub const DEFAULT_MAX_STORED_RESULTS: usize = 256;

/// Cells over the life of one session. Admission fails before the counter would wrap.
pub const DEFAULT_MAX_CELLS_PER_SESSION: u64 = u64::MAX - 1;

/// Source of one cell, bytes of UTF-8. V8 cannot be interrupted while it compiles; this bounds how
/// long that takes.
pub const DEFAULT_MAX_SOURCE_BYTES: usize = 1 << 20;

/// Tools offered to one cell.
pub const DEFAULT_MAX_TOOLS: usize = 4096;

/// Names, descriptions and schemas of all tools of one cell, bytes.
pub const DEFAULT_MAX_TOOL_BYTES: usize = 16 << 20;

/// Keys and values of one session's store, bytes of UTF-8. What a running cell has stored counts in
/// addition to what it will replace.
pub const DEFAULT_MAX_STORE_BYTES: usize = 16 << 20;

/// Keys of one session's store, counted like [`DEFAULT_MAX_STORE_BYTES`].
pub const DEFAULT_MAX_STORE_KEYS: usize = 1_000;

/// Notifications of one cell that are not yet delivered.
pub const DEFAULT_MAX_OPEN_NOTIFICATIONS: usize = 1_000;

/// Cells that have ended and are just being disposed of, at one time, where few may be active; where
/// more may be active than this, as many as those.
///
/// To dispose of a cell takes less than to make one, so there are never many; but a machine that is
/// busy may put it off, and then a runtime of one or two cells must not refuse the next ones.
pub const MIN_DISPOSED_CELLS: usize = 32;

/// Threads of cells that there may be at one time, when so many cells may be active: theirs, and those
/// of cells that have ended and are just being disposed of. A cell that would need one more is refused.
pub const fn max_cell_threads(max_active_cells: usize) -> usize {
    let disposed = if max_active_cells > MIN_DISPOSED_CELLS {
        max_active_cells
    } else {
        MIN_DISPOSED_CELLS
    };
    max_active_cells.saturating_add(disposed)
}

/// Events of one session that its client has not taken, bytes. Threads and processes of cells that have some
/// wait before they say more.
pub const DEFAULT_SESSION_EVENT_BYTES: usize = 64 << 20;

/// The same of all sessions of a host together, bytes: each session has an equal share of it when that is less
/// than [`DEFAULT_SESSION_EVENT_BYTES`].
pub const DEFAULT_EVENT_BYTES: usize = 512 << 20;

/// Tools' answers of one session that its cells have not had, bytes. An answer that would pass it rejects its
/// call with an error that names this bound. Cells that compute do not take any.
pub const DEFAULT_SESSION_ANSWER_BYTES: usize = 128 << 20;

/// The same of all sessions of a host together, bytes; the last eighth is for sessions that hold less than
/// their share.
pub const DEFAULT_ANSWER_BYTES: usize = 512 << 20;

/// Output of one session's cells that nobody has read, bytes: of cells that run, and of ended ones that keep
/// their result. A cell that would pass it ends with an error that names this bound.
pub const DEFAULT_SESSION_UNREAD_BYTES: usize = 128 << 20;

/// The same of all sessions of a host together, bytes; the last eighth is for sessions that hold less than
/// their share.
pub const DEFAULT_UNREAD_BYTES: usize = 512 << 20;

/// Isolates kept ready ahead of need, per runtime. Each takes about 750 KiB.
///
/// Four are enough for the calls that one agent makes at the same moment, and for the next ones
/// while their successors are made.
pub const DEFAULT_READY_ISOLATES: usize = 4;

/// Isolates that are made at one time for cells which found none ready, per processor. The cells that
/// come on top wait for their turn, at most [`DEFAULT_MAX_ACTIVE_CELLS`] of them or what the operator
/// says instead; one isolate takes about 0.6 ms of a processor.
///
/// Without the bound, 64 cells that start together take 54 MiB instead of 8, and 15 % longer. With it,
/// a crowd of cells starts later where dozens of scripts compute at the same time
/// (`docs/performance.md`).
pub const BIRTHS_PER_PROCESSOR: usize = 2;

/// Stored values of a session that go to a cell's process with its script, bytes; where there are more, the
/// process asks for each that its script loads.
pub const RUN_STORE_BYTES: usize = 16 << 10;

/// How long a script computes, in a process of its own, before it lets others on the machine go first.
pub const NICE_AFTER: Duration = Duration::from_secs(2);

/// How long a cell whose script has ended waits for its notifications to be delivered.
pub const DEFAULT_NOTIFICATION_GRACE: Duration = Duration::from_secs(30);

/// How long a cell's thread waits awake for a tool's answer before it sleeps, unless its last wait took
/// more than twice as long. Sequential calls of a tool that answers at once take two thirds of the time so.
/// 0 lets it sleep at once, which saves processor time where that is dearer than latency.
pub const DEFAULT_ANSWER_SPIN: Duration = Duration::from_micros(100);

/// Callbacks of a cell that a thread which has put one runs in one go, at most; a task runs the
/// others, as many between two looks at other tasks. So a cell that says much holds nobody up.
pub const CALLBACKS_AT_ONCE: usize = 32;

/// How long a script that was told to stop may go on before the supervisor is told. The time in which its
/// thread waits for its embedder to have room does not count.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// How often the watchdog looks at a cell that was told to stop, and the shortest time between two
/// looks at a cell's CPU clock.
pub const WATCHDOG_TICK: Duration = Duration::from_millis(10);
