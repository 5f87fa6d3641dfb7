// SPDX-License-Identifier: Apache-2.0
//! Messages on their way into one response stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use code_mode_api::waist::Credit;
use code_mode_grpc::tonic::Status;
use code_mode_grpc::tonic::codegen::tokio_stream::Stream;

/// What is to be done when a message leaves its mailbox.
pub(crate) type WhenTaken = Box<dyn FnOnce() + Send>;

/// The messages of one response stream that its connection has not taken yet.
///
/// It has no bound of its own: each message brings the credit of its event, so a full mailbox holds
/// the cells back through the outboxes that the events came from.
pub(crate) struct Mailbox<T>(Mutex<Contents<T>>);

struct Contents<T> {
    messages: VecDeque<Message<T>>,
    end: Option<Result<(), Status>>,
    reader_gone: bool,
    waker: Option<Waker>,
}

struct Message<T> {
    content: T,
    when_taken: Option<WhenTaken>,
    credit: Option<Credit>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Contents {
            messages: VecDeque::new(),
            end: None,
            reader_gone: false,
            waker: None,
        })))
    }

    /// Adds a message. Does nothing once the stream has ended or its reader is gone.
    pub(crate) fn push(&self, content: T, credit: Option<Credit>) {
        self.add(Message {
            content,
            when_taken: None,
            credit,
        });
    }

    /// As [`push`](Self::push), and calls back when the connection takes the message.
    pub(crate) fn push_and_tell(&self, content: T, credit: Credit, when_taken: WhenTaken) {
        self.add(Message {
            content,
            when_taken: Some(when_taken),
            credit: Some(credit),
        });
    }

    /// Ends the stream after what it holds. The first end counts.
    pub(crate) fn end(&self, result: Result<(), Status>) {
        let waker = {
            let mut state = self.lock();
            state.end.get_or_insert(result);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// The stream of what is put here, which calls `on_drop` when it is dropped.
    pub(crate) fn reader(self: &Arc<Self>, on_drop: impl FnOnce() + Send + 'static) -> Reader<T> {
        Reader {
            mailbox: Arc::clone(self),
            on_drop: Some(Box::new(on_drop)),
        }
    }

    fn add(&self, message: Message<T>) {
        let waker = {
            let mut state = self.lock();
            if state.reader_gone || state.end.is_some() {
                // The credit is given back outside the lock.
                drop(state);
                drop(message);
                return;
            }
            state.messages.push_back(message);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Contents<T>> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream of a mailbox's messages.
pub(crate) struct Reader<T> {
    mailbox: Arc<Mailbox<T>>,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Stream for Reader<T> {
    type Item = Result<T, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = {
            let mut state = self.mailbox.lock();
            match state.messages.pop_front() {
                Some(message) => message,
                None => {
                    return match &mut state.end {
                        None => {
                            state.waker = Some(context.waker().clone());
                            Poll::Pending
                        }
                        Some(end) => match std::mem::replace(end, Ok(())) {
                            Ok(()) => Poll::Ready(None),
                            Err(status) => Poll::Ready(Some(Err(status))),
                        },
                    };
                }
            }
        };
        if let Some(when_taken) = message.when_taken {
            when_taken();
        }
        drop(message.credit);
        Poll::Ready(Some(Ok(message.content)))
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        let messages = {
            let mut state = self.mailbox.lock();
            state.reader_gone = true;
            std::mem::take(&mut state.messages)
        };
        drop(messages);
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}
