// SPDX-License-Identifier: Apache-2.0
//! Serves MCP clients over streamable HTTP, with a token, on loopback unless told otherwise.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use subtle::ConstantTimeEq;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounds::MAX_CLIENT_MESSAGE_BYTES;
use crate::front::Front;
use crate::handler::Handler;
use crate::session::McpSession;

/// Connections that are served at one time; further ones wait to be accepted.
pub const MAX_CONNECTIONS: usize = 64;

/// MCP sessions that are open at one time; a client that asks for another is refused.
pub const MAX_SESSIONS: usize = 256;

/// How long a client may take to send the headers of a request (10 s).
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a session without any request or open stream lasts (1 h). Its scripts and stored values end
/// with it.
pub const SESSION_IDLE_TIME: Duration = Duration::from_secs(3600);

/// The pause after a connection that could not be accepted (50 ms), since the cause may last.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long open streams may go on once the server is to end (1 s).
pub const END_GRACE: Duration = Duration::from_secs(1);

/// The path of the endpoint.
pub const PATH: &str = "/mcp";

/// A token that nobody can guess.
pub fn new_token() -> String {
    format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    )
}

/// Who may come in.
pub struct Gate {
    /// What stands behind `Bearer` in every request.
    pub token: String,
    /// Origins of web pages that may call, such as `https://app.example.com`; without any, none may.
    pub origins: Vec<String>,
    /// Whether the server may be called by other names than those of loopback.
    pub any_host: bool,
}

type Body = Either<Full<Bytes>, http_body_util::combinators::BoxBody<Bytes, Infallible>>;
type Service = StreamableHttpService<Handler, LocalSessionManager>;

/// Serves clients until `shutdown` fires: one code-mode session for each MCP session. Clients of the
/// revision of 2026-07, which knows no sessions, share one.
pub async fn serve_http(
    front: Arc<Front>,
    listener: TcpListener,
    gate: Gate,
    shutdown: CancellationToken,
) {
    let mut config = StreamableHttpServerConfig::default()
        .with_cancellation_token(shutdown.child_token())
        .with_max_request_body_bytes(MAX_CLIENT_MESSAGE_BYTES)
        .with_allowed_origins(gate.origins.clone())
        .enforce_origin_validation();
    if gate.any_host {
        config = config.disable_allowed_hosts();
    }
    let mut sessions = LocalSessionManager::default();
    sessions.session_config = SessionConfig::default();
    sessions.session_config.keep_alive = Some(SESSION_IDLE_TIME);
    let shared = Arc::new(McpSession::new(Arc::clone(&front), "http".to_owned()));
    let make = {
        let shared = Arc::clone(&shared);
        let seats = Arc::new(Semaphore::new(MAX_SESSIONS));
        move || {
            let seat = Arc::clone(&seats).try_acquire_owned();
            let seat = seat.map_err(|_| {
                io::Error::other(format!("there are {MAX_SESSIONS} sessions already"))
            })?;
            let id = uuid::Uuid::new_v4().to_string();
            let own = Arc::new(McpSession::new(Arc::clone(&front), id));
            Ok(Handler::sharing(own, Arc::clone(&shared), seat))
        }
    };
    let service: Service = StreamableHttpService::new(make, Arc::new(sessions), config);
    let door = Arc::new(Door {
        service,
        token: gate.token,
    });
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = accepted(|| listener.accept()) => accepted,
            () = shutdown.cancelled() => break,
        };
        let (door, shutdown) = (Arc::clone(&door), shutdown.clone());
        connections.spawn(async move {
            door.connection(stream, peer, shutdown).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
    shared.close().await;
}

/// The next connection that can be accepted.
async fn accepted<T, F: Future<Output = io::Result<T>>>(accept: impl Fn() -> F) -> T {
    loop {
        match accept().await {
            Ok(connection) => return connection,
            // Such as a connection that was gone before it was accepted, or too many open files.
            Err(error) => {
                tracing::debug!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Door {
    service: Service,
    token: String,
}

impl Door {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        shutdown: CancellationToken,
    ) {
        let service = service_fn(|request| {
            let door = Arc::clone(&self);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Streams that stay open are cut.
                match tokio::time::timeout(END_GRACE, connection).await {
                    Ok(served) => served,
                    Err(_) => return,
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "an HTTP connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "the endpoint is /mcp");
        }
        if !self.admits(request.headers()) {
            let mut response = plain(
                StatusCode::UNAUTHORIZED,
                "give the token: Authorization: Bearer TOKEN",
            );
            let challenge = http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return response;
        }
        self.service.handle(request).await.map(Either::Right)
    }

    /// Compares in a time that does not tell how much of the token was right.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let token = value.as_bytes().strip_prefix(b"Bearer ");
        token.is_some_and(|token| token.ct_eq(self.token.as_bytes()).into())
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use pretty_assertions::assert_eq;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_cannot_be_accepted_costs_a_pause_and_no_other() {
        let begun = Instant::now();
        let failures = Cell::new(0);
        let accepted = accepted(|| async {
            failures.set(failures.get() + 1);
            match failures.get() {
                1..=3 => Err(io::ErrorKind::ConnectionAborted.into()),
                calls => Ok(calls),
            }
        });
        assert_eq!(accepted.await, 4);
        assert_eq!(begun.elapsed(), 3 * ACCEPT_PAUSE);
    }
}
