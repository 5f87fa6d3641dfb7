// SPDX-License-Identifier: Apache-2.0
//! A caller's claim to an answer, safe to drop at any moment.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use code_mode_api::SideEffects;
use code_mode_protocol::RequestId;
use tokio::sync::oneshot;

use crate::error::CallError;

/// Whoever owns answers until they are taken: the driver.
pub(crate) trait Owner {
    /// The caller of this request no longer waits for its answer.
    fn not_waited_for(&self, id: RequestId);
}

/// An owner that gets an answer back which nobody has taken.
pub(crate) trait TakesBack<T>: Owner {
    /// Takes it back.
    fn take_back(&self, answer: T);
}

/// Resolves to the answer of one request.
///
/// Dropping it tells the owner. An answer that had arrived but was not taken goes back to the
/// owner, so that neither a cell nor its output is lost in the gap between sending and taking.
#[derive(Debug)]
pub(crate) struct Ticket<T, O: TakesBack<T>> {
    id: RequestId,
    answer: oneshot::Receiver<Result<T, CallError>>,
    owner: O,
    taken: bool,
}

impl<T, O: TakesBack<T>> Ticket<T, O> {
    pub(super) fn new(
        id: RequestId,
        answer: oneshot::Receiver<Result<T, CallError>>,
        owner: O,
    ) -> Self {
        Self {
            id,
            answer,
            owner,
            taken: false,
        }
    }
}

impl<T, O: TakesBack<T> + Unpin> Future for Ticket<T, O> {
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        self.taken = true;
        // The driver answers every request before it ends; only the end of the whole runtime, which
        // drops the driver in the middle of its work, leaves one without an answer.
        Poll::Ready(answer.unwrap_or_else(|_| {
            Err(CallError::Lost {
                cause: "the client's async runtime shut down".to_owned(),
                side_effects: SideEffects::Possible,
            })
        }))
    }
}

impl<T, O: TakesBack<T>> Drop for Ticket<T, O> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.answer.close();
        match self.answer.try_recv() {
            Ok(Ok(answer)) => self.owner.take_back(answer),
            Ok(Err(_)) => {}
            Err(_) => self.owner.not_waited_for(self.id),
        }
    }
}
