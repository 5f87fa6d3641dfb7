//! The task that alone owns the state of a connection.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use code_mode_api::SideEffects;
use code_mode_protocol::AgreedCapabilities;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::delegates::{DelegateTasks, tell_closed};
use super::events::{Effect, Event, Operation, Request};
use super::state::{State, Step};
use super::writer::Batch;
use crate::error::{CallError, ConnectionFailure};
use crate::process::HostProcess;

/// How long the driver waits for the last words of a host that has failed (20 ms). Together with
/// [`END_GRACE`](super::state::END_GRACE) this keeps bad news under 100 ms.
const STDERR_GRACE: Duration = Duration::from_millis(20);
const _: () = assert!(STDERR_GRACE.as_millis() + super::state::END_GRACE.as_millis() < 100);
/// How many events are taken in before frames go to the writer and effects are carried out.
const MAX_EVENTS_PER_TURN: usize = 128;

/// The driver of one connection.
pub(super) struct Driver {
    pub(super) state: State,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    pub(super) delegates: DelegateTasks,
    pub(super) process: HostProcess,
    /// Where batches go; the writer holds one and says when it has written it.
    pub(super) batches: Option<mpsc::Sender<Batch>>,
    pub(super) writing: bool,
    pub(super) writer: AbortOnDropHandle<()>,
    /// Reads until the host's output ends, also while the host is being shut down.
    pub(super) _reader: AbortOnDropHandle<()>,
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
        let cause = self.cause(&failure).await;
        self.finish(&cause);
        while let Some(effect) = self.state.effects.pop_front() {
            self.delegates.carry_out(effect);
        }
        // Closes the host's input, also in the middle of a frame.
        self.batches = None;
        self.writer.abort();
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

    /// Works until the connection fails, or until the owner wants it to end.
    async fn serve(&mut self) -> Result<(), ConnectionFailure> {
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            self.flush();
            // The timer is moved only to an earlier time; one that fires too early costs a turn of
            // this loop, which is cheaper than moving it for every call.
            let deadline = self.state.next_deadline();
            if let Some(deadline) = deadline
                && (timer.is_elapsed() || deadline < timer.deadline())
            {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    let Some(event) = event else { return Ok(()) };
                    if self.take(event)? {
                        return Ok(());
                    }
                }
                () = &mut timer, if deadline.is_some() => {
                    self.state.expire(Instant::now())?;
                    continue;
                }
            }
            for _ in 1..MAX_EVENTS_PER_TURN {
                let Ok(event) = self.events.try_recv() else {
                    break;
                };
                if self.take(event)? {
                    return Ok(());
                }
            }
            let now = Instant::now();
            if self
                .state
                .next_deadline()
                .is_some_and(|deadline| deadline <= now)
            {
                self.state.expire(now)?;
            }
        }
    }

    /// Takes one event in; `true` when it is time to end.
    fn take(&mut self, event: Event) -> Result<bool, ConnectionFailure> {
        match &event {
            Event::Written => self.writing = false,
            Event::DelegateDone { key, .. } => self.delegates.finished(*key),
            _ => {}
        }
        match self.state.handle(event, Instant::now())? {
            Step::Continue => Ok(false),
            Step::Greeted(agreed) => {
                if let Some(greeted) = self.greeted.take() {
                    drop(greeted.send(Ok(agreed)));
                }
                Ok(false)
            }
            Step::Close => Ok(true),
        }
    }

    /// Hands what is ready to the writer and the delegates.
    fn flush(&mut self) {
        while let Some(effect) = self.state.effects.pop_front() {
            self.delegates.carry_out(effect);
        }
        if self.writing || self.state.outbox.is_empty() {
            return;
        }
        if let Some(batches) = &self.batches {
            // The channel holds one batch and the writer is idle, so there is room. A writer that
            // has ended has told why.
            let batch = Batch::new(std::mem::take(&mut self.state.outbox));
            self.writing = batches.try_send(batch).is_ok();
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
        self.events.close();
        while let Ok(event) = self.events.try_recv() {
            if let Event::Request(Request { operation, .. }) = event {
                operation.fail(&cause);
            }
        }
    }

    /// The failure in words, with the last lines of the host's standard error.
    async fn cause(&self, failure: &ConnectionFailure) -> Arc<str> {
        if matches!(failure, ConnectionFailure::Closed) {
            return Arc::from(failure.to_string());
        }
        let stderr = &self.process.stderr;
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
            Self::ExportStore { reply } => drop(reply.send(Err(error))),
            Self::ImportStore { reply } => drop(reply.send(Err(error))),
        }
    }
}
