//! Runs one cell to its end and shows its output as it comes.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use code_mode_api::{
    CellId, CellResponse, CellStatus, CodeModeSession, ExecuteRequest, SessionError, WaitRequest,
};
use tokio::time::{Instant, sleep_until};

use super::events::{CellEnd, Event, Reporter, Termination};
use super::interrupts::Interrupts;

/// How often a running cell is asked for its output: the longest that a line of output waits.
pub const STREAM_INTERVAL: Duration = Duration::from_millis(250);

/// How long a termination may take before the user is told that a second signal kills.
const SLOW_TERMINATION: Duration = Duration::from_secs(1);

/// How long the pending observation of a terminated cell may still take to end by itself.
const LAST_OUTPUT_DEADLINE: Duration = Duration::from_secs(2);

const SLOW_HINT: &str = "the script is being terminated; Ctrl-C again to leave without waiting";

/// When a cell is no longer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Never.
    Endless,
    /// After this time it is terminated.
    TerminateAfter(Duration),
    /// After this time it is left to run on.
    LeaveAfter(Duration),
}

/// Where a cell stands when its driver returns.
#[derive(Debug, PartialEq, Eq)]
pub enum Driven {
    /// It has ended.
    Ended(CellEnd),
    /// It runs on; only with [`Patience::LeaveAfter`].
    Left(CellId),
}

type Response = Result<CellResponse, SessionError>;
type Pending<'a> = Pin<Box<dyn Future<Output = Response> + Send + 'a>>;

/// Why a driver no longer waits.
enum Wake {
    Stop(Termination),
    Leave,
}

/// Drives the cells of one session, one at a time.
pub struct Driver<'a> {
    session: &'a dyn CodeModeSession,
    reporter: &'a Reporter,
    interrupts: &'a mut Interrupts,
    /// A signal that came while a cell was driven.
    interrupted: Option<Termination>,
    state_lost: bool,
}

impl<'a> Driver<'a> {
    /// Drives cells of `session`, shows them through `reporter` and ends them on `interrupts`.
    pub fn new(
        session: &'a dyn CodeModeSession,
        reporter: &'a Reporter,
        interrupts: &'a mut Interrupts,
    ) -> Self {
        Self {
            session,
            reporter,
            interrupts,
            interrupted: None,
            state_lost: false,
        }
    }

    /// Starts `request` and follows it. `script` names it for people.
    pub async fn run(
        &mut self,
        script: &str,
        request: ExecuteRequest,
        patience: Patience,
    ) -> Driven {
        let give_up = GiveUp::new(patience);
        let mut starting = self.session.execute(request);
        let started = tokio::select! {
            started = &mut starting => started,
            // Dropping the request before it is answered undoes it. A cell can be left only once it
            // has an id, so here both wakes end the request.
            wake = self.wake(give_up) => {
                let why = match (wake, patience) {
                    (Wake::Stop(why), _) => why,
                    (Wake::Leave, Patience::LeaveAfter(after)) => Termination::Timeout(after),
                    (Wake::Leave, _) => Termination::Elsewhere,
                };
                return Driven::Ended(CellEnd::Terminated(why));
            }
        };
        match started {
            Err(error) => Driven::Ended(CellEnd::Error(error)),
            Ok(started) => {
                let cell = started.cell_id;
                let event = Event::Started {
                    script: script.to_owned(),
                    cell: cell.clone(),
                };
                self.reporter.report(event).await;
                self.follow(cell, started.first_response, give_up).await
            }
        }
    }

    /// Follows a cell that runs already.
    pub async fn resume(&mut self, cell: CellId, patience: Patience) -> Driven {
        let pending = self.wait(&cell);
        self.follow(cell, pending, GiveUp::new(patience)).await
    }

    /// Terminates a cell and shows its last output.
    pub async fn terminate(&mut self, cell: CellId, why: Termination) -> CellEnd {
        self.stop(cell, None, why).await
    }

    /// Whether a signal has asked this program to end since the driver was made.
    pub fn interrupted(&self) -> Option<Termination> {
        self.interrupted
    }

    /// Whether a response has said that the session's earlier state was lost.
    pub fn state_lost(&self) -> bool {
        self.state_lost
    }

    fn wait(&self, cell: &CellId) -> Pending<'a> {
        let request = WaitRequest {
            cell_id: cell.clone(),
            yield_time: Some(STREAM_INTERVAL),
        };
        self.session.wait(request)
    }

    async fn follow(&mut self, cell: CellId, first: Pending<'a>, give_up: GiveUp) -> Driven {
        let mut pending = first;
        loop {
            let response = tokio::select! {
                response = &mut pending => response,
                wake = self.wake(give_up) => match wake {
                    Wake::Stop(why) => {
                        return Driven::Ended(self.stop(cell, Some(pending), why).await);
                    }
                    // Dropping the observation detaches it; its output stays for the next one.
                    Wake::Leave => return Driven::Left(cell),
                },
            };
            match self.show(response).await {
                Some(end) => return Driven::Ended(end),
                None => pending = self.wait(&cell),
            }
        }
    }

    /// Resolves when the cell is no longer to be waited for.
    async fn wake(&mut self, give_up: GiveUp) -> Wake {
        if let Some(why) = self.interrupted {
            return Wake::Stop(why);
        }
        tokio::select! {
            why = self.interrupts.next() => {
                self.interrupted = Some(why);
                Wake::Stop(why)
            }
            () = self.reporter.printer().broken() => Wake::Stop(Termination::OutputClosed),
            wake = give_up.reached() => wake,
        }
    }

    /// Terminates the cell and shows what it still had to say, from the observation that is ended
    /// by this or from the answer to the termination.
    async fn stop(
        &mut self,
        cell: CellId,
        pending: Option<Pending<'a>>,
        why: Termination,
    ) -> CellEnd {
        let mut terminating = self.session.terminate(cell);
        let mut answer: Option<Response> = None;
        let mut observed: Option<CellEnd> = None;
        let mut shown = false;
        let mut pending = pending;
        let mut last_output = Instant::now();
        let mut hint = Some(Instant::now() + SLOW_TERMINATION);
        while answer.is_none() || pending.is_some() {
            tokio::select! {
                response = &mut terminating, if answer.is_none() => {
                    answer = Some(response);
                    last_output = Instant::now() + LAST_OUTPUT_DEADLINE;
                }
                response = poll(&mut pending), if pending.is_some() => {
                    pending = None;
                    let ended = matches!(&response, Ok(response) if response.status != CellStatus::Yielded);
                    shown = ended
                        && matches!(&response, Ok(response) if !response.content_items.is_empty());
                    if ended {
                        observed = self.show(response).await;
                    } else if let Ok(response) = response {
                        self.show_output(response).await;
                    }
                }
                () = sleep_until(last_output), if answer.is_some() => break,
                () = sleep_until(hint.unwrap_or(last_output)), if hint.is_some() => {
                    hint = None;
                    self.reporter.report(Event::Notice(SLOW_HINT.to_owned())).await;
                }
                _ = self.interrupts.next() => return CellEnd::Terminated(Termination::Killed),
            }
        }
        let answered = match answer {
            Some(Ok(mut response)) => {
                if shown {
                    // Both responses of a terminated cell may carry its last output.
                    response.content_items.clear();
                }
                self.show(Ok(response)).await
            }
            Some(Err(error)) => Some(CellEnd::Error(error)),
            None => None,
        };
        match observed.or(answered) {
            // The script may have ended by itself just before; then that is the truth.
            Some(CellEnd::Terminated(_)) | None => CellEnd::Terminated(why),
            Some(end) => end,
        }
    }

    /// Shows a response and gives the cell's end, if this is it.
    async fn show(&mut self, response: Response) -> Option<CellEnd> {
        let response = match response {
            Ok(response) => response,
            Err(error) => return Some(CellEnd::Error(error)),
        };
        let status = response.status.clone();
        self.show_output(response).await;
        match status {
            CellStatus::Yielded => None,
            CellStatus::Completed { error_text: None } => Some(CellEnd::Completed),
            CellStatus::Completed {
                error_text: Some(error_text),
            } => Some(CellEnd::Failed { error_text }),
            CellStatus::Terminated => Some(CellEnd::Terminated(Termination::Elsewhere)),
        }
    }

    /// Shows a response's output. A signal meanwhile drops the rest of it, since the reader may be
    /// what is stuck.
    async fn show_output(&mut self, response: CellResponse) {
        let CellResponse {
            cell_id,
            content_items,
            state_lost,
            ..
        } = response;
        self.state_lost |= state_lost.is_some();
        let reporter = self.reporter;
        let shown = async {
            if let Some(lost) = state_lost {
                reporter.report(Event::StateLost(lost)).await;
            }
            for item in content_items {
                reporter
                    .report(Event::Output {
                        cell: cell_id.clone(),
                        item,
                    })
                    .await;
            }
        };
        tokio::select! {
            biased;
            () = shown => {}
            why = self.interrupts.next() => self.interrupted = Some(why),
        }
    }
}

/// A future in an option; resolves never while there is none.
async fn poll(pending: &mut Option<Pending<'_>>) -> Response {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}

/// The moment at which a cell is no longer waited for.
#[derive(Clone, Copy)]
struct GiveUp {
    at: Option<Instant>,
    patience: Patience,
}

impl GiveUp {
    fn new(patience: Patience) -> Self {
        let at = match patience {
            Patience::Endless => None,
            // A time so long that no clock holds it is no time to give up.
            Patience::TerminateAfter(after) | Patience::LeaveAfter(after) => {
                Instant::now().checked_add(after)
            }
        };
        Self { at, patience }
    }

    async fn reached(self) -> Wake {
        match (self.at, self.patience) {
            (Some(at), Patience::TerminateAfter(after)) => {
                sleep_until(at).await;
                Wake::Stop(Termination::Timeout(after))
            }
            (Some(at), Patience::LeaveAfter(_)) => {
                sleep_until(at).await;
                Wake::Leave
            }
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
