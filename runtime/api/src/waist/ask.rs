// SPDX-License-Identifier: Apache-2.0
//! What a door asks of a session, and what a session answers.

use std::collections::BTreeMap;

use crate::{CellId, CellSummary, ExecuteRequest, RawJson, WaitRequest};

/// Names one ask within its session; chosen by the door and never used twice there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Names one tool call or notification within its session; chosen by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Stored values by key.
pub type Values = BTreeMap<String, RawJson>;

/// What a door asks of a session. The answer comes as an [`Event`](super::Event) that carries the
/// ask's id, except where it says otherwise.
#[derive(Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "an ask is moved once to whoever carries it out, and most are to execute"
)]
pub enum Ask {
    /// Run a script: `Started`, then `Observed` when the new cell yields or ends; `Answered` with the
    /// error when it is refused.
    Execute(ExecuteRequest),
    /// Observe a cell: `Observed`, or `Answered` with the error.
    Wait(WaitRequest),
    /// End a cell: `Observed` once its script has really stopped, or `Answered` with the error.
    Terminate {
        /// The cell to end.
        cell_id: CellId,
    },
    /// Make the observation of an earlier execute or wait answer now. It has no answer of its own, and
    /// does nothing when that observation is over.
    Yield {
        /// The execute or wait.
        ask: AskId,
    },
    /// List the cells that run or keep a result: `Answered` with [`Answer::Cells`].
    ListCells,
    /// Read what ended cells have stored: `Answered` with [`Answer::Store`].
    ExportStore,
    /// Store values as if a cell had: `Answered` with [`Answer::Done`] or the error, and then nothing
    /// was stored.
    ImportStore(Values),
    /// End every cell and close the session: `Answered` with [`Answer::Done`] when all have ended.
    Shutdown,
}

/// What a session answers to an ask that observes no cell.
#[derive(Debug)]
#[non_exhaustive]
pub enum Answer {
    /// It is done.
    Done,
    /// The cells, in the order of their making.
    Cells(Vec<CellSummary>),
    /// The stored values.
    Store(Values),
}
