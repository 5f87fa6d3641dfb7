//! The in-process runtime of Code Mode: sessions and cells on V8.
//!
//! # Purpose
//! [`Runtime`] opens [`Session`]s; a session runs cells, each a script in an isolate, a context and a
//! thread of its own, used once. It implements the traits of [`code_mode_api`], and under them
//! offers a callback-style interface with a strict order of events, which a wire protocol needs.
//! It knows no transport and no wire types, and is the only package that links V8.
//!
//! # Life cycle
//! [`Session::admit`] checks a request and takes a slot; [`AdmittedCell::start`] runs it;
//! [`Session::observe`] and [`Session::terminate`] follow it to its end; [`Session::begin_shutdown`]
//! ends them all. The table of states is below, and in code in `phase.rs`.
//!
//! # Threads
//! See the table below. Locks are held for moments only, never while the embedder or V8 is called,
//! and always in the order cell, then session.
//!
//! # Limits
//! See [`limits`].
//!
//! # Safety of V8
//! V8's sandbox is on, and each isolate gives up its memory to bounds ([`limits`]). V8's API
//! callbacks catch panics, so that none crosses V8's frames.
//!
#![doc = include_str!("../README.md")]

mod births;
mod call;
mod cell;
mod config;
mod engine;
mod inbox;
pub mod limits;
mod phase;
mod pool;
mod provider;
mod runtime;
mod script;
mod session;
mod store;
mod supervisor;
mod timing;
mod tool_table;
mod waist;
mod watchdog;

pub use cell::{ObservationId, Observer};
pub use config::{Fault, RuntimeConfig};
pub use runtime::{Runtime, RuntimeStartError};
pub use session::{AdmittedCell, Session};
pub use supervisor::{RuntimeFailure, Supervisor};
pub use waist::{CELL_OUTBOX_BYTES, SESSION_EVENT_BYTES};
