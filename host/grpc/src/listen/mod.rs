// SPDX-License-Identifier: Apache-2.0
//! Where clients come from: sockets.
//!
//! Each listener runs until its host drains, and then until the last of its connections has ended.

mod metrics;
mod tcp;
mod tls;
mod unix;

use std::future::Future;
use std::io;
use std::sync::Arc;

use code_mode_api::CancellationSignal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::connection::{ConnectionOptions, Served, serve_connection};
use crate::limits::MAX_CONNECTIONS;

pub use metrics::{More, serve_metrics};
pub use tcp::{TcpOptions, serve_tcp};
pub use tls::{Tls, TlsError};
pub use unix::{UnixError, bind_unix, serve_inherited_unix, serve_unix};

/// The connections of one listener, within their bound.
struct Connections {
    served: Served,
    drain: CancellationSignal,
    slots: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Connections {
    fn new(served: Served, drain: CancellationSignal) -> Self {
        Self {
            served,
            drain,
            slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: JoinSet::new(),
        }
    }

    /// The next stream of a listener; `None` once the host drains.
    async fn next<S, A, F>(&self, accept: impl Fn() -> F) -> Option<S>
    where
        F: Future<Output = io::Result<(S, A)>>,
    {
        loop {
            let accepted = tokio::select! {
                accepted = accept() => accepted,
                () = self.drain.cancelled() => return None,
            };
            match accepted {
                Ok((stream, _)) => return Some(stream),
                Err(error) => not_accepted(&error).await,
            }
        }
    }

    /// A place for one more connection. `None` when there is none; the connection is to be dropped.
    fn slot(&mut self) -> Option<OwnedSemaphorePermit> {
        while self.tasks.try_join_next().is_some() {}
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok();
        if slot.is_none() {
            self.served.door().metrics().connections_refused.add_one();
            tracing::warn!("a connection was dropped: there are {MAX_CONNECTIONS}");
        }
        slot
    }

    /// Serves what `shaken` gives; `None` when the client has not come that far.
    fn serve<IO>(
        &mut self,
        slot: OwnedSemaphorePermit,
        shaken: impl Future<Output = Option<(IO, ConnectionOptions)>> + Send + 'static,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let served = self.served.clone();
        self.tasks.spawn(async move {
            let _slot = slot;
            match shaken.await {
                Some((io, options)) => {
                    if let Err(error) = serve_connection(&served, io, options).await {
                        tracing::debug!(%error, "a connection broke");
                    }
                }
                None => served.door().metrics().connections_refused.add_one(),
            }
        });
    }

    /// Waits for the connections to end.
    async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Says that no connection came, and waits a little when it is for want of descriptors or memory:
/// otherwise the same would be found at once, again and again.
async fn not_accepted(error: &std::io::Error) {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}
