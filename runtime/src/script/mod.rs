//! Everything that touches V8: one thread, one isolate, one context, one script.

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
mod isolate;
mod json;
mod modules;
mod output;
mod readable;
mod rejections;
mod settled;
mod state;
mod stored;
mod strings;
mod timers;
mod tools;

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use crate::cell::{Cell, StopCause};
use crate::config::Fault;
use crate::engine::{self, Order};
use crate::limits::WATCHDOG_TICK;
use crate::pool::Job;
use crate::timing;
use isolate::ReadyIsolate;
use state::ScriptState;

/// The body of a V8 thread: makes an isolate, waits for its one job, runs it, disposes of it all.
///
/// `made` is called once the isolate is made, or could not be.
pub(crate) fn thread_main(
    heap_bytes: u64,
    made: impl FnOnce(),
    jobs: &mpsc::Receiver<(Job, JoinHandle<()>)>,
) {
    // A job may already be on its way when making the isolate panics; it must not be lost with the
    // channel, or its cell would never learn of it.
    let isolate = timing::isolate().in_scope(|| catch_unwind(|| ReadyIsolate::new(heap_bytes)));
    made();
    let (job, isolate) = match jobs.try_recv() {
        Ok(job) => (Ok(job), isolate),
        // Nobody waits for this isolate yet.
        Err(_) => {
            let isolate = isolate
                .and_then(|isolate| catch_unwind(AssertUnwindSafe(|| isolate.compile_ahead())));
            (jobs.recv(), isolate)
        }
    };
    let Ok((job, thread)) = job else {
        return;
    };
    let _join = JoinOnDrop {
        thread: Some(thread),
        cell: Arc::clone(&job.cell),
    };
    match isolate {
        Ok(isolate) => run(isolate, job),
        Err(panic) => resume_unwind(panic),
    }
}

/// Has the keeper join this thread as the very last thing that it does, also when it panics.
struct JoinOnDrop {
    thread: Option<JoinHandle<()>>,
    cell: Arc<Cell>,
}

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            engine::order(Order::Join(thread, Some(Arc::clone(&self.cell))));
        }
    }
}

fn run(mut isolate: ReadyIsolate, job: Job) {
    let Job {
        cell,
        source,
        tools,
        queued,
    } = job;
    drop(queued);
    name_thread(&cell);
    isolate.guard(&cell);
    cell.thread_runs(isolate.thread_safe_handle());
    match cell.runtime.config.fault {
        Some(Fault::PanicInThread) => panic!("a test wants it so"),
        Some(Fault::VanishingThread) => return,
        Some(Fault::ImpossibleStep) => cell.impossible_step(),
        Some(Fault::DeafThread) => {
            while !cell.is_given_up() {
                std::thread::park_timeout(WATCHDOG_TICK);
            }
        }
        Some(Fault::PanicInHelper | Fault::NoThread) | None => {}
    }
    let state = Rc::new(ScriptState::new(Arc::clone(&cell), tools));
    let ended = isolate.run(&state, &source);
    cell.script_ended();
    let error_text = match ended {
        Ok(()) => None,
        Err(event_loop::Failed::Threw(text)) => Some(text),
        Err(event_loop::Failed::Stopped) => match cell.stop_cause() {
            Some(StopCause::Limit(limit, maximum)) => Some(errors::limit_text(limit, maximum)),
            Some(StopCause::Panic(message)) => {
                drop(state);
                drop(isolate);
                resume_unwind(Box::new(message));
            }
            Some(StopCause::Terminated | StopCause::Exit) => None,
            None => Some("Error: the script was stopped without a cause".to_owned()),
        },
    };
    cell.store.commit(state.take_writes());
    event_loop::wait_for_notifications(&cell);
    cell.finished(error_text);
    // The script's handles must be gone before its isolate is.
    drop(state);
    timing::dispose(&cell).in_scope(|| drop(isolate));
}

/// Names the thread after its cell, for debuggers and `/proc`.
fn name_thread(cell: &Cell) {
    if let Ok(name) = CString::new(format!("cell-{}", cell.id)) {
        // SAFETY: PR_SET_NAME reads a NUL-terminated string, which `name` is; it is cut to 15 bytes.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    }
}
