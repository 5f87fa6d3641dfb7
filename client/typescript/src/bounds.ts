// SPDX-License-Identifier: Apache-2.0
/**
 * Every bound of a session, with its unit, and the deadlines that a host has to keep.
 *
 * The values are those of the project's Rust client. Nothing in this package grows without one of them.
 */

/** Payload of one frame, in bytes; a longer one is refused before anything is allocated for it. */
export const MAX_FRAME_BYTES: number = 64 * 1024 * 1024;
/** Requests of one session that are not fully answered; further callers wait. */
export const MAX_CALLS = 1024;
/** Bytes of encoded frames that the host has not taken yet; further callers wait. One frame always fits. */
export const MAX_OUTGOING_BYTES: number = 128 * 1024 * 1024;
/** Tool calls and notifications at work at one time; a further one is answered with an error. */
export const MAX_TOOL_CALLS = 4096;
/** Bytes of tool inputs and notifications at work at one time; one beyond is answered with an error. */
export const MAX_TOOL_INPUT_BYTES: number = 256 * 1024 * 1024;
/** Delegate request ids of the host that are remembered, so that one given twice is noticed. */
export const MAX_REMEMBERED_IDS = 4096;
/** Cells of a session whose final result nobody has taken; further starts are refused. */
export const MAX_KEPT_CELLS = 1024;
/** Tool calls and notifications that wait for the iterator of a cell; past this the oldest is dropped. */
export const MAX_CELL_EVENTS = 1024;
/** Bytes of tool inputs and notifications that wait for the iterator of a cell; past this the oldest goes. */
export const MAX_CELL_EVENT_BYTES: number = 16 * 1024 * 1024;
/** Lost hosts of which a session remembers the cause. */
export const MAX_REMEMBERED_LOSSES = 16;
/** Last lines of the host's standard error that an error shows. */
export const MAX_STDERR_LINES = 20;
/** Bytes of one such line; the rest of a longer one is dropped. */
export const MAX_STDERR_LINE_BYTES = 4096;
/** Bytes that are handed to the system at a time, so that the progress of a slow host shows. */
export const WRITE_BYTES: number = 64 * 1024;
/** How long an observer waits for a cell before it gets what has come so far, in milliseconds. */
export const DEFAULT_YIELD_MS = 10_000;
/** How far the end of a host's output and the exit of its process may be apart, in milliseconds. */
export const END_GRACE_MS = 50;
/** The pause before the second restart in a row, in milliseconds; each further one doubles it. */
export const FIRST_RESTART_PAUSE_MS = 100;
/** The longest pause between restarts, in milliseconds. */
export const MAX_RESTART_PAUSE_MS = 10_000;
/** A host that stayed up for this long was sound: the next one starts without a pause. In milliseconds. */
export const STABLE_AFTER_MS = 10_000;

/** How long a host may take for what, in milliseconds. Missing one ends the host. */
export interface Deadlines {
  /** From the start of its program to its greeting. Defaults to 20,000. */
  startupMs: number;
  /** From the end of its input to its exit; then it is killed. Defaults to 2,000. */
  shutdownMs: number;
  /**
   * For an answer, beyond any yield time. A host that is in the middle of a frame and goes on sending it is not
   * overdue. Defaults to 60,000.
   */
  callMs: number;
  /** Without taking any of what is written to it. Defaults to 30,000. */
  writeMs: number;
}

/** What holds where a session names no others. */
export const DEFAULT_DEADLINES: Deadlines = { startupMs: 20_000, shutdownMs: 2_000, callMs: 60_000, writeMs: 30_000 };

/**
 * Which globals a script has: those of the contract, or `URL`, `console`, `AbortController` and their like as well.
 * Needs a host with the capability `code_mode/globals-v1`.
 */
export type Globals = "contract" | "web";

/** All that {@link Globals} can be. */
export const GLOBALS: readonly Globals[] = ["contract", "web"];

/**
 * Bounds of one cell. Each lowers the operator's bound and never raises it. Needs a host with the capability
 * `code_mode/limits-v1`.
 */
export interface Limits {
  /** V8 heap, in bytes. */
  heapBytes?: number;
  /** Memory outside the V8 heap, in bytes. */
  externalBytes?: number;
  /** Time that the script itself computes, in milliseconds. */
  cpuTimeMs?: number;
  /** Time from start to end, waiting included, in milliseconds. */
  wallTimeMs?: number;
  /** All output together, in bytes. */
  outputBytes?: number;
  /** Output items. */
  outputItems?: number;
  /** Tool calls open at one time. */
  openToolCalls?: number;
  /** Tool calls over the life of the cell. */
  totalToolCalls?: number;
  /** Timers pending at one time. */
  timers?: number;
}
