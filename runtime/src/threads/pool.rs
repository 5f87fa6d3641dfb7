// SPDX-License-Identifier: Apache-2.0
//! V8 threads: made by the keeper, ready ahead of need, used once each.
//!
//! At most one isolate is made ahead of need at a time, so that making them never takes more than
//! one processor away from the cells. The making is put off until a cell has ended, as long as half
//! of the isolates are left: a cell that is short is over before it could be slowed down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::faults::Fault;
use crate::job::Job;
use crate::threads::births::Births;
use crate::threads::keeper::{self, Order};
use crate::threads::worker::Worker;

/// The threads of one runtime that wait for a cell, their isolate made or in the making.
pub(crate) struct Pool {
    shared: Arc<PoolShared>,
}

struct PoolShared {
    /// The isolates for cells that find none ready.
    births: Arc<Births>,
    target: usize,
    heap_bytes: u64,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// The oldest is in front: only the last one may still be in the making.
    workers: VecDeque<Worker>,
    /// A thread has been ordered and has not made its isolate yet.
    making: bool,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(target: usize, heap_bytes: u64) -> Self {
        Self {
            shared: Arc::new(PoolShared {
                births: Births::new(),
                target,
                heap_bytes,
                state: Mutex::default(),
            }),
        }
    }

    #[cfg(test)]
    pub(crate) fn births(&self) -> &Arc<Births> {
        &self.shared.births
    }

    /// Runs a job on a V8 thread of its own.
    pub(crate) fn run(&self, job: Job) {
        let cell = job.cell.cell();
        let heap_bytes = cell.limits.heap_bytes;
        // A ready isolate has the operator's heap bound, so a cell with a lower one needs its own.
        // And a test that wants no thread must not get a ready one.
        let may_be_ready =
            heap_bytes == self.shared.heap_bytes && !cell.runtime.config.has_fault(Fault::NoThread);
        let (worker, left) = if may_be_ready {
            let mut state = self.shared.lock();
            (state.workers.pop_front(), state.workers.len())
        } else {
            (None, self.shared.target)
        };
        match worker {
            Some(worker) => worker.give(job),
            None => self.shared.births.run(job),
        }
        if left < self.shared.target.div_ceil(2) {
            self.refill();
        }
    }

    /// Makes isolates until as many are ready as there should be.
    pub(crate) fn refill(&self) {
        PoolShared::refill(&self.shared);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let workers = {
            let mut state = self.shared.lock();
            state.closed = true;
            std::mem::take(&mut state.workers)
        };
        workers.into_iter().for_each(Worker::dismiss);
    }
}

impl PoolShared {
    /// Orders the next thread, unless one is in the making or none is missing. It goes on with the
    /// one after it when it has made its isolate. Cells that wait for theirs come first; when they
    /// have ended, this is called again.
    fn refill(shared: &Arc<Self>) {
        if shared.births.has_waiting() {
            return;
        }
        {
            let mut state = shared.lock();
            if state.making || state.closed || state.workers.len() >= shared.target {
                return;
            }
            state.making = true;
        }
        let shared = Arc::clone(shared);
        keeper::order(Order::Run(Box::new(move |v8| {
            let made = Arc::clone(&shared);
            let worker = v8.map_err(str::to_owned).and_then(|()| {
                Worker::spawn(shared.heap_bytes, move || {
                    made.lock().making = false;
                    Self::refill(&made);
                })
            });
            let unneeded = match worker {
                Ok(worker) => {
                    let mut state = shared.lock();
                    if state.closed {
                        Some(worker)
                    } else {
                        state.workers.push_back(worker);
                        None
                    }
                }
                Err(message) => {
                    tracing::warn!(message, "no isolate could be made ready ahead of need");
                    shared.lock().making = false;
                    None
                }
            };
            if let Some(worker) = unneeded {
                worker.dismiss();
            }
        })));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
