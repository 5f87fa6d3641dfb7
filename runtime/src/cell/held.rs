// SPDX-License-Identifier: Apache-2.0
//! What a cell holds of its session's bytes, and what it is told at their bounds.

use code_mode_api::waist::Held;
use code_mode_api::{LimitName, ToolError};
use code_mode_engine::Bound;

use super::Cell;
use super::state::CellRecord;

impl Cell {
    /// Counts more output that nobody has read.
    pub(super) fn hold_unread(&self, state: &mut CellRecord, bytes: usize) -> Result<(), Bound> {
        let held = match &mut state.unread {
            Some(held) => held.grow(bytes),
            none => self.unread.try_hold(bytes).map(|held| *none = Some(held)),
        };
        held.map_err(|full| (LimitName::UnreadBytes, full.maximum() as u64))
    }

    /// Counts a tool's answer until the script's side has it. One that may not be held becomes an error,
    /// which only its own call sees.
    pub(super) fn hold_answer(
        &self,
        result: Result<Box<str>, ToolError>,
    ) -> (Result<Box<str>, ToolError>, Option<Held>) {
        let bytes = match &result {
            Ok(result) => result.len(),
            Err(error) => error.message.len(),
        };
        let most = self.limits.value_bytes;
        if bytes as u64 > most {
            return (
                Err(refusal(
                    most,
                    LimitName::ValueBytes,
                    " by the tool's result",
                )),
                None,
            );
        }
        match self.answers.try_hold(bytes) {
            Ok(held) => (result, Some(held)),
            Err(full) => {
                let maximum = full.maximum() as u64;
                (
                    Err(refusal(
                        maximum,
                        LimitName::AnswerBytes,
                        "; await some calls before making others",
                    )),
                    None,
                )
            }
        }
    }
}

fn refusal(maximum: u64, limit: LimitName, rest: &str) -> ToolError {
    ToolError::new(format!("the limit of {maximum} {limit} is reached{rest}"))
}
