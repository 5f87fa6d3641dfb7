// SPDX-License-Identifier: Apache-2.0
//! What the host costs in instructions, counted by valgrind and held against a baseline.
//!
//! # Purpose
//! A time says as much about the machine as about the program; the number of instructions does
//! not, so a test can judge it. [`measure`] runs the real host under callgrind, plays each of
//! [`SCENARIOS`] with few and with many repetitions, and takes the difference: what starting V8
//! and filling the pool of isolates costs is in both and falls out. Each message waits until all
//! threads of the host sleep, and none of them waits awake, so what is counted does not depend on how
//! fast the two processes are. [`compare`] says which
//! [`Figures`] left the baseline by more than [`TOLERANCE_PERMILLE`], upwards or downwards: a gain
//! that nobody writes down could be lost again unseen.
//!
//! The counts belong to one compiler, one V8, one C library and one valgrind, so the baseline holds
//! for the Bazel build alone and the check exists only there. Valgrind passes on which vector
//! instructions the processor has, and the C library and V8 choose by them; a processor of quite
//! another kind may need a baseline of its own.
//!
//! # Life cycle
//! The action `:measured` writes figures, `:baseline_test` compares them with `baseline.txt`, and
//! `tools/bazel run //host/instructions:renew` makes them the baseline.
//!
//! # Threads
//! One task here. Valgrind runs one thread of the host at a time, in turns (`--fair-sched=yes`).
//!
//! # Limits
//! [`PATIENCE`] ends a host that does not go on. A frame of more than [`MAX_PAYLOAD_BYTES`] is
//! refused.

#![forbid(unsafe_code)]

mod conversation;
mod error;
mod figures;
mod measure;
mod scenario;
mod threads;

pub use conversation::MAX_PAYLOAD_BYTES;
pub use error::Error;
pub use figures::{Figures, SyntaxError, TOLERANCE_PERMILLE, compare};
pub use measure::{PATIENCE, measure};
pub use scenario::{SCENARIOS, Scenario, Work};
