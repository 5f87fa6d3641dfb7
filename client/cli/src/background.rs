// SPDX-License-Identifier: Apache-2.0
//! A cell that runs on behind the prompt.
//!
//! Its notifications and calls are shown when they come. What it puts out is kept until somebody asks
//! for it; the session holds its output anyway.

use code_mode_embed::{Cell, CellEvent, CellHandle, CellId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::reporter::{Report, Reporter};

/// A cell in the background. Dropping this ends the cell.
pub struct Background {
    handle: CellHandle,
    asked_for: CancellationToken,
    task: JoinHandle<(Cell, Vec<CellEvent>)>,
}

impl Background {
    /// Keeps a cell in the background.
    pub fn keep(cell: Cell, reporter: Reporter) -> Self {
        let asked_for = CancellationToken::new();
        Self {
            handle: CellHandle::clone(&cell),
            asked_for: asked_for.clone(),
            task: tokio::spawn(read(cell, reporter, asked_for)),
        }
    }

    /// The cell's id.
    pub fn id(&self) -> &CellId {
        self.handle.id()
    }

    /// Whether its script has ended.
    pub fn has_ended(&self) -> bool {
        self.handle.has_ended()
    }

    /// The cell, and what it has told that nobody has seen; `None` when the program is at its end.
    pub async fn take(mut self) -> Option<(Cell, Vec<CellEvent>)> {
        self.asked_for.cancel();
        (&mut self.task).await.ok()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(
    mut cell: Cell,
    reporter: Reporter,
    asked_for: CancellationToken,
) -> (Cell, Vec<CellEvent>) {
    let mut unseen = Vec::new();
    loop {
        let event = tokio::select! {
            biased;
            () = asked_for.cancelled() => break,
            event = cell.next() => event,
        };
        match event {
            None => break,
            Some(
                event @ (CellEvent::Output(_) | CellEvent::StateLost { .. } | CellEvent::Ended(_)),
            ) => unseen.push(event),
            Some(event) => {
                if let Some(event) = Report::of_cell(cell.id(), event) {
                    reporter.report(event).await;
                }
            }
        }
    }
    (cell, unseen)
}
