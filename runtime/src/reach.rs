// SPDX-License-Identifier: Apache-2.0
//! How a cell's script is reached from outside: stopped, answered, measured.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use code_mode_api::waist::Held;
use code_mode_engine::{IsolateStopper, ToolAnswer};
use code_mode_fork::{Link, ToCell};
use tokio::sync::Notify;

use crate::threads::inbox::Inbox;
use crate::watchdog;

/// What stops a cell's script and tells how long it has computed.
pub(crate) struct Reach {
    body: Body,
    /// What the clock said when the cell began.
    cpu_time_before: Duration,
}

enum Body {
    /// The script is on a thread of this process.
    Thread {
        stopper: IsolateStopper,
        /// `None` where the thread has no clock that others can read.
        clock: Option<libc::clockid_t>,
    },
    /// The script is in a process of its own.
    Process(Arc<Link>),
}

impl Reach {
    /// Reaches the script of an isolate on the calling thread.
    pub(crate) fn thread(stopper: IsolateStopper) -> Self {
        let clock = watchdog::cpu_clock_of_this_thread();
        Self {
            cpu_time_before: clock.map_or(Duration::ZERO, watchdog::read_clock),
            body: Body::Thread { stopper, clock },
        }
    }

    /// Reaches the script in the process behind a link.
    pub(crate) fn process(link: Arc<Link>) -> Self {
        Self {
            cpu_time_before: link.process().cpu_time(),
            body: Body::Process(link),
        }
    }

    /// Stops the script: a thread is asked to unwind, a process is killed.
    pub(crate) fn stop(&self) {
        match &self.body {
            Body::Thread { stopper, .. } => stopper.unwind(),
            Body::Process(link) => link.process().kill(),
        }
    }

    /// Sees to it that a script which was stopped does not run on. May take some milliseconds.
    pub(crate) fn stop_again(&self) {
        match &self.body {
            // A request to unwind is consumed by the innermost script that it unwinds.
            Body::Thread { stopper, .. } => stopper.unwind(),
            Body::Process(link) => link.process().release_memory(),
        }
    }

    /// Whether nothing can keep the script from being stopped.
    pub(crate) fn stops_for_certain(&self) -> bool {
        matches!(self.body, Body::Process(_))
    }

    /// How long the script has computed.
    pub(crate) fn cpu_time(&self) -> Duration {
        let now = match &self.body {
            Body::Thread { clock, .. } => clock.map_or(Duration::ZERO, watchdog::read_clock),
            Body::Process(link) => link.process().cpu_time(),
        };
        now.saturating_sub(self.cpu_time_before)
    }

    /// Whether the script has a priority of its own, which can be lowered.
    pub(crate) fn has_priority(&self) -> bool {
        matches!(self.body, Body::Process(_))
    }

    /// Has a script that has computed for long let others go first, where that can be done.
    pub(crate) fn make_nice(&self) {
        if let Body::Process(link) = &self.body {
            link.process().make_nice();
        }
    }
}

/// Where the answers to a cell's calls go.
pub(crate) enum Mailbox {
    /// To the thread that runs the script.
    Thread(Inbox),
    /// To the process that runs it.
    Process {
        /// Set when there is one, which is before it can call.
        link: OnceLock<Arc<Link>>,
        /// Has the task of the link look at the cell's state.
        bell: Notify,
    },
}

impl Mailbox {
    /// The mailbox of a cell that will have a process.
    pub(crate) fn of_process() -> Self {
        Self::Process {
            link: OnceLock::new(),
            bell: Notify::new(),
        }
    }

    /// Delivers an answer, which counts for `held` until the script's side has taken it.
    pub(crate) fn answer(&self, answer: ToolAnswer, held: Option<Held>) {
        match self {
            Self::Thread(inbox) => inbox.answer(answer, held),
            Self::Process { link, .. } => {
                if let Some(link) = link.get() {
                    link.send_held(&ToCell::Answer(answer), held);
                }
            }
        }
    }

    /// Drops the answers that were not taken, and those to come: what ran the script is gone.
    pub(crate) fn close(&self) {
        match self {
            Self::Thread(inbox) => inbox.close(),
            Self::Process { link, .. } => {
                if let Some(link) = link.get() {
                    link.drop_unsent();
                }
            }
        }
    }

    /// Has whoever runs the script look at the cell's state.
    pub(crate) fn ring(&self) {
        match self {
            Self::Thread(inbox) => inbox.ring(),
            Self::Process { bell, .. } => bell.notify_one(),
        }
    }

    /// The inbox of a thread.
    pub(crate) fn inbox(&self) -> Option<&Inbox> {
        match self {
            Self::Thread(inbox) => Some(inbox),
            Self::Process { .. } => None,
        }
    }

    /// From now on answers go to the process behind this link.
    pub(crate) fn deliver_to(&self, to: &Arc<Link>) {
        if let Self::Process { link, .. } = self {
            // A cell has one process.
            let _ = link.set(Arc::clone(to));
        }
    }

    /// Resolves when the bell was rung, for the task of a link. Never for a thread.
    pub(crate) async fn rung(&self) {
        match self {
            Self::Process { bell, .. } => bell.notified().await,
            Self::Thread(_) => std::future::pending().await,
        }
    }
}
