// SPDX-License-Identifier: Apache-2.0
//! How long cells take to come to life, seen from here.
//!
//! A host keeps some cells ready ahead of need; those that come on top are born for whoever waits. So one cell
//! alone tells little, and several at one time tell how births at need go.

use std::time::{Duration, Instant};

use code_mode_embed::{Cell, Exec, ExecError, Progress, Session, SessionError};

/// Cells that are asked for at one time: some more than hosts keep ready.
pub const CELLS_AT_ONCE: usize = 16;

/// Says that it runs, and stays, so that the next one cannot have what it ran in.
const BORN_SCRIPT: &str =
    "text('born'); yield_control(); await new Promise(end => setTimeout(end, 1e6));";
const BORN: &str = "born";

/// How long births took, the exchanges with the host included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtOnce {
    /// Cells that the host has taken at one time: [`CELLS_AT_ONCE`], or as many as it takes.
    pub cells: usize,
    /// Until the last of them ran.
    pub all_after: Duration,
}

/// A cell was not born.
#[derive(Debug, thiserror::Error)]
pub enum NotBorn {
    /// The host has said why, or what has become of it.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Something ran, or nothing did in time, and did not say what it was to say.
    #[error("the script was to say {BORN:?} and said {0:?}")]
    Unlike(String),
}

impl NotBorn {
    /// Whether there was nothing to run the script in, so that no other will run either.
    pub fn nothing_runs(&self) -> bool {
        matches!(
            self,
            Self::Exec(ExecError::HostLost(_) | ExecError::Session(_))
        )
    }
}

/// Has one cell born and ended, and says how long its birth took.
///
/// # Errors
/// When it was not born within this time.
pub async fn one(session: &Session, within: Duration) -> Result<Duration, NotBorn> {
    let begun = Instant::now();
    let cell = begin(session, within).await?;
    born(&cell, within).await?;
    let took = begun.elapsed();
    end(cell).await;
    Ok(took)
}

/// Has as many cells born at one time as the host takes, at most [`CELLS_AT_ONCE`], and ends them.
///
/// # Errors
/// When one of them was not born within this time.
pub async fn at_once(session: &Session, within: Duration) -> Result<AtOnce, NotBorn> {
    let begun = Instant::now();
    let mut cells = Vec::with_capacity(CELLS_AT_ONCE);
    while cells.len() < CELLS_AT_ONCE {
        match begin(session, within).await {
            Ok(cell) => cells.push(cell),
            // Its operator lets no more run at one time.
            Err(ExecError::Session(SessionError::Limit { .. } | SessionError::Refused { .. }))
                if !cells.is_empty() =>
            {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    for cell in &cells {
        born(cell, within).await?;
    }
    let at_once = AtOnce {
        cells: cells.len(),
        all_after: begun.elapsed(),
    };
    for cell in cells {
        end(cell).await;
    }
    Ok(at_once)
}

async fn begin(session: &Session, within: Duration) -> Result<Cell, ExecError> {
    session
        .start(Exec::new(BORN_SCRIPT).first_look(within))
        .await
}

/// Waits until a cell has said that it runs.
async fn born(cell: &Cell, within: Duration) -> Result<(), NotBorn> {
    let (output, result) = match cell.observe(within).await {
        Progress::Running(output) => (output, Ok(())),
        Progress::Ended { output, result, .. } => (output, result),
    };
    result?;
    match output.text() {
        text if text == BORN => Ok(()),
        text => Err(NotBorn::Unlike(text)),
    }
}

/// Ends a cell and waits until it has ended, so that it takes nothing from what comes next.
async fn end(cell: Cell) {
    // However it ended: it was born, which was the question.
    let _ = cell.terminate().await;
}
