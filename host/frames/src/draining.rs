// SPDX-License-Identifier: Apache-2.0
//! The end of a host that was told to end: nothing new is begun, and what runs gets its time.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::CancellationSignal;
use tokio::sync::watch;

/// When to stop, and how long cells that run then have.
///
/// Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Drain {
    time: Duration,
    begun: CancellationSignal,
    hurried: CancellationSignal,
}

impl Drain {
    /// Cells get this time once the drain has begun.
    pub fn new(time: Duration) -> Self {
        Self {
            time,
            begun: CancellationSignal::new(),
            hurried: CancellationSignal::new(),
        }
    }

    /// Nothing new is begun from now on, and what runs has its time.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// The time is over.
    pub fn hurry(&self) {
        self.hurried.cancel();
    }

    /// Resolves when the drain has begun.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Whether the drain has begun.
    pub fn is_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Resolves when `quiet` has, or when there is no time left; false in that case. The drain must have
    /// begun.
    pub async fn wait_for(&self, quiet: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = quiet => true,
            () = self.hurried.cancelled() => false,
            () = tokio::time::sleep(self.time) => false,
        }
    }
}

/// The executes of a connection that may still become a cell and the cells that its client has not been told
/// are closed, and whether it may have more.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenCells(Arc<watch::Sender<Taken>>);

/// An execute that was taken, and then its cell. When it is dropped, the client was told that the cell is
/// closed, or that the execute has become none.
#[derive(Debug)]
pub(crate) struct OpenCell(OpenCells);

#[derive(Debug, Default)]
struct Taken {
    open: usize,
    no_more: bool,
}

impl OpenCells {
    /// Takes an execute, or not. That it is taken and that it is counted is one step: whoever sees nothing
    /// open once there is to be no more may end the sessions.
    pub(crate) fn admit(&self) -> Option<OpenCell> {
        let admitted = self.0.send_if_modified(|taken| {
            taken.open += usize::from(!taken.no_more);
            !taken.no_more
        });
        admitted.then(|| OpenCell(self.clone()))
    }

    /// Whether cells and sessions are refused.
    pub(crate) fn no_more(&self) -> bool {
        self.0.borrow().no_more
    }

    /// Resolves when a drain is over; never without one.
    pub(crate) async fn drained(&self, drain: Option<&Drain>) {
        let Some(drain) = drain else {
            return std::future::pending().await;
        };
        drain.begun().await;
        self.0.send_modify(|taken| taken.no_more = true);
        let mut taken = self.0.subscribe();
        let quiet = async move {
            // The sender is this object's, so it is there.
            let _ = taken.wait_for(|taken| taken.open == 0).await;
        };
        if !drain.wait_for(quiet).await {
            tracing::warn!("cells still run, or keep a result; they are ended");
        }
    }
}

impl Drop for OpenCell {
    fn drop(&mut self) {
        let Self(OpenCells(taken)) = self;
        taken.send_modify(|taken| taken.open = taken.open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a test takes.
    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_cells_for_its_time_and_can_be_hurried() {
        let cells = OpenCells::default();
        let open = [cells.admit(), cells.admit()];
        assert!(open.iter().all(Option::is_some));
        let drain = Drain::new(LONG);
        tokio::select! {
            biased;
            () = cells.drained(Some(&drain)) => panic!("it has not begun"),
            () = std::future::ready(()) => {}
        }
        assert!(!cells.no_more());
        drain.begin();
        let begun = tokio::time::Instant::now();
        let closing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(open);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = cells.drained(Some(&drain)) => {}
            () = closing => {}
        }
        assert!(cells.no_more());
        assert_eq!(begun.elapsed(), Duration::from_secs(1));

        assert!(cells.admit().is_none(), "there is to be no more");
        let cells = OpenCells::default();
        let _open = cells.admit();
        let begun = tokio::time::Instant::now();
        cells.drained(Some(&drain)).await;
        assert_eq!(begun.elapsed(), LONG);

        drain.hurry();
        let begun = tokio::time::Instant::now();
        cells.drained(Some(&drain)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
