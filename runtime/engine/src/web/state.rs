// SPDX-License-Identifier: Apache-2.0
//! What the web's globals of one script keep in Rust.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use encoding_rs::Decoder;

/// What the globals of one script keep in Rust.
#[derive(Default)]
pub(crate) struct WebState {
    /// What looks at the second argument of a tool call; set where the script has the web's globals.
    pub(super) on_call: RefCell<Option<v8::Global<v8::Function>>>,
    pub(super) decoders: RefCell<Decoders>,
    /// When the script began, in milliseconds since 1970, once it has asked.
    started: OnceCell<f64>,
}

impl WebState {
    /// Has tool calls look at their second argument.
    pub(crate) fn look_at_calls(&self, on_call: v8::Global<v8::Function>) {
        // The clock of the page begins with the script.
        self.started.get_or_init(now);
        *self.on_call.borrow_mut() = Some(on_call);
    }

    /// When the script began, in milliseconds since 1970: no finer than `Date`.
    pub(super) fn started(&self) -> f64 {
        *self.started.get_or_init(now)
    }

    /// Drops every handle into the isolate.
    pub(crate) fn drop_handles(&self) {
        self.on_call.take();
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_millis() as f64)
}

/// Decoders between two pieces of their input, by number.
#[derive(Default)]
pub(super) struct Decoders {
    pub(super) open: HashMap<u64, Decoder>,
    pub(super) last: u64,
}
