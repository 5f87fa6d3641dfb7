// SPDX-License-Identifier: Apache-2.0
//! One connection: HTTP/2 over any stream, with its bounds, and what every request must show.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use code_mode_api::CancellationSignal;
use code_mode_grpc::MAX_MESSAGE_BYTES;
use code_mode_grpc::extensions::code_mode_extensions_server::{
    CodeModeExtensionsServer, SERVICE_NAME as EXTENSIONS_NAME,
};
use code_mode_grpc::tonic::Status;
use code_mode_grpc::tonic::body::Body;
use code_mode_grpc::tonic::codegen::{Service as _, http};
use code_mode_grpc::tonic_health::pb::health_server::HealthServer;
use code_mode_grpc::tonic_health::server::{HealthReporter, HealthService};
use code_mode_grpc::v1::code_mode_host_server::{CodeModeHostServer, SERVICE_NAME};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::CountedBody;
use crate::door::Door;
use crate::health::Checks;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_HEADER_BYTES, MAX_STREAMS,
    STREAM_SEND_BYTES, STREAM_WINDOW_BYTES,
};
use crate::peer::Owner;
use crate::tokens::Tokens;
use crate::watched::Watched;

/// What every connection of a host serves: the door, and whether the host is healthy.
#[derive(Clone)]
pub struct Served {
    door: Door,
    health: HealthReporter,
}

impl Served {
    /// Serves a door, and says that it is healthy.
    pub async fn new(door: Door) -> Self {
        let health = HealthReporter::new();
        let serving = code_mode_grpc::tonic_health::ServingStatus::Serving;
        health.set_service_status(SERVICE_NAME, serving).await;
        Self { door, health }
    }

    /// The door.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Takes no new work, and tells everybody who asks. In this order: once somebody was told, none is taken.
    pub async fn drain(&self) {
        self.door.drain();
        let not_serving = code_mode_grpc::tonic_health::ServingStatus::NotServing;
        self.health.set_service_status("", not_serving).await;
        self.health
            .set_service_status(SERVICE_NAME, not_serving)
            .await;
    }
}

/// How one connection is served.
pub struct ConnectionOptions {
    /// Who speaks, unless each request shows a token.
    pub owner: Owner,
    /// The tokens, one of which each request must show.
    pub tokens: Option<Arc<Tokens>>,
    /// Whether the host asks a silent client whether it is there.
    pub keepalive: bool,
    /// Fires when the client is to open no more streams; those that it has go on.
    pub drain: CancellationSignal,
}

/// Serves one connection until it has ended: also when the client is gone without a word.
///
/// # Errors
/// When the client breaks the rules of HTTP/2 or does not answer.
pub async fn serve_connection<IO>(
    served: &Served,
    io: IO,
    options: ConnectionOptions,
) -> Result<(), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let metrics = Arc::clone(served.door.metrics());
    metrics.connections.up();
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES);
    if options.keepalive {
        http.keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    }
    let gone = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Watched::new(io, Arc::clone(&gone)));
    let drain = options.drain.clone();
    let requests = Requests {
        checks: Checks::new(served.health.clone()),
        served: served.clone(),
        options: Arc::new(options),
        held: Arc::default(),
    };
    let mut connection = pin!(http.serve_connection(io, requests));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    metrics.connections.down();
    if gone.load(Ordering::Acquire) {
        return Ok(());
    }
    ended
}

/// The requests of one connection.
struct Requests {
    served: Served,
    options: Arc<ConnectionOptions>,
    checks: Checks,
    /// Request bytes that are held for the connection.
    held: Arc<AtomicUsize>,
}

type Answered = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Status>> + Send>>;

impl hyper::service::Service<http::Request<Incoming>> for Requests {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Answered;

    fn call(&self, mut request: http::Request<Incoming>) -> Answered {
        if is_of_a_browser(request.headers()) {
            return self.refuse(Status::permission_denied(
                "requests of browsers are refused",
            ));
        }
        if Checks::is_one(&request) {
            let answered = self.checks.answer(self.counted(request));
            return Box::pin(async move { Ok(answered.await) });
        }
        match self.owner(request.headers()) {
            Some(owner) => request.extensions_mut().insert(owner),
            None => {
                let message = "a valid bearer token is required";
                return self.refuse(Status::unauthenticated(message));
            }
        };
        let request = self.counted(request);
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        if service == SERVICE_NAME {
            let mut server = CodeModeHostServer::new(self.served.door.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES);
            infallible(server.call(request))
        } else if service == EXTENSIONS_NAME {
            let mut server = CodeModeExtensionsServer::new(self.served.door.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES);
            infallible(server.call(request))
        } else if service == HEALTH_NAME {
            let mut server = HealthServer::new(HealthService::from_health_reporter(
                self.served.health.clone(),
            ));
            infallible(server.call(request))
        } else {
            answer(Status::unimplemented(""))
        }
    }
}

const HEALTH_NAME: &str = "grpc.health.v1.Health";

impl Requests {
    /// Who asks; `None` for somebody who would have to show a token.
    fn owner(&self, headers: &http::HeaderMap) -> Option<Owner> {
        match &self.options.tokens {
            None => Some(self.options.owner.clone()),
            Some(tokens) => tokens.owner(headers.get(http::header::AUTHORIZATION)),
        }
    }

    fn counted(&self, request: http::Request<Incoming>) -> http::Request<CountedBody> {
        request.map(|body| CountedBody::new(body, Arc::clone(&self.held)))
    }

    fn refuse(&self, status: Status) -> Answered {
        self.served.door.metrics().requests_refused.add_one();
        answer(status)
    }
}

/// Only browsers say where a page came from, and no page has business here.
fn is_of_a_browser(headers: &http::HeaderMap) -> bool {
    headers.contains_key(http::header::ORIGIN)
}

fn answer(status: Status) -> Answered {
    Box::pin(std::future::ready(Ok(status.into_http())))
}

fn infallible<F>(future: F) -> Answered
where
    F: Future<Output = Result<http::Response<Body>, std::convert::Infallible>> + Send + 'static,
{
    Box::pin(async move {
        match future.await {
            Ok(response) => Ok(response),
            Err(never) => match never {},
        }
    })
}
