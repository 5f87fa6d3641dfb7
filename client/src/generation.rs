// SPDX-License-Identifier: Apache-2.0
//! Generations of a session: which host a cell lived in, told by its id.
//!
//! The host numbers the cells of a session from 1, so a fresh host gives old numbers again. Cells of
//! the first generation keep the host's number; later ones are called `GENERATION.NUMBER`, so that
//! a cell that was lost is never taken for one that lives.

use std::collections::VecDeque;

use code_mode_api::{CellId, RestoredStore, StateLost};

/// How many lost generations of a session are remembered with their cause; of an older one it is
/// still known that it was lost.
pub(crate) const MAX_REMEMBERED_LOSSES: usize = 16;

/// The first generation of a session.
pub(crate) const FIRST_GENERATION: u64 = 1;

/// The name of a host's cell for the callers of a session.
pub(crate) fn outer_cell_id(generation: u64, host_id: &str) -> CellId {
    if generation == FIRST_GENERATION {
        CellId::new(host_id)
    } else {
        CellId::new(format!("{generation}.{host_id}"))
    }
}

/// The generation and the host's own id of a cell; `None` when no session gives such an id.
pub(crate) fn parse_cell_id(id: &CellId) -> Option<(u64, &str)> {
    match id.as_str().split_once('.') {
        None => is_number(id.as_str()).then_some((FIRST_GENERATION, id.as_str())),
        Some((generation, host_id)) => {
            let number = is_number(generation)
                .then(|| generation.parse().ok())
                .flatten()?;
            (number > FIRST_GENERATION && is_number(host_id)).then_some((number, host_id))
        }
    }
}

/// Whether `text` is a canonical decimal number of 1 or more.
pub(crate) fn is_number(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The generations of a session that were lost, and what of it remains to be told.
#[derive(Debug, Default)]
pub(crate) struct Losses {
    causes: VecDeque<StateLost>,
    untold: Option<StateLost>,
    /// Generations that were left when nothing but stored values was in them.
    left: VecDeque<u64>,
}

impl Losses {
    /// Takes note of a lost generation. `used` says whether there was anything in it to lose; only
    /// then will a response tell of it.
    pub(crate) fn add(&mut self, loss: StateLost, used: bool) {
        if used {
            self.untold = Some(loss.clone());
        }
        if self.causes.len() == MAX_REMEMBERED_LOSSES {
            self.causes.pop_front();
        }
        self.causes.push_back(loss);
    }

    /// Takes note that a generation was left, and had no cell.
    pub(crate) fn leave(&mut self, generation: u64) {
        if self.left.len() == MAX_REMEMBERED_LOSSES {
            self.left.pop_front();
        }
        self.left.push_back(generation);
    }

    /// Whether this generation was left without a loss of cells, as far as it is remembered.
    pub(crate) fn was_left(&self, generation: u64) -> bool {
        self.left.contains(&generation)
    }

    /// Why this generation was lost, as far as it is remembered.
    pub(crate) fn cause(&self, generation: u64) -> String {
        self.causes
            .iter()
            .find(|loss| loss.lost_generation == generation)
            .map_or_else(
                || "its host was replaced more than once since".to_owned(),
                |loss| loss.cause.clone(),
            )
    }

    /// Takes note of what the generation that follows the lost one has got back.
    pub(crate) fn set_restored(&mut self, restored: Option<RestoredStore>) {
        if let Some(loss) = &mut self.untold {
            loss.restored = restored;
        }
    }

    /// What a response of this generation has to tell of earlier ones; it is told once.
    pub(crate) fn take_untold(&mut self, generation: u64) -> Option<StateLost> {
        self.untold
            .take_if(|loss| loss.lost_generation < generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(lost_generation: u64) -> StateLost {
        StateLost {
            lost_generation,
            cause: format!("cause {lost_generation}"),
            restored: None,
        }
    }

    #[test]
    fn ids_of_every_generation_are_recognised() {
        for (generation, host_id, outer) in [(1, "7", "7"), (2, "7", "2.7"), (30, "1", "30.1")] {
            let id = outer_cell_id(generation, host_id);
            assert_eq!(id.as_str(), outer);
            assert_eq!(parse_cell_id(&id), Some((generation, host_id)));
        }
    }

    #[test]
    fn ids_that_no_session_gives_are_refused() {
        for text in [
            "", "0", "01", "x", "1.1", "0.1", "02.1", "2.", ".2", "2.01", "2.1.1", "-1", "+1",
        ] {
            assert_eq!(parse_cell_id(&CellId::new(text)), None, "{text:?}");
        }
        let huge = CellId::new("99999999999999999999999.1");
        assert_eq!(parse_cell_id(&huge), None);
    }

    #[test]
    fn a_loss_is_told_once_and_remembered() {
        let mut losses = Losses::default();
        losses.add(loss(1), true);
        losses.add(loss(2), false);
        assert_eq!(losses.take_untold(1), None);
        assert_eq!(losses.take_untold(3), Some(loss(1)));
        assert_eq!(losses.take_untold(3), None);
        assert_eq!(losses.cause(2), "cause 2");
    }

    #[test]
    fn a_generation_that_was_left_is_no_loss_and_remembered_within_a_bound() {
        let mut losses = Losses::default();
        for generation in 1..=MAX_REMEMBERED_LOSSES as u64 + 1 {
            losses.leave(generation);
        }
        assert!(losses.was_left(2) && !losses.was_left(1));
        assert_eq!(losses.take_untold(99), None);
    }

    #[test]
    fn losses_are_remembered_within_a_bound() {
        let mut losses = Losses::default();
        for generation in 1..=MAX_REMEMBERED_LOSSES as u64 + 1 {
            losses.add(loss(generation), true);
        }
        assert_eq!(
            losses.cause(1),
            "its host was replaced more than once since"
        );
        assert_eq!(losses.cause(2), "cause 2");
    }
}
