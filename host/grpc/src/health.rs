// SPDX-License-Identifier: Apache-2.0
//! The one question that is answered without a token: whether the host is healthy.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic::Status;
use code_mode_grpc::tonic::body::Body;
use code_mode_grpc::tonic::codegen::{Service as _, http};
use code_mode_grpc::tonic_health::pb::health_server::HealthServer;
use code_mode_grpc::tonic_health::server::{HealthReporter, HealthService};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::body::CountedBody;
use crate::limits::{CHECK_TIMEOUT, MAX_CHECK_BYTES, MAX_CHECKS};

/// The path of the question.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The questions of one connection.
///
/// Balancers ask them, who have no token. An answer is one of the words of the standard service and nothing else, and
/// a question is bounded in its bytes, its time and its number, so whoever asks learns whether the host takes new work
/// and holds next to nothing. The service's other call, `Watch`, holds a stream for as long as its client likes, so it
/// is for clients with a token.
pub(crate) struct Checks {
    reporter: HealthReporter,
    places: Arc<Semaphore>,
}

impl Checks {
    pub(crate) fn new(reporter: HealthReporter) -> Self {
        Self {
            reporter,
            places: Arc::new(Semaphore::new(MAX_CHECKS)),
        }
    }

    /// Whether a request is the question.
    pub(crate) fn is_one<B>(request: &http::Request<B>) -> bool {
        request.uri().path() == CHECK
    }

    /// The answer.
    pub(crate) fn answer(
        &self,
        request: http::Request<CountedBody>,
    ) -> impl Future<Output = http::Response<Body>> + Send + 'static {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let reporter = HealthService::from_health_reporter(self.reporter.clone());
        let mut server = HealthServer::new(reporter).max_decoding_message_size(MAX_CHECK_BYTES);
        async move {
            let Ok(place) = place else {
                let message = format!("a connection has {MAX_CHECKS} health checks at one time");
                return Status::resource_exhausted(message).into_http();
            };
            match timeout(CHECK_TIMEOUT, server.call(request)).await {
                Ok(Ok(response)) => response.map(|body| {
                    Body::new(Told {
                        body,
                        _place: place,
                    })
                }),
                Ok(Err(never)) => match never {},
                Err(_) => {
                    let message = "the health check was not asked to its end in time";
                    Status::deadline_exceeded(message).into_http()
                }
            }
        }
    }
}

/// An answer until its client has taken it: one that leaves no room for it asks no more than others.
struct Told {
    body: Body,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
