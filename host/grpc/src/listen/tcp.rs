// SPDX-License-Identifier: Apache-2.0
//! TCP, with TLS or without.

use std::sync::Arc;

use code_mode_api::CancellationSignal;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Connections;
use super::tls::Tls;
use crate::connection::{ConnectionOptions, Served};
use crate::limits::HANDSHAKE_TIMEOUT;
use crate::peer::Owner;
use crate::tokens::Tokens;

/// What a TCP client must show.
#[derive(Clone, Default)]
pub struct TcpOptions {
    /// The certificate and key of the host; without them the connection is plain.
    pub tls: Option<Arc<Tls>>,
    /// The tokens, one of which each request must show.
    pub tokens: Option<Arc<Tokens>>,
}

/// Serves a listener until `drain` fires and its connections have ended.
pub async fn serve_tcp(
    served: Served,
    listener: TcpListener,
    options: TcpOptions,
    drain: CancellationSignal,
) {
    let mut connections = Connections::new(served, drain);
    while let Some(stream) = connections.next(|| listener.accept()).await {
        let Some(slot) = connections.slot() else {
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small messages of a connection may be late");
        }
        let connection = ConnectionOptions {
            owner: Owner::of_new_connection(),
            tokens: options.tokens.clone(),
            keepalive: true,
            drain: connections.drain.clone(),
        };
        match &options.tls {
            None => connections.serve(slot, async move { Some((stream, connection)) }),
            Some(tls) => {
                let acceptor = TlsAcceptor::from(tls.config());
                let shaken =
                    async move { Some((shake_hands(acceptor, stream).await?, connection)) };
                connections.serve(slot, shaken);
            }
        }
    }
    drop(listener);
    connections.ended().await;
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}
