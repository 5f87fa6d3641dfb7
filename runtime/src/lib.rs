// SPDX-License-Identifier: Apache-2.0
//! The runtime of Code Mode: sessions, and cells on threads of this process or in processes of their own.
//!
//! # Purpose
//! [`Runtime`] opens [`Session`]s; a session runs cells, each a script in an isolate and a context of
//! its own, used once, on a thread or in a process as [`Cells`] says. It implements the traits of
//! [`code_mode_api`], and under them offers a callback-style interface with a strict order of events,
//! which a wire protocol needs. It knows no transport and no wire types.
//!
//! # Life cycle
//! [`Session::admit`] checks a request and takes a slot; [`AdmittedCell::start`] runs it;
//! [`Session::observe`] and [`Session::terminate`] follow it to its end; [`Session::begin_shutdown`]
//! ends them all. The table of states is below, and in code in `phase.rs`.
//!
//! # Threads
//! See the tables below, of threads and of processes. Locks are held for moments only, never while the embedder or V8 is called,
//! and always in the order cell, then session.
//!
//! # Limits
//! See [`limits`].
//!
#![doc = include_str!("../README.md")]

mod backend;
mod call;
mod cell;
mod config;
mod faults;
mod figures;
mod forks;
mod job;
pub mod limits;
mod observation;
mod phase;
mod provider;
mod reach;
mod ringer;
mod runtime;
mod runtime_core;
mod session;
mod shared;
mod shares;
mod shield;
mod slots;
mod start_error;
mod store;
mod supervisor;
mod threads;
mod timing;
mod waist;
mod watchdog;

pub use code_mode_engine::platform::Jit;
pub use code_mode_fork::{
    Checked, Confinement, HostNeeds, Outcome, Program, Region, Starter, check_confinement,
    confine_host, entry,
};
pub use config::{Cells, Forked, RuntimeConfig};
pub use figures::{CellEnd, Figures, TIME_CLASSES, Times};
pub use observation::{ObservationId, Observer};
pub use runtime::Runtime;
pub use session::{AdmittedCell, Session};
pub use start_error::RuntimeStartError;
pub use supervisor::{RuntimeFailure, Supervisor};
pub use waist::CELL_OUTBOX_BYTES;

#[cfg(test)]
#[path = "faults_tests.rs"]
mod faults_tests;
