// SPDX-License-Identifier: Apache-2.0
//! Isolates for cells that found none ready: a few are made at one time, the cells take turns.
//!
//! An isolate takes about half a millisecond of a processor to make and is of no use before it is
//! whole. When many are made at once, all are whole late, and the cells of a burst hold their memory
//! all together instead of one after the other.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use crate::faults::Fault;
use crate::job::Job;
use crate::limits::BIRTHS_PER_PROCESSOR;
use crate::threads::keeper::{self, Order};
use crate::threads::worker::Worker;

/// The isolates of one runtime that are in the making, and the cells whose turn is yet to come.
pub(crate) struct Births {
    /// How many are made at one time.
    most: usize,
    state: Mutex<BirthQueue>,
}

#[derive(Default)]
struct BirthQueue {
    /// Never more than `most`.
    making: usize,
    /// The oldest is in front. Bounded by the cells that may be active. Empty while one more isolate
    /// may be made.
    waiting: VecDeque<Job>,
}

/// One of the isolates in the making. When it is dropped, the next cell has its turn.
struct Birth(Arc<Births>);

impl Births {
    /// As many at one time as this machine's processors take.
    pub(crate) fn new() -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Arc::new(Self {
            most: processors.saturating_mul(BIRTHS_PER_PROCESSOR),
            state: Mutex::default(),
        })
    }

    /// Runs a job on a V8 thread that is made for it, when it is its turn.
    pub(crate) fn run(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        if state.making >= self.most {
            state.waiting.push_back(job);
            return;
        }
        state.making += 1;
        drop(state);
        Birth(Arc::clone(self)).begin(job);
    }

    /// Whether there are cells whose turn is yet to come.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BirthQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Birth {
    fn begin(self, job: Job) {
        keeper::order(Order::Run(Box::new(move |v8| {
            let cell = job.cell.cell();
            let worker = if cell.runtime.config.has_fault(Fault::NoThread) {
                Err("a test wants it so".to_owned())
            } else {
                let heap_bytes = cell.limits.heap_bytes;
                v8.map_err(str::to_owned)
                    .and_then(|()| Worker::spawn(heap_bytes, move || drop(self)))
            };
            match worker {
                Ok(worker) => worker.give(job),
                Err(message) => job.cell.without_thread(message),
            }
        })));
    }
}

impl Drop for Birth {
    fn drop(&mut self) {
        let births = &self.0;
        let next = {
            let mut state = births.lock();
            let next = state.waiting.pop_front();
            if next.is_none() {
                state.making -= 1;
            }
            next
        };
        if let Some(job) = next {
            Self(Arc::clone(births)).begin(job);
        }
    }
}

#[cfg(test)]
#[path = "births_tests.rs"]
mod tests;
