// SPDX-License-Identifier: Apache-2.0
//! Isolates and scripts: everything of Code Mode that touches V8.
//!
//! # Purpose
//! A [`ReadyIsolate`] is an isolate with a context in which all that scripts see is installed. It runs
//! one script, in a [`World`]: whatever the script reaches outside of its isolate. Whether that script
//! is a thread among others or a process of its own is the business of whoever implements the world.
//!
//! # Life cycle
//! [`platform::set_up`] sets V8 up, once in a process. [`ReadyIsolate::new`] makes an isolate,
//! [`ReadyIsolate::run`] runs its one script to the end, and its drop gives everything back.
//!
//! # Threads
//! An isolate stays on the thread that made it. [`IsolateStopper`] and [`Stop`] may be used from any.
//!
//! # Limits
//! See [`limits`]. The world counts what it keeps (output, stored values); this crate counts what only
//! it sees: V8's heap, what is outside of it, open tool calls, timers, the size of values.
//!
//! # Safety of V8
//! V8's sandbox is on, and each isolate gives up its memory to bounds. Callbacks from V8 catch panics,
//! so that none crosses V8's frames.

mod audio;
mod bigints;
mod buffers;
mod callback;
mod content;
mod control;
mod errors;
mod event_loop;
mod globals;
mod hints;
mod integers;
mod intrinsics;
mod isolate;
mod json;
mod large_integers;
pub mod limits;
mod modules;
mod output;
mod own_script;
pub mod platform;
mod readable;
mod rejections;
mod script_state;
mod settled;
mod stored;
mod strings;
mod timers;
pub mod timing;
mod tool_table;
mod tools;
pub mod typescript;
mod web;
mod world;

pub use errors::limit_text;
pub use isolate::{IsolateStopper, ReadyIsolate};
pub use tool_table::ToolTable;
pub use world::{Bound, ScriptOptions, Stop, StopCause, ToolAnswer, ToolCall, World};

/// How a script has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ran to its end, or was stopped.
    Completed {
        /// Why the script failed, for its model; `None` when it did not fail.
        error_text: Option<String>,
    },
    /// A callback of ours panicked: the panic's message.
    Panicked(String),
}

/// The message of a caught panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
