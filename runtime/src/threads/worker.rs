// SPDX-License-Identifier: Apache-2.0
//! One V8 thread, from its making to its join.

use std::sync::mpsc;

use crate::job::Job;
use crate::threads::body;
use crate::threads::keeper::{self, Order, V8Thread};

/// A V8 thread that waits for its cell.
pub(crate) struct Worker {
    jobs: mpsc::Sender<(Job, V8Thread)>,
    thread: V8Thread,
}

impl Worker {
    /// Makes a V8 thread, which calls `made` once it has made its isolate or failed to. Only the
    /// keeper does so; see [`keeper`].
    pub(crate) fn spawn(
        heap_bytes: u64,
        made: impl FnOnce() + Send + 'static,
    ) -> Result<Self, String> {
        let (jobs, inbox) = mpsc::channel();
        let thread = V8Thread::spawn(move || body::thread_main(heap_bytes, made, &inbox))
            .map_err(|error| format!("Failed to start a V8 thread: {error}"))?;
        Ok(Self { jobs, thread })
    }

    /// Has the thread run its job.
    pub(crate) fn give(self, job: Job) {
        // The thread waits for its job and cannot be gone unless making its isolate panicked; the
        // job comes back then, and the join tells the cell.
        if let Err(mpsc::SendError((job, thread))) = self.jobs.send((job, self.thread)) {
            keeper::order(Order::Join(thread, Some(job.cell)));
        }
    }

    /// Has the thread end without a job.
    pub(crate) fn dismiss(self) {
        drop(self.jobs);
        keeper::order(Order::Join(self.thread, None));
    }
}
