// SPDX-License-Identifier: Apache-2.0
//! What a program gives to be measured.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{BoxFuture, CodeModeSession};

use crate::delegate::ParkedCalls;
use crate::task::{Round, Task};

/// Something that execs can be measured on: a host program, or the runtime in process.
pub trait Subject: Send + Sync {
    /// What it is, for the legend of the table.
    fn name(&self) -> String;

    /// Carries out a task in a process that is started for it alone, and ends that process.
    fn measure<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Round>;
}

/// A subject that was just started, with one session open.
pub struct Instance {
    /// The session, which nothing has run in. Its delegate is of [`delegate`](crate::delegate()).
    pub session: Arc<dyn CodeModeSession>,
    /// Where the delegate's parked calls arrive.
    pub calls: ParkedCalls,
    /// How long the start took: of a process until it has greeted, of a runtime until a session is
    /// open.
    pub startup: Duration,
    /// The process whose memory counts; `None` when it is not known, and no memory is given then.
    pub process_id: Option<u32>,
    /// Ends the subject and resolves when it has ended.
    pub shutdown: BoxFuture<'static, ()>,
}
