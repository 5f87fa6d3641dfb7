// SPDX-License-Identifier: Apache-2.0
//! What belongs to the whole process: V8, and the thread that makes and joins V8 threads.
//!
//! V8 guards its tables with a memory protection key, and a thread inherits access to it from the
//! thread that made it. So every V8 thread is made by the one thread that set V8 up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;

use code_mode_engine::limits::THREAD_STACK_BYTES;
use code_mode_engine::panic_message;
use code_mode_engine::platform::{self, Helpers, Jit};

use crate::cell::SeatedCell;

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
    Join(V8Thread, Option<SeatedCell>),
}

/// A V8 thread, which counts among those of the process until this is dropped.
pub(crate) struct V8Thread {
    handle: JoinHandle<()>,
    _counted: Counted,
}

/// One of the threads in [`V8_THREADS`].
struct Counted;

impl Counted {
    fn new() -> Self {
        V8_THREADS.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        V8_THREADS.fetch_sub(1, Ordering::AcqRel);
    }
}

impl V8Thread {
    /// Makes a thread that has what an isolate needs. Only the keeper does so.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn spawn(run: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let builder = std::thread::Builder::new()
            .name("cell-ready".to_owned())
            .stack_size(THREAD_STACK_BYTES);
        let counted = Counted::new();
        Ok(Self {
            handle: builder.spawn(run)?,
            _counted: counted,
        })
    }

    /// Waits until it has ended: gives the message of its panic, if it had one.
    fn join(self) -> Option<String> {
        let panic = self.handle.join().err();
        panic.map(|panic| panic_message(&*panic))
    }
}

/// Starts the keeper, once. V8 is set up in the background.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start() -> std::io::Result<()> {
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    if keeper.is_none() {
        let (sender, orders) = mpsc::channel();
        std::thread::Builder::new()
            .name(KEEPER_NAME.to_owned())
            .spawn(move || keep(&orders))?;
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
    let result = V8.get_or_init(|| platform::set_up(Helpers::Thread, Jit::On));
    drop(V8_READY.0.lock().unwrap_or_else(PoisonError::into_inner));
    V8_READY.1.notify_all();
    for order in orders {
        match order {
            Order::Run(run) => run(result.as_ref().copied().map_err(String::as_str)),
            Order::Join(thread, cell) => match (cell, thread.join()) {
                (Some(cell), panic) => cell.joined(panic),
                (None, Some(message)) => {
                    tracing::error!(message, "a V8 thread panicked before it had a cell");
                }
                (None, None) => {}
            },
        }
    }
}

/// V8 threads of the process that have not been joined.
pub(crate) fn v8_threads() -> usize {
    V8_THREADS.load(Ordering::Acquire)
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
    platform::sandbox_enabled()
}
