// SPDX-License-Identifier: Apache-2.0
//! Work that several callers wait for and that goes on when all of them have gone.

use std::future::Future;

use tokio::sync::watch;

/// A handle to work that runs in a task of its own.
#[derive(Debug, Clone)]
pub(crate) struct Flight<T>(watch::Receiver<Option<T>>);

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Starts the work. Must be called within a tokio runtime.
    pub(crate) fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            sender.send_replace(Some(work.await));
        });
        Self(receiver)
    }

    /// Waits for the work's result; `None` when the runtime that it ran on has shut down.
    pub(crate) async fn join(mut self) -> Option<T> {
        self.0
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|result| result.clone())
    }

    /// Whether the runtime has dropped the work before it was done.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.has_changed().is_err() && self.0.borrow().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_work_goes_on_when_its_first_caller_has_gone() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let flight = Flight::start(async move { receiver.await.unwrap_or(0) });
        drop(tokio::spawn(flight.clone().join()));
        sender.send(7).expect("the work waits");
        assert_eq!(flight.join().await, Some(7));
    }

    #[test]
    fn work_that_its_runtime_dropped_has_no_result() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let flight = runtime.block_on(async { Flight::start(std::future::pending::<u8>()) });
        assert!(!flight.is_lost());
        drop(runtime);
        assert!(flight.is_lost());
        let other = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        assert_eq!(other.block_on(flight.join()), None);
    }
}
