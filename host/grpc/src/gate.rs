// SPDX-License-Identifier: Apache-2.0
//! Which executes a host takes: every one until it drains, and then only those of sessions that have a cell.
//!
//! Whether an execute is taken, and that it is counted, is one step: once the host drains and nothing is
//! counted, nothing can be taken any more, so whoever sees that moment may close every session.

use std::sync::Arc;

use tokio::sync::watch;

/// Counts what was taken and is not over. Clones are one and the same.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<Taken>>);

struct Taken {
    draining: bool,
    /// Executes that may still become a cell, and cells that are not closed.
    open: usize,
}

/// An execute that was taken, and then its cell; over when it is dropped.
pub(crate) struct Pass(Gate);

impl Gate {
    /// A gate that takes everything.
    pub(crate) fn new() -> Self {
        let taken = Taken {
            draining: false,
            open: 0,
        };
        Self(Arc::new(watch::Sender::new(taken)))
    }

    /// Takes only executes of sessions that have a cell from now on.
    pub(crate) fn drain(&self) {
        self.0.send_modify(|taken| taken.draining = true);
    }

    /// Whether no session is opened any more.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.borrow().draining
    }

    /// Takes an execute, or not. `has_cell` says whether its session has another one, or a cell: a client
    /// cannot take such a session elsewhere without losing what runs.
    pub(crate) fn admit(&self, has_cell: bool) -> Option<Pass> {
        let admitted = self.0.send_if_modified(|taken| {
            let admitted = has_cell || !taken.draining;
            taken.open += usize::from(admitted);
            admitted
        });
        admitted.then(|| Pass(self.clone()))
    }

    /// Resolves when nothing that was taken is open.
    pub(crate) async fn quiet(&self) {
        // The sender is this object's, so it is there.
        let _ = self.0.subscribe().wait_for(|taken| taken.open == 0).await;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let gate = &self.0.0;
        gate.send_modify(|taken| taken.open = taken.open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_quiet(gate: &Gate) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(gate.quiet()).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn what_was_taken_before_the_drain_counts_although_it_is_no_cell_yet() {
        let gate = Gate::new();
        let execute = gate.admit(false);
        assert!(execute.is_some());
        gate.drain();
        assert!(!is_quiet(&gate));
        drop(execute);
        assert!(is_quiet(&gate));
    }

    #[test]
    fn a_gate_that_drains_takes_executes_beside_cells_and_none_once_it_is_quiet() {
        let gate = Gate::new();
        let first = gate.admit(false);
        gate.drain();
        assert!(gate.is_draining());
        assert!(gate.admit(false).is_none());
        let beside = gate.admit(true);
        assert!(beside.is_some());
        drop(first);
        assert!(!is_quiet(&gate));
        drop(beside);
        assert!(is_quiet(&gate));
        assert!(
            gate.admit(false).is_none(),
            "no session has a cell any more"
        );
    }

    #[test]
    fn of_executes_at_the_moment_of_the_drain_each_is_refused_or_waited_for() {
        for _ in 0..200 {
            let gate = Gate::new();
            let asking = {
                let gate = gate.clone();
                std::thread::spawn(move || gate.admit(false))
            };
            gate.drain();
            let was_quiet = is_quiet(&gate);
            let pass = asking.join().expect("no panic");
            // Whoever found it quiet before the execute was asked for must find it refused.
            assert!(!was_quiet || pass.is_none());
            assert_eq!(is_quiet(&gate), pass.is_none());
        }
    }
}
