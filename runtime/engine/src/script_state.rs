// SPDX-License-Identifier: Apache-2.0
//! What the helpers of one running script share. Lives in a slot of the isolate.

use crate::intrinsics::Intrinsics;
use crate::large_integers::Changed;
use crate::rejections::Rejections;
use crate::timers::Timers;
use crate::tool_table::ToolTable;
use crate::web::state::WebState;
use crate::world::{StopCause, World};
use std::cell::{Cell as Number, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// A tool call whose answer has not come.
pub(crate) struct PendingCall {
    pub(crate) resolver: v8::Global<v8::PromiseResolver>,
    /// Line and column of the call, from 1; 0 when V8 does not know.
    pub(crate) position: (usize, usize),
    /// Index of the tool in the cell's table.
    pub(crate) tool: usize,
    /// The span from the call to its answer.
    pub(crate) _span: tracing::Span,
}

/// The state of one running script; used on its V8 thread only.
pub(crate) struct ScriptState {
    pub(crate) world: Rc<dyn World>,
    pub(crate) tools: ToolTable,
    pub(crate) calls: RefCell<HashMap<u64, PendingCall>>,
    pub(crate) tool_functions: RefCell<HashMap<usize, v8::Global<v8::Function>>>,
    pub(crate) timers: RefCell<Timers>,
    pub(crate) rejections: RefCell<Rejections>,
    pub(crate) modules: RefCell<HashMap<String, v8::Global<v8::Module>>>,
    pub(crate) total_tool_calls: Number<u64>,
    pub(crate) web: WebState,
    pub(crate) intrinsics: Rc<Intrinsics>,
    pub(crate) changed: Changed,
    next_call: Number<u64>,
    stopping: Number<bool>,
}

impl ScriptState {
    pub(crate) fn new(world: Rc<dyn World>, tools: ToolTable, intrinsics: Rc<Intrinsics>) -> Self {
        Self {
            world,
            tools,
            calls: RefCell::default(),
            tool_functions: RefCell::default(),
            timers: RefCell::default(),
            rejections: RefCell::default(),
            modules: RefCell::default(),
            total_tool_calls: Number::new(0),
            web: WebState::default(),
            intrinsics,
            changed: Changed::default(),
            next_call: Number::new(1),
            stopping: Number::new(false),
        }
    }

    /// The state of the script that runs in this isolate.
    pub(crate) fn of(isolate: &v8::Isolate) -> Option<Rc<Self>> {
        isolate.get_slot::<Rc<Self>>().cloned()
    }

    /// Whether the script is to run no further, by what it has done itself or by somebody's word. V8 looks
    /// for that word only every few thousand times round a loop, however long each of them takes.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get() || self.world.stop_cause().is_some()
    }

    /// Stops the script for this cause.
    pub(crate) fn stop(&self, cause: StopCause) {
        self.stopping.set(true);
        self.world.stopper().stop(cause);
    }

    /// A number for the next call of the delegate.
    pub(crate) fn next_call(&self) -> u64 {
        let call = self.next_call.get();
        self.next_call.set(call + 1);
        call
    }

    /// Drops every handle into the isolate.
    pub(crate) fn drop_handles(&self) {
        self.calls.take();
        self.tool_functions.take();
        self.timers.take();
        self.rejections.take();
        self.modules.take();
        self.web.drop_handles();
    }
}
