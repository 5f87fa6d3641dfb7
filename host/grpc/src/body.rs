// SPDX-License-Identifier: Apache-2.0
//! Request bodies, counted.

use std::fmt::Display;
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
pub(crate) struct CountedBody<B = Incoming> {
    body: B,
    held: Arc<AtomicUsize>,
    mine: usize,
}

impl<B> CountedBody<B> {
    pub(crate) fn new(body: B, held: Arc<AtomicUsize>) -> Self {
        Self {
            body,
            held,
            mine: 0,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CountedBody<B>
where
    B::Error: Display,
{
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

impl<B> Drop for CountedBody<B> {
    fn drop(&mut self) {
        self.held.fetch_sub(self.mine, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use code_mode_grpc::tonic::Code;

    use super::*;

    fn body(held: &Arc<AtomicUsize>) -> CountedBody<String> {
        CountedBody::new("four".to_owned(), Arc::clone(held))
    }

    fn read(body: &mut CountedBody<String>) -> Result<usize, Code> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => Ok(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(status))) => Err(status.code()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_connection_has_sent_and_nobody_has_understood_is_bounded() {
        let held = Arc::new(AtomicUsize::new(MAX_REQUEST_BYTES - 7));
        let mut first = body(&held);
        assert_eq!(read(&mut first), Ok(4));
        let mut second = body(&held);
        assert_eq!(read(&mut second), Err(Code::ResourceExhausted));
        drop(second);
        drop(first);
        assert_eq!(read(&mut body(&held)), Ok(4), "there is room again");
        assert_eq!(held.load(Ordering::Acquire), MAX_REQUEST_BYTES - 7);
    }
}
