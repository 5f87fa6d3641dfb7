// SPDX-License-Identifier: Apache-2.0
//! What proves that a host has done nothing with an execute.
//!
//! RFC 9113 (sections 6.8 and 8.7) has two proofs: that the host breaks the stream off with `REFUSED_STREAM`,
//! and that it says with `GOAWAY` that it looks at streams up to a number below this one's. There is a third
//! on this side: the connection has never taken the first byte of the message that has the script in it.
//! Everything else, a broken connection above all, proves nothing.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use code_mode_client::SentExecutes;
use code_mode_grpc::prost::bytes::Bytes;
use code_mode_grpc::tonic::Status;
use code_mode_grpc::tonic::body::Body;
use code_mode_grpc::tonic::codegen::{Body as HttpBody, http};
use h2::Reason;

/// What a status proves that a call has ended with before the host had begun to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unprocessed {
    /// The host has refused this stream. Others may be served.
    Refused,
    /// The host takes no further streams on this connection.
    GoingAway,
}

/// What a status proves; `None` when the host may have done something. Only of a status that came in the
/// place of an answer: who has begun to answer has begun to work.
pub(crate) fn unprocessed(status: &Status) -> Option<Unprocessed> {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return by_host(error);
        }
        cause = error.source();
    }
    None
}

fn by_host(error: &h2::Error) -> Option<Unprocessed> {
    if !error.is_remote() {
        return None;
    }
    // h2 gives this one to streams above the number in the frame, and to those that it does not open any
    // more; the others go on.
    if error.is_go_away() {
        return Some(Unprocessed::GoingAway);
    }
    (error.reason() == Some(Reason::REFUSED_STREAM)).then_some(Unprocessed::Refused)
}

/// Marks the request of an execute, so that it is known whether it was sent.
#[derive(Clone)]
pub(crate) struct Mark {
    pub(crate) sent: SentExecutes,
    pub(crate) id: i64,
}

/// A request as it goes to the connection: one that is marked says when the connection takes the first of it.
pub(crate) fn watched(mut request: http::Request<Body>) -> http::Request<Body> {
    match request.extensions_mut().remove::<Mark>() {
        None => request,
        Some(mark) => request.map(|body| {
            let mark = Some(mark);
            Body::new(Watched { body, mark })
        }),
    }
}

/// The body of a request that is marked.
struct Watched {
    body: Body,
    /// `None` once the first of it was taken.
    mark: Option<Mark>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        if let Some(Mark { sent, id }) = self.mark.take()
            && !sent.send(id)
        {
            let error = Status::cancelled("it was given up before it was sent");
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;

    fn marked(sent: &SentExecutes) -> http::Request<Body> {
        let mut request = http::Request::new(Body::new("the script".to_owned()));
        let mark = Mark {
            sent: sent.clone(),
            id: 1,
        };
        request.extensions_mut().insert(mark);
        watched(request)
    }

    #[test]
    fn an_execute_is_sent_when_its_first_byte_is_taken_and_no_sooner() {
        let sent = SentExecutes::default();
        let mut request = marked(&sent);
        let settled = |sent: &SentExecutes| {
            let mut settled = std::pin::pin!(sent.settled());
            let mut context = Context::from_waker(Waker::noop());
            settled.as_mut().poll(&mut context).is_ready()
        };
        assert!(settled(&sent), "nothing was sent");
        let mut context = Context::from_waker(Waker::noop());
        let body = Pin::new(request.body_mut());
        assert!(matches!(
            body.poll_frame(&mut context),
            Poll::Ready(Some(Ok(_)))
        ));
        assert!(!settled(&sent), "it was sent");
    }

    #[test]
    fn errors_that_were_made_here_prove_nothing() {
        let here = h2::Error::from(Reason::REFUSED_STREAM);
        let mut status = Status::unavailable("refused");
        assert_eq!(unprocessed(&status), None, "the host's own words");
        status.set_source(Arc::new(here));
        assert_eq!(unprocessed(&status), None);
    }
}
