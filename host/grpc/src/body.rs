// SPDX-License-Identifier: Apache-2.0
//! Request bodies, counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use code_mode_grpc::prost::bytes::{Buf, Bytes};
use code_mode_grpc::tonic::Status;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::limits::MAX_REQUEST_BYTES;

/// The body of one request. What has come of it counts for its connection until it is dropped, which
/// is when its message was understood.
pub(crate) struct CountedBody {
    body: Incoming,
    held: Arc<AtomicUsize>,
    mine: usize,
}

impl CountedBody {
    pub(crate) fn new(body: Incoming, held: Arc<AtomicUsize>) -> Self {
        Self {
            body,
            held,
            mine: 0,
        }
    }
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        Poll::Ready(match std::task::ready!(polled) {
            None => None,
            Some(Err(error)) => Some(Err(Status::cancelled(format!(
                "Failed to read the request: {error}"
            )))),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Buf::remaining);
                self.mine += bytes;
                let held = self.held.fetch_add(bytes, Ordering::AcqRel) + bytes;
                Some(if held > MAX_REQUEST_BYTES {
                    Err(Status::resource_exhausted(format!(
                        "the requests of this connection have {MAX_REQUEST_BYTES} bytes at most at one time"
                    )))
                } else {
                    Ok(frame)
                })
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.held.fetch_sub(self.mine, Ordering::AcqRel);
    }
}
