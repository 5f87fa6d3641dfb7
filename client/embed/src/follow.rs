// SPDX-License-Identifier: Apache-2.0
//! Follows one cell from its start to its end: the only one who observes and terminates it.
//!
//! A host hands output to one observer at a time, so one task takes it and hands it on. How closely
//! it looks depends on who waits: with readers it asks for output every
//! [`STREAM_INTERVAL`], without them only for the end. Whoever needs what is there now (a call whose
//! event must come after the output before it, an observer whose time is over) nudges it; it then lets
//! the pending observation go, which keeps its output for the next one, and asks for one of no time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    CellResponse, CellStatus, CodeModeSession, DEFAULT_YIELD_TIME, LimitName, RestoredStore,
    SessionError, SessionProvider, SideEffects, WaitRequest,
};
use tokio::time::{Instant, sleep_until};

use crate::cell_core::{CellCore, Due, MAX_OUTPUT_BYTES, ORDER_DEADLINE, Stop};
use crate::registry::Registry;
use crate::{ExecError, Output, ScriptError};

/// How often a cell with readers is asked for its output: the longest that a piece of output waits.
pub const STREAM_INTERVAL: Duration = Duration::from_millis(250);

/// How often a cell without readers is asked; it answers at once when it ends or yields.
pub(crate) const QUIET_INTERVAL: Duration = DEFAULT_YIELD_TIME;

/// How long the pending observation of a terminated cell may still take to end by itself.
const LAST_OUTPUT_DEADLINE: Duration = Duration::from_secs(2);

type Response = Result<CellResponse, SessionError>;
type Pending<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;
type End = (Result<Output, ExecError>, Option<Duration>);

/// Follows one cell.
pub(crate) struct Follower {
    pub(crate) core: Arc<CellCore>,
    pub(crate) session: Arc<dyn CodeModeSession>,
    /// Dropping the last owner of a provider may end its host, and this cell is to end in order.
    pub(crate) _provider: Arc<dyn SessionProvider>,
    pub(crate) registry: Arc<Registry>,
}

/// An observation under way.
struct Observation<'a> {
    /// `None` once it has answered.
    pending: Option<Pending<'a>>,
    asked: Instant,
    within: Duration,
    /// What is done when it answers; then it is one of no time.
    due: Option<Due>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        // A follower that has not come to the end was dropped by its async runtime.
        let gone = SessionError::RuntimeLost {
            cause: "the client's async runtime shut down".to_owned(),
            side_effects: SideEffects::Possible,
        };
        let gone = ExecError::of_session(&*self.session, gone, self.core.output());
        self.core.end(Err(gone), None);
        self.registry.ended(&self.core);
    }
}

impl Follower {
    /// Follows the cell to its end. `first` is its first observation, which takes `within` at most.
    pub(crate) async fn run(self, first: Pending<'static>, within: Duration) {
        let (result, host_duration) = self.follow(first, within).await;
        self.core.end(result, host_duration);
    }

    async fn follow(&self, first: Pending<'static>, within: Duration) -> End {
        let mut observation = Observation {
            pending: Some(first),
            asked: Instant::now(),
            within,
            due: None,
        };
        let mut is_first = true;
        let mut overdue: Option<Instant> = None;
        self.put_off(&observation, &mut overdue);
        loop {
            tokio::select! {
                response = poll(&mut observation.pending) => {
                    observation.pending = None;
                    let by_itself = observation.asked.elapsed() < observation.within;
                    if let Some(end) = self.take(response) {
                        return end;
                    }
                    match observation.due.take() {
                        Some(due) => self.core.done(due),
                        None if by_itself => self.core.yielded(),
                        None => {}
                    }
                    is_first = false;
                    overdue = None;
                }
                () = self.core.nudged() => {
                    if self.core.stop().is_none() && (is_first || observation.due.is_some()) {
                        self.put_off(&observation, &mut overdue);
                        continue;
                    }
                }
                () = reached(overdue) => {
                    self.core.done(self.core.due());
                    if let Some(due) = &mut observation.due {
                        due.forget_notes();
                    }
                    overdue = None;
                    continue;
                }
            }
            if !self.core.hub.has_room() && self.core.stop().is_none() {
                // The host keeps what nobody asks for, and holds the script back once that is much.
                observation.pending = None;
                self.core.room().await;
            }
            if self.core.stop().is_some() {
                return self.stop(observation.pending).await;
            }
            if self.core.is_due() {
                observation = self.observe(Duration::ZERO, Some(self.core.due()));
                overdue = Some(Instant::now() + ORDER_DEADLINE);
            } else {
                observation = self.observe(self.interval(), None);
            }
        }
    }

    /// What is due waits for the observation under way, if that is over soon. The first cannot be let
    /// go everywhere, so while it takes its time nothing waits for it.
    fn put_off(&self, observation: &Observation<'_>, overdue: &mut Option<Instant>) {
        if !self.core.is_due() {
            return;
        }
        if observation.within.is_zero() {
            overdue.get_or_insert_with(|| Instant::now() + ORDER_DEADLINE);
        } else {
            self.core.done(self.core.due());
        }
    }

    fn interval(&self) -> Duration {
        if self.core.hub.has_readers() {
            STREAM_INTERVAL
        } else {
            QUIET_INTERVAL
        }
    }

    fn observe(&self, within: Duration, due: Option<Due>) -> Observation<'_> {
        let request = WaitRequest {
            cell_id: self.core.id.clone(),
            yield_time: Some(within),
        };
        Observation {
            pending: Some(self.session.wait(request)),
            asked: Instant::now(),
            within,
            due,
        }
    }

    /// Terminates the cell, and takes what it still had to say from the observation that is ended
    /// by this or from the answer to the termination.
    async fn stop(&self, mut pending: Option<Pending<'_>>) -> End {
        let mut terminating = self.session.terminate(self.core.id.clone());
        let mut answer: Option<Response> = None;
        let mut observed: Option<End> = None;
        let mut had_output = false;
        let mut last_output = Instant::now();
        while answer.is_none() || pending.is_some() {
            tokio::select! {
                response = &mut terminating, if answer.is_none() => {
                    answer = Some(response);
                    last_output = Instant::now() + LAST_OUTPUT_DEADLINE;
                }
                response = poll(&mut pending), if pending.is_some() => {
                    pending = None;
                    had_output = matches!(&response, Ok(response)
                        if response.status != CellStatus::Yielded
                            && !response.content_items.is_empty());
                    observed = self.take(response);
                }
                () = sleep_until(last_output), if answer.is_some() => break,
            }
        }
        let answered = answer.and_then(|answer| {
            self.take(answer.map(|mut response| {
                if had_output {
                    // Both responses of a terminated cell may carry its last output.
                    response.content_items.clear();
                }
                response
            }))
        });
        // The script may have ended by itself just before; then that is the truth.
        let by_itself = |end: &End| !matches!(end.0, Err(ExecError::Session(_)));
        match observed.filter(by_itself).or(answered) {
            Some((Err(ExecError::Terminated { output }), duration)) => {
                (Err(self.terminated(output)), duration)
            }
            Some(end) => end,
            None => (Err(self.terminated(self.core.output())), None),
        }
    }

    fn terminated(&self, output: Output) -> ExecError {
        match self.core.stop() {
            Some(Stop::TimedOut(after)) => ExecError::TimedOut { after, output },
            Some(Stop::TooMuchOutput) => ExecError::Session(SessionError::Limit {
                limit: LimitName::OutputBytes,
                maximum: MAX_OUTPUT_BYTES as u64,
                detail: "the script was terminated".to_owned(),
            }),
            Some(Stop::Asked) | None => ExecError::Terminated { output },
        }
    }

    /// Takes a response, and gives the cell's end if this is it.
    fn take(&self, response: Response) -> Option<End> {
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                let error = ExecError::of_session(&*self.session, error, self.core.output());
                return Some((Err(error), None));
            }
        };
        if let Some(lost) = response.state_lost {
            // A copy without a value that may not be all there was is none.
            let is_copy = |copy: RestoredStore| copy.is_current || copy.values > 0;
            let restored = lost.restored.is_some_and(is_copy);
            self.core.state_was_lost(lost, restored);
        }
        if !self.core.add_output(response.content_items) {
            self.core.ask_to_stop(Stop::TooMuchOutput);
        }
        let output = || self.core.output();
        let result = match response.status {
            CellStatus::Yielded => return None,
            CellStatus::Completed { error_text: None } => Ok(output()),
            CellStatus::Completed {
                error_text: Some(text),
            } => Err(ExecError::Script(Box::new(ScriptError::read(
                text,
                output(),
            )))),
            CellStatus::Terminated => Err(ExecError::Terminated { output: output() }),
        };
        Some((result, response.timings.host_duration))
    }
}

/// Resolves at this time; never if there is none.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// A future in an option; resolves never while there is none.
async fn poll(pending: &mut Option<Pending<'_>>) -> Response {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}
