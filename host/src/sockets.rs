// SPDX-License-Identifier: Apache-2.0
//! The sockets that the host listens on, bound or handed over before it gives up the right to make any.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener as BoundUnix;
use std::path::PathBuf;

use code_mode_host_grpc::listen::bind_unix;
use tokio::net::{TcpListener, UnixListener};

use crate::inherited::Inherited;
use crate::listening::Listening;

/// Sockets that are bound, and belong to no asynchronous runtime yet.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    tcp: Vec<std::net::TcpListener>,
    unix: Vec<(PathBuf, BoundUnix)>,
    inherited: Vec<BoundUnix>,
    metrics: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Binds what the command line names, and takes what was handed over.
    ///
    /// # Errors
    /// When an address cannot be had, or must not be listened on; the message names it.
    pub(crate) fn bind(listening: &Listening, inherited: Inherited) -> Result<Self, String> {
        if listening.is_frames_only() {
            return Ok(Self::default());
        }
        // A runtime without threads, only to make the sockets: the one that serves them has threads,
        // which must not be there before the host is confined.
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .map_err(|error| format!("Failed to start Tokio: {error}"))?;
        tokio.block_on(async {
            let mut sockets = Self::default();
            for listener in inherited.tcp {
                let address = listener.local_addr().map_err(unusable)?;
                listening
                    .admit(address)
                    .map_err(|error| error.to_string())?;
                sockets.tcp.push(listener);
            }
            sockets.inherited = inherited.unix;
            for address in &listening.tcp {
                sockets.tcp.push(bind(*address).await?);
            }
            for path in &listening.unix {
                let for_others = !listening.allowed_users.is_empty();
                let listener = bind_unix(path, for_others).map_err(|error| error.to_string())?;
                let bound = listener.into_std().map_err(unusable)?;
                sockets.unix.push((path.clone(), bound));
            }
            if let Some(address) = listening.metrics {
                sockets.metrics = Some(bind(address).await?);
            }
            Ok(sockets)
        })
    }

    /// The TCP sockets, for the runtime that this is called in.
    pub(crate) fn take_tcp(&mut self) -> Result<Vec<TcpListener>, String> {
        let bound = std::mem::take(&mut self.tcp);
        let listeners = bound.into_iter().map(TcpListener::from_std);
        listeners.collect::<io::Result<_>>().map_err(unusable)
    }

    /// The Unix sockets with their paths, as above.
    pub(crate) fn take_unix(&mut self) -> Result<Vec<(PathBuf, UnixListener)>, String> {
        let bound = std::mem::take(&mut self.unix);
        let listeners = bound
            .into_iter()
            .map(|(path, bound)| Ok((path, UnixListener::from_std(bound)?)));
        listeners.collect::<io::Result<_>>().map_err(unusable)
    }

    /// The Unix sockets that were handed over, as above.
    pub(crate) fn take_inherited(&mut self) -> Result<Vec<UnixListener>, String> {
        let handed = std::mem::take(&mut self.inherited);
        let listeners = handed.into_iter().map(UnixListener::from_std);
        listeners.collect::<io::Result<_>>().map_err(unusable)
    }

    /// The socket of the page of metrics, as above.
    pub(crate) fn take_metrics(&mut self) -> Result<Option<TcpListener>, String> {
        let bound = self.metrics.take();
        bound
            .map(TcpListener::from_std)
            .transpose()
            .map_err(unusable)
    }
}

async fn bind(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let listener = TcpListener::bind(address).await;
    listener
        .and_then(TcpListener::into_std)
        .map_err(|error| format!("Failed to listen on {address}: {error}"))
}

fn unusable(error: io::Error) -> String {
    format!("Failed to use a socket to listen on: {error}")
}
