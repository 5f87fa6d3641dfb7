// SPDX-License-Identifier: Apache-2.0
//! The body of a cell's thread: one isolate, one script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use code_mode_api::{ContentItem, ToolDefinition};
use code_mode_engine::limits::EffectiveLimits;
use code_mode_engine::typescript::TypeScriptError;
use code_mode_engine::{
    Bound, Ended, ReadyIsolate, ScriptOptions, Stop, StopCause, ToolAnswer, ToolCall, ToolTable,
    World,
};

use crate::cell::{Cell, SeatedCell};
use crate::faults::Fault;
use crate::job::Job;
use crate::limits::WATCHDOG_TICK;
use crate::reach::Reach;
use crate::ringer;
use crate::store::{Snapshot, Writes};
use crate::threads::inbox::Inbox;
use crate::threads::keeper::{self, Order, V8Thread};
use crate::threads::typescript;
use crate::timing;

/// Makes an isolate, waits for its one job, runs it, disposes of it all.
///
/// `made` is called once the isolate is made, or could not be.
pub(crate) fn thread_main(
    heap_bytes: u64,
    made: impl FnOnce(),
    jobs: &mpsc::Receiver<(Job, V8Thread)>,
) {
    // A job may already be on its way when making the isolate panics; it must not be lost with the
    // channel, or its cell would never learn of it.
    let isolate = timing::isolate().in_scope(|| catch_unwind(|| ReadyIsolate::new(heap_bytes)));
    made();
    let (job, isolate) = match jobs.try_recv() {
        Ok(job) => (Ok(job), isolate),
        // Nobody waits for this isolate yet.
        Err(_) => {
            let isolate = isolate.and_then(|mut isolate| {
                catch_unwind(AssertUnwindSafe(|| {
                    isolate.compile_ahead();
                    isolate
                }))
            });
            (jobs.recv(), isolate)
        }
    };
    let Ok((job, thread)) = job else {
        return;
    };
    ringer::is_a_cells_own();
    let Job {
        cell: seated,
        source,
        tools,
        within,
        queued,
    } = job;
    let cell = Arc::clone(seated.cell());
    let _join = JoinOnDrop(Some((thread, seated)));
    drop(queued);
    match isolate {
        Ok(isolate) => within.in_scope(|| run(isolate, cell, source, tools)),
        Err(panic) => resume_unwind(panic),
    }
}

/// Has the keeper join this thread as the very last thing that it does, also when it panics.
struct JoinOnDrop(Option<(V8Thread, SeatedCell)>);

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        if let Some((thread, cell)) = self.0.take() {
            keeper::order(Order::Join(thread, Some(cell)));
        }
    }
}

fn run(mut isolate: ReadyIsolate, cell: Arc<Cell>, source: String, tools: ToolTable) {
    name_thread(&cell);
    cell.begins(Reach::thread(isolate.stopper()));
    let has_fault = |fault| cell.runtime.config.has_fault(fault);
    if has_fault(Fault::PanicInThread) {
        panic!("a test wants it so");
    }
    if has_fault(Fault::VanishingThread) {
        return;
    }
    if has_fault(Fault::ImpossibleStep) {
        cell.impossible_step();
    }
    if has_fault(Fault::DeafThread) {
        // The test hears that it is at work.
        cell.yield_control();
        while !cell.is_given_up() {
            std::thread::park_timeout(WATCHDOG_TICK);
        }
    }
    let world = Rc::new(ThreadWorld {
        stored: cell.store.snapshot(),
        writes: RefCell::new(Writes::new(&cell.store)),
        tools: Arc::clone(tools.tools()),
        cell: Arc::clone(&cell),
    });
    let of_cell = timing::cell(&cell).entered();
    let ended = isolate.run(Rc::clone(&world) as _, tools, &source);
    cell.script_ended();
    let error_text = match ended {
        Ended::Completed { error_text } => error_text,
        Ended::Panicked(message) => {
            drop(isolate);
            resume_unwind(Box::new(message));
        }
    };
    world.writes.borrow_mut().commit();
    wait_for_notifications(&cell);
    cell.finished(error_text);
    drop(of_cell);
    timing::dispose(&cell).in_scope(|| drop(isolate));
}

/// Waits until the notifications of a cell whose script has ended are delivered, for a bounded
/// time.
fn wait_for_notifications(cell: &Arc<Cell>) {
    let until = Instant::now() + cell.runtime.config.notification_grace;
    while !cell.is_settled() && Instant::now() < until {
        inbox(cell, Some(until));
    }
}

fn inbox(cell: &Cell, until: Option<Instant>) -> VecDeque<ToolAnswer> {
    cell.mailbox
        .inbox()
        .map_or_else(VecDeque::new, |inbox: &Inbox| inbox.take(until))
}

/// Names the thread after its cell, for debuggers and `/proc`.
fn name_thread(cell: &Cell) {
    if let Ok(name) = CString::new(format!("cell-{}", cell.id)) {
        // SAFETY: PR_SET_NAME reads a NUL-terminated string, which `name` is; it is cut to 15 bytes.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}

/// What a script on a thread reaches: its cell, directly.
struct ThreadWorld {
    cell: Arc<Cell>,
    tools: Arc<[ToolDefinition]>,
    /// The session's values when the cell began.
    stored: Snapshot,
    /// What the script has stored.
    writes: RefCell<Writes>,
}

impl World for ThreadWorld {
    fn limits(&self) -> &EffectiveLimits {
        &self.cell.limits
    }

    fn options(&self) -> ScriptOptions {
        self.cell.options
    }

    fn without_types(&self, source: &str) -> Result<String, TypeScriptError> {
        typescript::read(source, || self.stop_cause().is_some())
    }

    fn stopper(&self) -> Arc<dyn Stop> {
        Arc::new(StopCell(Arc::clone(&self.cell)))
    }

    fn stop_cause(&self) -> Option<StopCause> {
        self.cell.stop_cause()
    }

    fn output(&self, item: ContentItem) -> Result<(), Bound> {
        if self.cell.runtime.config.has_fault(Fault::PanicInHelper) {
            panic!("a test wants it so");
        }
        self.cell.output(item)
    }

    fn call(&self, call: ToolCall) {
        if let Some(tool) = self.tools.get(call.tool) {
            self.cell.make_room(call.input.len());
            self.cell.invoke(call, tool);
        }
    }

    fn abandon(&self, call: u64) {
        self.cell.abandon(call);
    }

    fn notify(&self, call: u64, text: String) -> Result<(), Bound> {
        self.cell.make_room(text.len());
        self.cell.notify(call, text)
    }

    fn yield_control(&self) {
        self.cell.yield_control();
    }

    fn load(&self, key: &str) -> Option<Arc<str>> {
        let writes = self.writes.borrow();
        writes.get(key).or_else(|| self.stored.get(key)).cloned()
    }

    fn save(&self, key: String, value: Arc<str>) -> Result<(), Bound> {
        self.writes.borrow_mut().put(key, value)
    }

    fn tool_descriptions(&self) -> Vec<String> {
        let tools = self.tools.iter();
        tools.map(|tool| tool.description.clone()).collect()
    }

    fn inbox(&self, until: Option<Instant>) -> VecDeque<ToolAnswer> {
        inbox(&self.cell, until)
    }
}

/// Stops a cell for what its script has done.
struct StopCell(Arc<Cell>);

impl Stop for StopCell {
    fn stop(&self, cause: StopCause) {
        self.0.stop(cause);
    }
}
