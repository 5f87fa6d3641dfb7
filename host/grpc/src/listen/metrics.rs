// SPDX-License-Identifier: Apache-2.0
//! The page of metrics, for Prometheus.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::CancellationSignal;
use code_mode_grpc::tonic::body::Body;
use code_mode_grpc::tonic::codegen::http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::not_accepted;
use crate::metrics::Metrics;

/// Connections at one time; those beyond it are dropped.
const MAX_READERS: usize = 16;

/// How long one connection may last.
const READER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reader may take to ask.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives text of the program's own, in the same format, ending in a newline.
pub type More = Arc<dyn Fn() -> String + Send + Sync>;

/// Serves `GET /metrics` over plain HTTP until `end` fires. `more` adds text of the program's own.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    more: More,
    end: CancellationSignal,
) {
    let slots = Arc::new(Semaphore::new(MAX_READERS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = end.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
                    let (metrics, more) = (Arc::clone(&metrics), Arc::clone(&more));
                    tokio::spawn(async move {
                        let _slot = slot;
                        answer(stream, metrics, more).await;
                    });
                }
            }
            Err(error) => not_accepted(&error).await,
        }
    }
}

async fn answer(stream: TcpStream, metrics: Arc<Metrics>, more: More) {
    let page = service_fn(move |request: Request<Incoming>| {
        let found = request.uri().path() == "/metrics";
        let text = if found {
            metrics.render() + &more()
        } else {
            String::new()
        };
        let mut response = Response::new(Body::new(text));
        if found {
            let kind = header::HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        } else {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASK_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), page);
    match timeout(READER_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a reader of the metrics broke off"),
        Err(_) => tracing::debug!("a reader of the metrics took too long"),
    }
}
