// SPDX-License-Identifier: Apache-2.0
//! A caller's claim to an answer, safe to drop at any moment.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use code_mode_api::{RawJson, SideEffects};
use tokio::sync::oneshot;

use super::events::{Event, Events, Handover, Observed, RequestId};
use crate::error::CallError;

/// What becomes of an answer that nobody takes.
pub(crate) trait GiveBack {
    /// Hands the answer back to the driver.
    fn give_back(self, events: &Events);
}

/// Resolves to the answer of one request.
///
/// Dropping it tells the driver. An answer that had arrived but was not taken goes back to the
/// driver, so that neither a cell nor its output is lost in the gap between sending and taking.
#[derive(Debug)]
pub(crate) struct Ticket<T: GiveBack> {
    id: RequestId,
    answer: oneshot::Receiver<Result<T, CallError>>,
    events: Events,
    taken: bool,
}

impl<T: GiveBack> Ticket<T> {
    pub(super) fn new(
        id: RequestId,
        answer: oneshot::Receiver<Result<T, CallError>>,
        events: Events,
    ) -> Self {
        Self {
            id,
            answer,
            events,
            taken: false,
        }
    }
}

impl<T: GiveBack> Future for Ticket<T> {
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

impl<T: GiveBack> Drop for Ticket<T> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.answer.close();
        match self.answer.try_recv() {
            Ok(Ok(answer)) => answer.give_back(&self.events),
            Ok(Err(_)) => {}
            // A driver that is gone has cleaned up already.
            Err(_) => drop(self.events.send(Event::Gone(self.id))),
        }
    }
}

impl GiveBack for Handover {
    fn give_back(self, events: &Events) {
        drop(events.send(Event::Untaken {
            session: self.session,
            cell: self.cell,
        }));
    }
}

impl GiveBack for Observed {
    fn give_back(self, events: &Events) {
        drop(events.send(Event::Returned(self)));
    }
}

impl GiveBack for () {
    fn give_back(self, _: &Events) {}
}

impl GiveBack for BTreeMap<String, RawJson> {
    fn give_back(self, _: &Events) {}
}
