// SPDX-License-Identifier: Apache-2.0
//! Keeps what a script puts out and what it asks for in order.
//!
//! Output comes when the driver of a cell asks for it, calls and notifications come by themselves. So
//! before one of these is shown, the driver asks once more: what the script had put out before the call
//! is then shown before it. What the script puts out right after a call that it does not wait for may
//! be shown before that call as well; the host says nothing about the order of these two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::CellId;
use tokio::sync::{Notify, oneshot};

/// Between the driver of a cell and those who show its calls.
#[derive(Default)]
pub struct Order {
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Default)]
struct State {
    followed: Followed,
    /// Bounded by the calls and notifications that a host lets a cell have open.
    waiting: Vec<oneshot::Sender<()>>,
}

#[derive(Default, PartialEq, Eq)]
enum Followed {
    /// No driver asks for output: there is nothing to wait for.
    #[default]
    Nobody,
    /// A cell that is being started; its id is not known yet.
    Starting,
    Cell(CellId),
}

impl Order {
    /// Resolves when the output that the cell has given so far is shown, or nobody shows it.
    pub async fn output_shown(&self, cell: &CellId) {
        let shown = {
            let mut state = self.lock();
            match &state.followed {
                Followed::Nobody => return,
                Followed::Cell(followed) if followed != cell => return,
                Followed::Starting | Followed::Cell(_) => {}
            }
            let (waiting, shown) = oneshot::channel();
            state.waiting.push(waiting);
            shown
        };
        self.asked.notify_one();
        // An error means that nobody follows the cell any more.
        let _ = shown.await;
    }

    /// Says that a driver shows the output of a cell, from now until this is dropped; `None` is a cell
    /// that is being started.
    pub fn follow(self: &Arc<Self>, cell: Option<&CellId>) -> Following {
        let following = Following(self.clone());
        match cell {
            Some(cell) => following.cell(cell),
            None => self.lock().followed = Followed::Starting,
        }
        following
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's end.
pub struct Following(Arc<Order>);

impl Following {
    /// Says which cell it is.
    pub fn cell(&self, cell: &CellId) {
        self.0.lock().followed = Followed::Cell(cell.clone());
    }

    /// Resolves when somebody waits for output to be shown.
    pub async fn asked(&self) {
        while self.0.lock().waiting.is_empty() {
            self.0.asked.notified().await;
        }
    }

    /// Those who wait. Dropping them lets them go on.
    pub fn take(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut self.0.lock().waiting)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        *self.0.lock() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Guard against a hang; no test waits for it.
    const GUARD: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn nobody_waits_for_a_cell_that_is_not_followed() {
        let order = Arc::new(Order::default());
        let (one, other) = (CellId::new("1"), CellId::new("2"));
        order.output_shown(&one).await;
        let _following = order.follow(Some(&one));
        order.output_shown(&other).await;
    }

    #[tokio::test]
    async fn a_call_waits_until_the_output_before_it_is_shown() {
        let order = Arc::new(Order::default());
        let following = order.follow(None);
        let waits = order.clone();
        let call = tokio::spawn(async move { waits.output_shown(&CellId::new("1")).await });
        following.asked().await;
        following.cell(&CellId::new("1"));
        assert!(!call.is_finished());
        drop(following.take());
        tokio::time::timeout(GUARD, call).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_driver_that_leaves_lets_everybody_go_on() {
        let order = Arc::new(Order::default());
        let following = order.follow(None);
        let waits = order.clone();
        let call = tokio::spawn(async move { waits.output_shown(&CellId::new("1")).await });
        following.asked().await;
        drop(following);
        tokio::time::timeout(GUARD, call).await.unwrap().unwrap();
    }
}
