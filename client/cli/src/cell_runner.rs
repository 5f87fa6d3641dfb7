// SPDX-License-Identifier: Apache-2.0
//! Follows one cell to its end, shows what happens in it as it happens, and ends it when it must.

use std::time::Duration;

use code_mode_embed::{Cell, CellEvent, CellId, ContentItem, Exec, Session};
use tokio::time::{Instant, sleep_until};

use crate::interrupts::Interrupts;
use crate::repl_scope::KEPT_MARK;
use crate::reporter::{CellEnd, Report, Reporter, Termination};

/// How long a termination may take before the user is told that a second signal kills.
const SLOW_TERMINATION: Duration = Duration::from_secs(1);

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

/// Where a cell stands when its runner returns.
#[derive(Debug)]
pub enum CellRun {
    /// It has ended.
    Ended(CellEnd),
    /// It runs on; only with [`Patience::LeaveAfter`]. Its next event is the first that was not shown.
    Left(Cell),
}

/// Why a runner no longer waits.
enum Wake {
    Stop(Termination),
    Leave,
}

/// Runs cells, one at a time.
pub struct CellRunner<'a> {
    reporter: &'a Reporter,
    interrupts: &'a mut Interrupts,
    /// What the prompt's own part of an entry has put out for the prompt.
    kept: Vec<String>,
    /// A signal that came while a cell ran.
    interrupted: Option<Termination>,
    state_lost: bool,
}

impl<'a> CellRunner<'a> {
    /// Runs cells, shows them through `reporter` and ends them on `interrupts`.
    pub fn new(reporter: &'a Reporter, interrupts: &'a mut Interrupts) -> Self {
        Self {
            reporter,
            interrupts,
            kept: Vec::new(),
            interrupted: None,
            state_lost: false,
        }
    }

    /// Runs `exec` in `session` and follows it. `script` names it for people. Patience begins with
    /// the script, however long the host takes to start.
    pub async fn run(
        &mut self,
        session: &Session,
        script: &str,
        exec: impl Into<Exec>,
        patience: Patience,
    ) -> CellRun {
        // A slow reader of standard output holds the script back and misses nothing.
        let starting = session.start(exec.into().lossless());
        let started = tokio::select! {
            started = starting => started,
            // Dropping the request before it is answered undoes it.
            why = self.stopped() => return CellRun::Ended(CellEnd::Terminated(why)),
        };
        match started {
            Err(error) => CellRun::Ended(CellEnd::of_error(error)),
            Ok(cell) => {
                let give_up = GiveUp::new(patience);
                let event = Report::Started {
                    script: script.to_owned(),
                    cell: cell.id().clone(),
                };
                self.reporter.report(event).await;
                self.follow(cell, give_up).await
            }
        }
    }

    /// Follows a cell that runs already, after what it had told before.
    pub async fn resume(
        &mut self,
        cell: Cell,
        before: Vec<CellEvent>,
        patience: Patience,
    ) -> CellRun {
        if let Some(end) = self.catch_up(&cell, before).await {
            return CellRun::Ended(end);
        }
        self.follow(cell, GiveUp::new(patience)).await
    }

    /// Terminates a cell, and shows what it had told before and its last output.
    pub async fn terminate(
        &mut self,
        cell: Cell,
        before: Vec<CellEvent>,
        why: Termination,
    ) -> CellEnd {
        match self.catch_up(&cell, before).await {
            Some(end) => end,
            None => self.stop(cell, why).await,
        }
    }

    /// Whether a signal has asked this program to end since the driver was made.
    pub fn interrupted(&self) -> Option<Termination> {
        self.interrupted
    }

    /// Whether a session's earlier state was lost and is not back.
    pub fn state_lost(&self) -> bool {
        self.state_lost
    }

    /// What the prompt's own part of an entry has put out since this was last asked.
    pub fn take_kept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept)
    }

    async fn catch_up(&mut self, cell: &Cell, before: Vec<CellEvent>) -> Option<CellEnd> {
        for event in before {
            if let Some(end) = self.show(cell.id(), event).await {
                return Some(end);
            }
        }
        None
    }

    async fn follow(&mut self, mut cell: Cell, give_up: GiveUp) -> CellRun {
        loop {
            let event = tokio::select! {
                event = cell.next() => event,
                wake = self.wake(give_up) => match wake {
                    Wake::Stop(why) => return CellRun::Ended(self.stop(cell, why).await),
                    Wake::Leave => return CellRun::Left(cell),
                },
            };
            let end = match event {
                Some(event) => self.show(cell.id(), event).await,
                // The end was taken by another; whoever asks is told it again.
                None => Some(CellEnd::of(cell.wait().await.map(drop))),
            };
            if let Some(end) = end {
                return CellRun::Ended(end);
            }
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

    /// Terminates the cell and shows what it still had to say.
    async fn stop(&mut self, mut cell: Cell, why: Termination) -> CellEnd {
        cell.stop();
        let slow = sleep_until(Instant::now() + SLOW_TERMINATION);
        tokio::pin!(slow);
        let mut hinted = false;
        loop {
            let event = tokio::select! {
                event = cell.next() => event,
                () = &mut slow, if !hinted => {
                    hinted = true;
                    self.reporter.report(Report::Notice(SLOW_HINT.to_owned())).await;
                    continue;
                }
                _ = self.interrupts.next() => return CellEnd::Terminated(Termination::Killed),
            };
            let before = self.interrupted.take();
            let end = match event {
                Some(event) => self.show(cell.id(), event).await,
                None => Some(CellEnd::of(cell.wait().await.map(drop))),
            };
            if self.interrupted.is_some() {
                return CellEnd::Terminated(Termination::Killed);
            }
            self.interrupted = before;
            match end {
                None => {}
                Some(CellEnd::Terminated(_)) => return CellEnd::Terminated(why),
                // The script may have ended by itself just before; then that is the truth.
                Some(end) => return end,
            }
        }
    }

    /// Shows an event and gives the cell's end, if this is it. A signal meanwhile drops the event,
    /// since the reader may be what is stuck.
    async fn show(&mut self, cell: &CellId, event: CellEvent) -> Option<CellEnd> {
        let event = match event {
            CellEvent::Ended(result) => return Some(CellEnd::of(result.map(drop))),
            CellEvent::Output(item) => match &*item {
                ContentItem::Text(text) if text.starts_with(KEPT_MARK) => {
                    self.kept.push(text.clone());
                    return None;
                }
                _ => Report::Output {
                    cell: cell.clone(),
                    item,
                },
            },
            CellEvent::StateLost { lost, restored } => {
                self.state_lost |= !restored;
                Report::StateLost { lost, restored }
            }
            other => Report::of_cell(cell, other)?,
        };
        let reporter = self.reporter;
        tokio::select! {
            biased;
            () = reporter.report(event) => {}
            why = self.interrupts.next() => self.interrupted = Some(why),
        }
        None
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
#[path = "cell_runner_tests.rs"]
mod tests;
