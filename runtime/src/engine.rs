//! What belongs to the whole process: V8, and the thread that makes and joins V8 threads.
//!
//! V8 guards its tables with a memory protection key, and a thread inherits access to it from the
//! thread that made it. So every V8 thread is made by the one thread that set V8 up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;

use crate::cell::Cell;
use crate::limits::LEFT_LARGE_PAGES_MIB;
use crate::runtime::RuntimeStartError;
use crate::supervisor::panic_message;
use crate::watchdog;
use std::sync::Arc;

/// The name of the thread that sets V8 up, makes V8 threads and joins them.
pub(crate) const KEEPER_NAME: &str = "cell-keeper";

static KEEPER: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
static V8: OnceLock<Result<(), String>> = OnceLock::new();
static V8_READY: (Mutex<()>, std::sync::Condvar) = (Mutex::new(()), std::sync::Condvar::new());
static V8_THREADS: AtomicUsize = AtomicUsize::new(0);

/// Work for the keeper; the argument says whether V8 is set up, or why not.
pub(crate) type Errand = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// What the keeper is asked to do.
pub(crate) enum Order {
    /// Runs this on the keeper's thread, once V8 is set up.
    Run(Errand),
    /// Joins a V8 thread that is about to end, and tells its cell.
    Join(JoinHandle<()>, Option<Arc<Cell>>),
}

/// Starts the process-wide threads, once. V8 is set up in the background.
pub(crate) fn start() -> Result<(), RuntimeStartError> {
    watchdog::start().map_err(|source| RuntimeStartError::Thread {
        name: watchdog::THREAD_NAME,
        source,
    })?;
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    if keeper.is_none() {
        let (sender, orders) = mpsc::channel();
        std::thread::Builder::new()
            .name(KEEPER_NAME.to_owned())
            .spawn(move || keep(&orders))
            .map_err(|source| RuntimeStartError::Thread {
                name: KEEPER_NAME,
                source,
            })?;
        *keeper = Some(sender);
    }
    Ok(())
}

/// Gives the keeper an order. Orders are carried out one after the other.
pub(crate) fn order(order: Order) {
    let keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    // The keeper lives as long as the process and orders come only from runtimes, which start it.
    let unsent = match keeper.as_ref() {
        Some(keeper) => keeper.send(order).err().map(|error| error.0),
        None => Some(order),
    };
    // To drop an order may give another one.
    drop(keeper);
    if unsent.is_some() {
        tracing::error!("the keeper of V8 threads is gone");
    }
}

fn keep(orders: &mpsc::Receiver<Order>) {
    let result = V8.get_or_init(set_up);
    drop(V8_READY.0.lock().unwrap_or_else(PoisonError::into_inner));
    V8_READY.1.notify_all();
    for order in orders {
        match order {
            Order::Run(run) => run(result.as_ref().copied().map_err(String::as_str)),
            Order::Join(thread, cell) => {
                let panic = thread.join().err().map(|panic| panic_message(&*panic));
                V8_THREADS.fetch_sub(1, Ordering::AcqRel);
                match (cell, panic) {
                    (Some(cell), panic) => cell.thread_ended(panic),
                    (None, Some(message)) => {
                        tracing::error!(message, "a V8 thread panicked before it had a cell");
                    }
                    (None, None) => {}
                }
            }
        }
    }
}

/// Counts a V8 thread that has been made; the keeper takes it off when it has joined it.
pub(crate) fn count_thread() {
    V8_THREADS.fetch_add(1, Ordering::AcqRel);
}

/// V8 threads of the process that have not been joined.
pub(crate) fn v8_threads() -> usize {
    V8_THREADS.load(Ordering::Acquire)
}

/// V8's flags, each with its reason. A V8 that does not know one goes without it.
const V8_FLAGS: [&str; 2] = [
    // Safety: in 15.2 this optimisation takes the interrupt check out of the wrong loop. With it on,
    // `for (;;) new Array(1000).fill(1);` can neither be terminated nor bounded in its memory.
    "--no-turboshaft-loop-unrolling",
    // The scripts' surface has Temporal where V8 has it; V8 may keep it behind this flag.
    "--harmony-temporal",
];

fn set_up() -> Result<(), String> {
    v8::icu::set_common_data_78(deno_core_icudata::ICU_DATA)
        .map_err(|code| format!("ICU refused its data with error {code}"))?;
    let bound = format!("--max-large-page-pool-size={LEFT_LARGE_PAGES_MIB}");
    let flags = ["v8", &bound]
        .into_iter()
        .chain(V8_FLAGS)
        .map(str::to_owned)
        .collect();
    for flag in v8::V8::set_flags_from_command_line(flags).iter().skip(1) {
        tracing::debug!(flag, "this V8 does not know the flag");
    }
    v8::V8::set_entropy_source(entropy);
    v8::V8::set_fatal_error_handler(fatal_error);
    v8::V8::initialize_platform(v8::new_default_platform(1, false).make_shared());
    v8::V8::initialize();
    Ok(())
}

fn entropy(buffer: &mut [u8]) -> bool {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is a writable slice of the length that is passed.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => filled += got,
            Err(_) => return false,
        }
    }
    true
}

/// V8 has found itself broken; the reason goes to the log and the process ends at once.
fn fatal_error(file: &str, line: i32, message: &str) {
    tracing::error!(file, line, message, "V8 aborts the process");
    std::process::abort();
}

/// Whether V8's sandbox is on. Waits for V8 to be set up when a runtime has been made.
pub(crate) fn sandbox_enabled() -> bool {
    if KEEPER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_none()
    {
        return false;
    }
    let mut ready = V8_READY.0.lock().unwrap_or_else(PoisonError::into_inner);
    while V8.get().is_none() {
        ready = V8_READY
            .1
            .wait(ready)
            .unwrap_or_else(PoisonError::into_inner);
    }
    drop(ready);
    if !matches!(V8.get(), Some(Ok(()))) {
        return false;
    }
    // SAFETY: the function takes nothing and only reads a flag of V8, which is set up.
    unsafe { v8__V8__IsSandboxEnabled() }
}

unsafe extern "C" {
    /// Part of the V8 crate's C interface, which has no Rust wrapper for it.
    fn v8__V8__IsSandboxEnabled() -> bool;
}
