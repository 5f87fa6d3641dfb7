// SPDX-License-Identifier: Apache-2.0
//! Runs one cell to its end and shows its output as it comes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    CellId, CellResponse, CellStatus, CodeModeSession, ContentItem, ExecuteRequest, SessionError,
    WaitRequest,
};
use tokio::time::{Instant, sleep_until};

use crate::events::{CellEnd, Event, Reporter, Termination};
use crate::interrupts::Interrupts;
use crate::order::{Following, Order};
use crate::repl_scope::KEPT_MARK;

/// How often a running cell is asked for its output: the longest that a line of output waits.
pub const STREAM_INTERVAL: Duration = Duration::from_millis(250);

/// How long a call or a notification waits for the output before it to be shown.
///
/// A cell whose script has ended is not observed before its notifications are delivered, so that
/// without an end both would wait for each other.
const ORDER_DEADLINE: Duration = Duration::from_millis(50);

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
    order: Arc<Order>,
    /// What the prompt's own part of an entry has put out for the prompt.
    kept: Vec<String>,
    /// A signal that came while a cell was driven.
    interrupted: Option<Termination>,
    state_lost: bool,
}

impl<'a> Driver<'a> {
    /// Drives cells of `session`, shows them through `reporter` and ends them on `interrupts`; shows
    /// their output before those who wait for it in `order` go on.
    pub fn new(
        session: &'a dyn CodeModeSession,
        reporter: &'a Reporter,
        interrupts: &'a mut Interrupts,
        order: Arc<Order>,
    ) -> Self {
        Self {
            session,
            reporter,
            interrupts,
            order,
            kept: Vec::new(),
            interrupted: None,
            state_lost: false,
        }
    }

    /// Starts `request` and follows it. `script` names it for people. Patience begins with the script,
    /// however long the host takes to start.
    pub async fn run(
        &mut self,
        script: &str,
        mut request: ExecuteRequest,
        patience: Patience,
    ) -> Driven {
        let following = self.order.follow(None);
        // The first observation cannot be detached, a wait can: the first is therefore over at once.
        request.yield_time = Some(Duration::ZERO);
        let mut starting = self.session.execute(request);
        let started = tokio::select! {
            started = &mut starting => started,
            // Dropping the request before it is answered undoes it.
            why = self.stopped() => return Driven::Ended(CellEnd::Terminated(why)),
        };
        match started {
            Err(error) => Driven::Ended(CellEnd::Error(error)),
            Ok(started) => {
                let give_up = GiveUp::new(patience);
                let cell = started.cell_id;
                let event = Event::Started {
                    script: script.to_owned(),
                    cell: cell.clone(),
                };
                self.reporter.report(event).await;
                following.cell(&cell);
                self.follow(cell, started.first_response, give_up, following)
                    .await
            }
        }
    }

    /// Follows a cell that runs already.
    pub async fn resume(&mut self, cell: CellId, patience: Patience) -> Driven {
        let following = self.order.follow(Some(&cell));
        let pending = self.wait(&cell, Duration::ZERO);
        self.follow(cell, pending, GiveUp::new(patience), following)
            .await
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

    /// What the prompt's own part of an entry has put out since this was last asked.
    pub fn take_kept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept)
    }

    fn wait(&self, cell: &CellId, yield_time: Duration) -> Pending<'a> {
        let request = WaitRequest {
            cell_id: cell.clone(),
            yield_time: Some(yield_time),
        };
        self.session.wait(request)
    }

    async fn follow(
        &mut self,
        cell: CellId,
        answers_at_once: Pending<'a>,
        give_up: GiveUp,
        following: Following,
    ) -> Driven {
        let mut pending = answers_at_once;
        // Whether the pending observation answers without waiting.
        let mut asks_at_once = true;
        // Those who go on once the pending response is shown, or when they have waited long enough.
        let mut behind = Vec::new();
        let mut overdue: Option<Instant> = None;
        loop {
            let response = tokio::select! {
                response = &mut pending => response,
                wake = self.wake(give_up) => match wake {
                    Wake::Stop(why) => {
                        // Nobody must wait for output while the cell waits for them.
                        drop(following);
                        return Driven::Ended(self.stop(cell, Some(pending), why).await);
                    }
                    // Dropping the observation detaches it; its output stays for the next one.
                    Wake::Leave => return Driven::Left(cell),
                },
                () = following.asked(), if overdue.is_none() || !asks_at_once => {
                    overdue.get_or_insert_with(|| Instant::now() + ORDER_DEADLINE);
                    if !asks_at_once {
                        behind = following.take();
                        pending = self.wait(&cell, Duration::ZERO);
                        asks_at_once = true;
                    }
                    continue;
                }
                () = reached(overdue) => {
                    behind.clear();
                    drop(following.take());
                    overdue = None;
                    continue;
                }
            };
            if let Some(end) = self.show(response).await {
                return Driven::Ended(end);
            }
            behind.clear();
            overdue = None;
            asks_at_once = false;
            pending = self.wait(&cell, STREAM_INTERVAL);
        }
    }

    /// Resolves when the cell must be terminated, whatever the patience with it is.
    async fn stopped(&mut self) -> Termination {
        if let Some(why) = self.interrupted {
            return why;
        }
        tokio::select! {
            why = self.interrupts.next() => {
                self.interrupted = Some(why);
                why
            }
            () = self.reporter.printer().broken() => Termination::OutputClosed,
        }
    }

    /// Resolves when the cell is no longer to be waited for.
    async fn wake(&mut self, give_up: GiveUp) -> Wake {
        tokio::select! {
            why = self.stopped() => Wake::Stop(why),
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
        let (kept, content_items): (Vec<_>, Vec<_>) = content_items.into_iter().partition(
            |item| matches!(item, ContentItem::Text(text) if text.starts_with(KEPT_MARK)),
        );
        self.kept
            .extend(kept.into_iter().filter_map(|item| match item {
                ContentItem::Text(text) => Some(text),
                _ => None,
            }));
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
