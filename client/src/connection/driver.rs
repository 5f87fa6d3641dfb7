// SPDX-License-Identifier: Apache-2.0
//! The task that alone owns the state of a connection.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use code_mode_api::SideEffects;
use code_mode_protocol::AgreedCapabilities;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::awake::{AWAKE, AfterAnswer};
use super::delegate_tasks::{DelegateTasks, tell_closed};
use super::inputs::{Effect, Input, Operation, Request};
use super::reader::Reader;
use super::state::{ConnectionState, Step};
use super::writer::Writer;
use crate::error::{CallError, ConnectionFailure};
use crate::process::HostProcess;
use crate::process::stderr::StderrTail;

/// How long the driver waits for the last words of a host that has failed (20 ms). Together with
/// [`END_GRACE`](super::state::END_GRACE) this keeps bad news under 100 ms.
const STDERR_GRACE: Duration = Duration::from_millis(20);
const _: () = assert!(STDERR_GRACE.as_millis() + super::state::END_GRACE.as_millis() < 100);
/// How many inputs are taken in before frames are written and effects are carried out: half of what
/// tokio lets a task do before it must give way, so that the other half is left for the host.
const MAX_EVENTS_PER_TURN: usize = 64;
/// How many messages of the host are taken in before the same.
const MAX_MESSAGES_PER_TURN: usize = 128;

/// What a turn has taken in from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// All there was; the task is woken when more comes.
    All,
    /// As much as one turn takes.
    Part,
    /// Nothing more, until the host has read what waits for it; the writer wakes the task then.
    Held,
    /// The owner's wish that the connection ends.
    Close,
}

/// The driver of one connection.
pub(super) struct Driver {
    pub(super) state: ConnectionState,
    pub(super) inputs: mpsc::UnboundedReceiver<Input>,
    pub(super) delegates: DelegateTasks,
    pub(super) process: HostProcess,
    /// `None` once the connection is over; what the host still says is dropped then.
    pub(super) reader: Option<Reader>,
    pub(super) writer: Writer,
    pub(super) after_answer: AfterAnswer,
    /// Told once how the greeting went.
    pub(super) greeted: Option<oneshot::Sender<Result<AgreedCapabilities, Arc<str>>>>,
    /// Why the connection is over; set before anybody is told.
    pub(super) failure: Arc<OnceLock<Arc<str>>>,
    pub(super) shutdown_deadline: Duration,
    /// Closed when everything is over and the child is reaped.
    pub(super) _ended: watch::Sender<()>,
}

impl Driver {
    /// Serves the connection to its end.
    pub(super) async fn run(mut self) {
        let ended = self.serve().await;
        if let Err(failure) = &ended {
            // A failed host gets no chance to do more.
            self.process.kill();
            tracing::warn!(pid = self.process.pid, %failure, "a code-mode host has failed");
        }
        let failure = ended.err().unwrap_or(ConnectionFailure::Closed);
        let reader = self.reader.take();
        tokio::select! {
            biased;
            () = self.end(&failure) => {}
            () = drain(reader) => {}
        }
    }

    /// Works until the connection fails, or until the owner wants it to end.
    async fn serve(&mut self) -> Result<(), ConnectionFailure> {
        let mut timer = pin!(sleep_until(Instant::now()));
        poll_fn(|context| self.poll_serve(timer.as_mut(), context)).await
    }

    /// Takes turns until nothing is left to do now. Each turn looks at every source, and what it
    /// gives the host to read is written in that turn.
    ///
    /// None starves however much another has: a turn takes in a bounded part of the inputs, and the
    /// host's messages come last, because one large message may use up what tokio lets a task do
    /// before it must give way.
    fn poll_serve(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectionFailure>> {
        loop {
            let now = Instant::now();
            let inputs = self.take_inputs(now, context)?;
            if inputs == Taken::Close {
                return Poll::Ready(Ok(()));
            }
            self.give(now, context)?;
            let messages = self.take_messages(now, context)?;
            self.give(now, context)?;
            if let Some(deadline) = self.state.next_deadline() {
                // The timer is moved only to an earlier time; one that fires too early costs a turn
                // of this loop, which is cheaper than moving it for every call.
                if timer.is_elapsed() || deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                // Whether it has fired is asked apart: a task that must give way gets no answer
                // here. Only a timer that has fired counts, never the clock alone, because then
                // tokio has also looked whether the host has said something in time.
                let _ = timer.as_mut().poll(context);
                if timer.is_elapsed() {
                    self.state.expire(Instant::now())?;
                    continue;
                }
            }
            if messages == Taken::Held && self.state.may_hear() {
                continue;
            }
            if messages != Taken::Part && inputs == Taken::All {
                // The wait was registered for with every source; only the host is looked at again.
                if !self.begin_wait_awake() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// Makes the reader's next look at the host's output one of a reader that stays awake, if
    /// that is worth while and holds up nothing else.
    fn begin_wait_awake(&mut self) -> bool {
        let awake = self.after_answer.begin_wait() && self.writer.has_written_all();
        match &mut self.reader {
            Some(reader) if awake => {
                reader.stay_awake(AWAKE);
                true
            }
            _ => false,
        }
    }

    /// Hands what is ready to the host and the delegates.
    fn give(&mut self, now: Instant, context: &mut Context<'_>) -> Result<(), ConnectionFailure> {
        if let Err(failure) = self.writer.write(&mut self.state.outbox, context) {
            self.state.handle(Input::WriteFailed(failure), now)?;
        }
        while let Some(effect) = self.state.effects.pop_front() {
            self.delegates.carry_out(effect);
        }
        Ok(())
    }

    /// Takes in what the host has said.
    fn take_messages(
        &mut self,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<Taken, ConnectionFailure> {
        let Some(reader) = &mut self.reader else {
            return Ok(Taken::All);
        };
        for _ in 0..MAX_MESSAGES_PER_TURN {
            if !self.state.may_hear() {
                return Ok(Taken::Held);
            }
            let input = match reader.poll_next(context) {
                Poll::Pending => return Ok(Taken::All),
                Poll::Ready(Ok(input)) => {
                    self.after_answer.heard(Instant::now);
                    input
                }
                Poll::Ready(Err(end)) => Input::OutputEnded(end),
            };
            if let Step::Greeted(agreed) = self.state.handle(input, now)?
                && let Some(greeted) = self.greeted.take()
            {
                drop(greeted.send(Ok(agreed)));
            }
        }
        Ok(Taken::Part)
    }

    /// Takes in what has happened on this side.
    fn take_inputs(
        &mut self,
        now: Instant,
        context: &mut Context<'_>,
    ) -> Result<Taken, ConnectionFailure> {
        for _ in 0..MAX_EVENTS_PER_TURN {
            let input = match self.inputs.poll_recv(context) {
                Poll::Pending => return Ok(Taken::All),
                Poll::Ready(None) => return Ok(Taken::Close),
                Poll::Ready(Some(input)) => input,
            };
            if let Input::DelegateDone { key, .. } = &input {
                self.delegates.finished(*key);
                if self.delegates.are_all_done() {
                    self.after_answer.answered(Instant::now());
                }
            }
            if let Step::Close = self.state.handle(input, now)? {
                return Ok(Taken::Close);
            }
        }
        Ok(Taken::Part)
    }

    /// Answers everybody and sees the host end.
    async fn end(&mut self, failure: &ConnectionFailure) {
        let stderr = Arc::clone(&self.process.stderr);
        let cause = cause(failure, &stderr).await;
        self.finish(&cause);
        while let Some(effect) = self.state.effects.pop_front() {
            self.delegates.carry_out(effect);
        }
        self.writer.close();
        let mut exit = self.process.exit.clone();
        let in_time = timeout(self.shutdown_deadline, exit.wait_for(Option::is_some))
            .await
            .is_ok();
        if !in_time {
            tracing::warn!(
                pid = self.process.pid,
                "killed a code-mode host that did not end"
            );
            self.process.kill();
            // A closed channel means that the child could not be waited for, which was logged.
            let _ = exit.wait_for(Option::is_some).await;
        }
    }

    /// Answers everybody and takes nothing more.
    fn finish(&mut self, cause: &Arc<str>) {
        // First, so that whoever is told of the failure finds it.
        let cause = Arc::clone(self.failure.get_or_init(|| Arc::clone(cause)));
        if let Some(greeted) = self.greeted.take() {
            drop(greeted.send(Err(Arc::clone(&cause))));
        }
        self.state.fail(&cause);
        self.inputs.close();
        while let Ok(input) = self.inputs.try_recv() {
            if let Input::Request(Request { operation, .. }) = input {
                operation.fail(&cause);
            }
        }
    }
}

/// The failure in words, with the last lines of the host's standard error.
async fn cause(failure: &ConnectionFailure, stderr: &StderrTail) -> Arc<str> {
    if matches!(failure, ConnectionFailure::Closed) {
        return Arc::from(failure.to_string());
    }
    // A host's child may keep the pipe open; what has come by then is what there is.
    let _ = timeout(STDERR_GRACE, stderr.ended()).await;
    let tail = stderr.text();
    if tail.is_empty() {
        return Arc::from(failure.to_string());
    }
    Arc::from(format!(
        "{failure}; its last words on standard error:\n{tail}"
    ))
}

/// Takes what a host that is being shut down still says, so that it is never stuck on a full pipe.
/// Never resolves.
async fn drain(reader: Option<Reader>) {
    if let Some(reader) = reader {
        reader.drain().await;
    }
    pending().await
}

impl Drop for Driver {
    /// Reached with work left only when the runtime drops the task; the state then answers whom it
    /// can, and the process handle kills the host.
    fn drop(&mut self) {
        let cause = Arc::from(ConnectionFailure::RuntimeGone.to_string());
        self.finish(&cause);
        // No task can be started any more; the futures are dropped with the runtime.
        for effect in self.state.effects.drain(..) {
            if let Effect::CellClosed {
                delegate,
                session,
                cell,
            } = effect
            {
                tell_closed(&*delegate, &session, &cell);
            }
        }
    }
}

impl Operation {
    /// Answers a request that never left the client.
    fn fail(self, cause: &str) {
        let error = CallError::Lost {
            cause: cause.to_owned(),
            side_effects: SideEffects::None,
        };
        match self {
            Self::Open { reply, .. } | Self::CloseSession { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::Execute { reply, .. } => drop(reply.send(Err(error))),
            Self::Wait { reply, .. } | Self::Terminate { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::OfSession(ask) => {
                ask.answer(Err(error));
            }
        }
    }
}
