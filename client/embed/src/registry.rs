// SPDX-License-Identifier: Apache-2.0
//! The cells of a session: those that run, and those whose result nobody has had.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::CellId;

use crate::cell_core::{CellCore, Stop};

/// Detached cells that have ended and whose result nobody has had; past this the oldest is forgotten.
pub const MAX_ENDED_CELLS: usize = 256;

/// Bytes of output of such cells (128 MiB); past this the oldest is forgotten, but never the newest.
pub const MAX_ENDED_BYTES: usize = 128 << 20;

#[derive(Default)]
pub(crate) struct Registry(Mutex<Cells>);

#[derive(Default)]
struct Cells {
    known: HashMap<CellId, Arc<CellCore>>,
    /// Detached cells that have ended, oldest first.
    ended: VecDeque<(CellId, usize)>,
    /// Their output, in bytes.
    ended_bytes: usize,
    /// Executes whose cell is not known yet, though it may call already.
    starting: usize,
    /// Cells that were closed while nobody had claimed them.
    closed: Vec<CellId>,
}

/// An execute under way.
pub(crate) struct Starting(Arc<Registry>);

impl Registry {
    /// Says that an execute begins: what calls meanwhile may be its cell.
    pub(crate) fn starting(registry: &Arc<Self>) -> Starting {
        registry.lock().starting += 1;
        Starting(Arc::clone(registry))
    }

    /// The cell that this id names, for the delegate: it may not have been claimed yet.
    pub(crate) fn of_call(&self, id: &CellId, exec_call_id: &str) -> Arc<CellCore> {
        let mut cells = self.lock();
        if let Some(core) = cells.known.get(id) {
            return Arc::clone(core);
        }
        let core = Arc::new(CellCore::new(id.clone(), exec_call_id.into()));
        cells.known.insert(id.clone(), Arc::clone(&core));
        core
    }

    /// A cell that is known.
    pub(crate) fn get(&self, id: &CellId) -> Option<Arc<CellCore>> {
        let cells = self.lock();
        cells
            .known
            .get(id)
            .filter(|core| core.is_claimed())
            .cloned()
    }

    /// All cells that are known, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<CellCore>> {
        let cells = self.lock();
        let known = cells.known.values().filter(|core| core.is_claimed());
        let mut known: Vec<_> = known.cloned().collect();
        drop(cells);
        known.sort_by_key(|core| core.started);
        known
    }

    /// The delegate was told that nothing more of this cell will follow.
    pub(crate) fn closed(&self, id: &CellId) {
        let mut cells = self.lock();
        if cells.known.get(id).is_some_and(|core| !core.is_claimed()) {
            cells.closed.push(id.clone());
            cells.forget_closed();
        }
    }

    /// A cell that has ended is kept if somebody may still ask for it.
    pub(crate) fn ended(&self, core: &CellCore) {
        let mut cells = self.lock();
        if !core.is_detached() {
            cells.known.remove(&core.id);
            return;
        }
        let bytes = core.output_bytes();
        cells.ended.push_back((core.id.clone(), bytes));
        cells.ended_bytes += bytes;
        while cells.ended.len() > 1
            && (cells.ended.len() > MAX_ENDED_CELLS || cells.ended_bytes > MAX_ENDED_BYTES)
            && let Some((oldest, bytes)) = cells.ended.pop_front()
        {
            cells.ended_bytes -= bytes;
            cells.known.remove(&oldest);
        }
    }

    /// The result of this cell was handed out, or nobody will ask for it any more.
    pub(crate) fn delivered(&self, core: &CellCore) {
        if core.ended().is_some() {
            let mut cells = self.lock();
            cells.known.remove(&core.id);
            if let Some(at) = cells.ended.iter().position(|(id, _)| *id == core.id)
                && let Some((_, bytes)) = cells.ended.remove(at)
            {
                cells.ended_bytes -= bytes;
            }
        }
    }

    /// Terminates every cell.
    pub(crate) fn stop_all(&self) {
        for core in self.all() {
            core.ask_to_stop(Stop::Asked);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cells> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cells {
    /// Forgets cells that were closed unclaimed, unless an execute may still claim them.
    fn forget_closed(&mut self) {
        if self.starting > 0 {
            return;
        }
        for id in std::mem::take(&mut self.closed) {
            if self.known.get(&id).is_some_and(|core| !core.is_claimed()) {
                self.known.remove(&id);
            }
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut cells = self.0.lock();
        cells.starting -= 1;
        cells.forget_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> CellId {
        CellId::new(number.to_string())
    }

    #[test]
    fn a_cell_that_calls_before_it_is_claimed_is_found_and_one_that_nobody_claims_is_forgotten() {
        let registry = Arc::new(Registry::default());
        let starting = Registry::starting(&registry);
        let core = registry.of_call(&id(1), "exec");
        registry.closed(&id(1));
        let same = registry.of_call(&id(1), "exec");
        assert!(Arc::ptr_eq(&core, &same), "its execute may still claim it");
        assert!(registry.get(&id(1)).is_none(), "nobody has claimed it");
        drop(starting);
        let other = registry.of_call(&id(1), "exec");
        assert!(!Arc::ptr_eq(&core, &other));
    }

    #[test]
    fn ended_cells_are_kept_for_those_who_ask_within_their_bound() {
        let registry = Registry::default();
        for number in 0..=MAX_ENDED_CELLS {
            let core = registry.of_call(&id(number), "");
            core.claim();
            core.detach();
            core.end(Ok(crate::Output::default()), None);
            registry.ended(&core);
        }
        assert_eq!(registry.all().len(), MAX_ENDED_CELLS);
        assert!(registry.get(&id(0)).is_none(), "the oldest is forgotten");
        let core = registry.get(&id(1)).expect("kept");
        registry.delivered(&core);
        assert!(registry.get(&id(1)).is_none());
        assert_eq!(registry.lock().ended.len(), MAX_ENDED_CELLS - 1);
    }

    #[test]
    fn the_output_of_ended_cells_is_bounded_in_bytes_too() {
        let registry = Registry::default();
        for number in 0..3 {
            let core = registry.of_call(&id(number), "");
            core.claim();
            core.detach();
            let half = "x".repeat(MAX_ENDED_BYTES / 2);
            assert!(core.add_output(vec![code_mode_api::ContentItem::Text(half)]));
            core.end(Ok(crate::Output::default()), None);
            registry.ended(&core);
        }
        assert!(registry.get(&id(0)).is_none(), "the oldest is forgotten");
        assert_eq!(registry.all().len(), 2);
    }

    #[test]
    fn a_cell_that_is_not_detached_is_forgotten_at_its_end() {
        let registry = Registry::default();
        let core = registry.of_call(&id(1), "");
        core.claim();
        assert_eq!(registry.all().len(), 1);
        core.end(Ok(crate::Output::default()), None);
        registry.ended(&core);
        assert!(registry.all().is_empty());
    }
}
