//! V8 threads: made by the keeper, ready ahead of need if so configured, used once each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::cell::Cell;
use crate::config::Fault;
use crate::engine::{self, Order};
use crate::limits::THREAD_STACK_BYTES;
use crate::script;
use crate::tool_table::ToolTable;

/// What a V8 thread is to run.
pub(crate) struct Job {
    pub(crate) cell: Arc<Cell>,
    pub(crate) source: String,
    pub(crate) tools: ToolTable,
}

/// The threads of one runtime that have made their isolate and wait for a cell.
pub(crate) struct Pool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    target: usize,
    heap_bytes: u64,
    ready: Mutex<Vec<Worker>>,
    refilling: AtomicBool,
    closed: AtomicBool,
}

/// A V8 thread that waits for its cell.
struct Worker {
    jobs: mpsc::Sender<(Job, JoinHandle<()>)>,
    thread: JoinHandle<()>,
}

impl Pool {
    pub(crate) fn new(target: usize, heap_bytes: u64) -> Self {
        Self {
            shared: Arc::new(PoolShared {
                target,
                heap_bytes,
                ready: Mutex::default(),
                refilling: AtomicBool::new(false),
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// Runs a job on a V8 thread of its own.
    pub(crate) fn run(&self, job: Job) {
        let heap_bytes = job.cell.limits.heap_bytes;
        // A ready isolate has the operator's heap bound, so a cell with a lower one needs its own.
        let ready = (heap_bytes == self.shared.heap_bytes)
            .then(|| self.shared.take())
            .flatten();
        match ready {
            Some(worker) => worker.give(job),
            None => engine::order(Order::Run(Box::new(move |v8| {
                if job.cell.runtime.config.fault == Some(Fault::NoThread) {
                    job.cell.thread_missing("a test wants it so".to_owned());
                    return;
                }
                match v8
                    .map_err(str::to_owned)
                    .and_then(|()| Worker::spawn(heap_bytes))
                {
                    Ok(worker) => worker.give(job),
                    Err(message) => job.cell.thread_missing(message),
                }
            }))),
        }
        self.refill();
    }

    /// Asks the keeper to bring the number of ready threads up to the target.
    pub(crate) fn refill(&self) {
        let shared = &self.shared;
        if shared.target == 0 || shared.refilling.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(shared);
        engine::order(Order::Run(Box::new(move |v8| {
            shared.refilling.store(false, Ordering::Release);
            if v8.is_err() || shared.closed.load(Ordering::Acquire) {
                return;
            }
            while shared.lock().len() < shared.target {
                match Worker::spawn(shared.heap_bytes) {
                    Ok(worker) => shared.lock().push(worker),
                    Err(message) => {
                        tracing::warn!(message, "no thread could be made ready ahead of need");
                        return;
                    }
                }
            }
        })));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.dismiss_all();
    }
}

impl Drop for PoolShared {
    fn drop(&mut self) {
        // The keeper may have added threads after the pool was dropped.
        self.dismiss_all();
    }
}

impl PoolShared {
    fn dismiss_all(&self) {
        let workers = std::mem::take(&mut *self.lock());
        workers.into_iter().for_each(Worker::dismiss);
    }

    fn take(&self) -> Option<Worker> {
        self.lock().pop()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Makes a V8 thread. Only the keeper does so; see [`engine`].
    fn spawn(heap_bytes: u64) -> Result<Self, String> {
        let (jobs, inbox) = mpsc::channel::<(Job, JoinHandle<()>)>();
        let thread = std::thread::Builder::new()
            .name("cell-ready".to_owned())
            .stack_size(THREAD_STACK_BYTES)
            .spawn(move || script::thread_main(heap_bytes, &inbox))
            .map_err(|error| format!("Failed to start a V8 thread: {error}"))?;
        engine::count_thread();
        Ok(Self { jobs, thread })
    }

    fn give(self, job: Job) {
        // The thread waits for its job and cannot be gone unless making its isolate panicked; the
        // job comes back then, and the join tells the cell.
        if let Err(mpsc::SendError((job, thread))) = self.jobs.send((job, self.thread)) {
            engine::order(Order::Join(thread, Some(job.cell)));
        }
    }

    fn dismiss(self) {
        drop(self.jobs);
        engine::order(Order::Join(self.thread, None));
    }
}
