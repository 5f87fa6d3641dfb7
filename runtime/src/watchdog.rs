// SPDX-License-Identifier: Apache-2.0
//! The one thread that enforces time on cells, whatever their scripts do.
//!
//! It sleeps until the earliest deadline of any cell, and costs nothing while there is none.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The name of the watchdog's thread.
pub(crate) const THREAD_NAME: &str = "cell-watchdog";

/// A cell, as the watchdog sees it.
pub(crate) trait Watched: Send + Sync {
    /// The number of [`next_uid`] that it has.
    fn uid(&self) -> u64;

    /// Enforces what time brings, and says when to look again.
    fn check(self: Arc<Self>, now: Instant) -> Option<Instant>;
}

static WATCHDOG: Watchdog = Watchdog {
    state: Mutex::new(None),
    bell: Condvar::new(),
};
static NEXT_UID: AtomicU64 = AtomicU64::new(1);

struct Watchdog {
    /// `None` until the thread has been started.
    state: Mutex<Option<Deadlines>>,
    bell: Condvar,
}

#[derive(Default)]
struct Deadlines {
    queue: BTreeMap<(Instant, u64), Weak<dyn Watched>>,
    by_cell: HashMap<u64, Instant>,
    /// When the thread wakes by itself; `None` while it is awake or sleeps without end.
    sleeps_until: Option<Instant>,
}

/// A number for a cell that no other cell of the process has.
pub(crate) fn next_uid() -> u64 {
    NEXT_UID.fetch_add(1, Ordering::Relaxed)
}

/// Starts the thread, once per process.
///
/// # Errors
/// When the operating system gives no thread.
pub(crate) fn start() -> std::io::Result<()> {
    let mut state = WATCHDOG.lock();
    if state.is_none() {
        std::thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(|| WATCHDOG.run())?;
        *state = Some(Deadlines::default());
    }
    Ok(())
}

/// Looks at the cell at this time or earlier.
pub(crate) fn watch<T: Watched + 'static>(cell: &Arc<T>, at: Instant) {
    let uid = cell.uid();
    WATCHDOG.watch(uid, at, || Arc::downgrade(cell) as Weak<dyn Watched>);
}

/// Looks at this cell no more.
pub(crate) fn forget(uid: u64) {
    let mut state = WATCHDOG.lock();
    let Some(deadlines) = state.as_mut() else {
        return;
    };
    if let Some(at) = deadlines.by_cell.remove(&uid) {
        deadlines.queue.remove(&(at, uid));
    }
}

impl Watchdog {
    fn watch(&self, uid: u64, at: Instant, cell: impl FnOnce() -> Weak<dyn Watched>) {
        let mut state = self.lock();
        let Some(deadlines) = state.as_mut() else {
            return;
        };
        match deadlines.by_cell.get(&uid) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                let later = (*later, uid);
                deadlines.queue.remove(&later);
            }
            None => {}
        }
        deadlines.by_cell.insert(uid, at);
        deadlines.queue.insert((at, uid), cell());
        if deadlines.sleeps_until.is_none_or(|until| at < until) {
            self.bell.notify_one();
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let deadlines = state.get_or_insert_default();
            deadlines.sleeps_until = None;
            let next = deadlines
                .queue
                .first_key_value()
                .map(|(key, cell)| (*key, cell.clone()));
            match next {
                Some(((at, uid), cell)) if at <= now => {
                    deadlines.queue.remove(&(at, uid));
                    deadlines.by_cell.remove(&uid);
                    drop(state);
                    let next = cell.upgrade().and_then(|cell| cell.check(now));
                    if let Some(next) = next {
                        self.watch(uid, next, || cell);
                    }
                    state = self.lock();
                }
                Some(((at, _), _)) => {
                    deadlines.sleeps_until = Some(at);
                    let time = at.saturating_duration_since(now);
                    state = self
                        .bell
                        .wait_timeout(state, time)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                None => {
                    state = self
                        .bell
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Deadlines>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The CPU clock of the calling thread, readable from other threads while this one lives.
pub(crate) fn cpu_clock_of_this_thread() -> Option<libc::clockid_t> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: pthread_self is the calling thread, which lives; `clock` is a valid place to write.
    let error = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    (error == 0).then_some(clock)
}

/// What a CPU clock says; zero when its thread has ended.
pub(crate) fn read_clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write; an unknown clock gives an error and writes nothing.
    let error = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if error != 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}
