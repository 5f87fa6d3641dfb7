// SPDX-License-Identifier: Apache-2.0
//! The delegate's futures: polled anywhere, dropped at the very moment a cell cancels them.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use code_mode_api::{BoxFuture, CancellationSignal, RawJson, ToolError};

use crate::shield;

/// What a delegate's future is for, and so what its result means.
pub(crate) enum DelegateFuture {
    /// A tool call.
    Tool(BoxFuture<'static, Result<RawJson, ToolError>>),
    /// A notification.
    Notification(BoxFuture<'static, Result<(), ToolError>>),
}

/// What a delegate's future gave.
pub(crate) enum DelegateAnswer {
    /// Of a tool call.
    Tool(Result<RawJson, ToolError>),
    /// Of a notification.
    Notification(Result<(), ToolError>),
}

/// The cell that a call is made for, as the call sees it.
pub(crate) trait CallOwner: Send + Sync {
    /// Where futures are polled.
    fn tokio(&self) -> &tokio::runtime::Handle;

    /// Takes the answer of a delegate's future.
    fn answered(&self, call: u64, answer: DelegateAnswer);

    /// Says that code of the embedder panicked.
    fn callback_panicked(&self, message: String);

    /// Goes on with the callbacks after whoever polled a cancelled call has dropped its future.
    fn resume_callbacks(self: Arc<Self>);
}

/// One open call of the delegate.
///
/// The future is outside the lock while it is polled, so that neither a poll nor a cancellation
/// ever waits for the other.
pub(crate) struct DelegateCall {
    /// The number of the call within its cell; tool calls and notifications count together.
    pub(crate) id: u64,
    owner: Arc<dyn CallOwner>,
    begun: Instant,
    /// What fires when this call alone is cancelled, if it can be.
    own_signal: Option<CancellationSignal>,
    /// Whether a tokio task polls the future from now on.
    has_task: AtomicBool,
    state: Mutex<CallState>,
}

enum CallState {
    /// The delegate has not been called yet.
    Waiting,
    /// The future is at rest; with the waker of its task, if it has one.
    Idle(DelegateFuture, Option<Waker>),
    /// Somebody polls the future at this moment.
    Polling,
    /// As [`Self::Polling`], and the future has woken its waker: whoever polls sees to the next poll.
    PollingWoken,
    /// As [`Self::Polling`], and whoever polls drops the future and goes on with the cell's callbacks.
    PollingCancelled,
    /// The future is gone.
    Done,
}

impl DelegateCall {
    pub(crate) fn new(
        id: u64,
        owner: Arc<dyn CallOwner>,
        own_signal: Option<CancellationSignal>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            owner,
            begun: Instant::now(),
            own_signal,
            has_task: AtomicBool::new(false),
            state: Mutex::new(CallState::Waiting),
        })
    }

    /// How long ago the script has called.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What fires when this call alone is cancelled, if it can be.
    pub(crate) fn own_signal(&self) -> Option<&CancellationSignal> {
        self.own_signal.as_ref()
    }

    /// Takes the delegate's future and polls it once. When it needs more than that, it gets a task of
    /// the tokio runtime as soon as it is woken: usually by a thread of that runtime, which need not
    /// be woken itself then.
    pub(crate) fn begin(self: &Arc<Self>, future: DelegateFuture) {
        *self.lock() = CallState::Idle(future, None);
        let waker = Waker::from(Arc::clone(self));
        // What is left to do after the poll is done by whoever wakes the call or cancels it.
        let _ = self.poll(&mut Context::from_waker(&waker));
    }

    /// Leaves the future to a tokio task, once.
    fn spawn(self: Arc<Self>) {
        if !self.has_task.swap(true, Ordering::AcqRel) {
            self.owner.tokio().clone().spawn(CallTask(self));
        }
    }

    /// Drops the future. False when it is being polled: then the one who polls drops it and calls
    /// [`CallOwner::resume_callbacks`].
    pub(crate) fn cancel(&self) -> bool {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, CallState::Done) {
            CallState::Polling | CallState::PollingWoken | CallState::PollingCancelled => {
                *state = CallState::PollingCancelled;
                false
            }
            CallState::Idle(future, waker) => {
                drop(state);
                self.shielded(|| drop(future));
                // The task that held the future has nothing left to do; waking it lets it end.
                if let Some(waker) = waker {
                    waker.wake();
                }
                true
            }
            CallState::Waiting | CallState::Done => true,
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut future = {
            let mut state = self.lock();
            match std::mem::replace(&mut *state, CallState::Polling) {
                CallState::Idle(future, _) => future,
                CallState::Waiting | CallState::Done => {
                    *state = CallState::Done;
                    return Poll::Ready(());
                }
                busy @ (CallState::Polling
                | CallState::PollingWoken
                | CallState::PollingCancelled) => {
                    *state = busy;
                    return Poll::Pending;
                }
            }
        };
        let polled = self.shielded(|| match &mut future {
            DelegateFuture::Tool(future) => future.as_mut().poll(context).map(DelegateAnswer::Tool),
            DelegateFuture::Notification(future) => future
                .as_mut()
                .poll(context)
                .map(DelegateAnswer::Notification),
        });
        let polled = polled.unwrap_or_else(|| {
            let error = ToolError::new("the delegate panicked");
            Poll::Ready(match &future {
                DelegateFuture::Tool(_) => DelegateAnswer::Tool(Err(error)),
                DelegateFuture::Notification(_) => DelegateAnswer::Notification(Err(error)),
            })
        });
        let mut state = self.lock();
        let cancelled = matches!(*state, CallState::PollingCancelled);
        match polled {
            Poll::Pending if !cancelled => {
                let woken = matches!(*state, CallState::PollingWoken);
                let task = self.has_task.load(Ordering::Acquire);
                *state = CallState::Idle(future, task.then(|| context.waker().clone()));
                drop(state);
                if woken {
                    context.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            Poll::Pending => {
                *state = CallState::Done;
                drop(state);
                self.shielded(|| drop(future));
            }
            Poll::Ready(answer) => {
                *state = CallState::Done;
                drop(state);
                self.shielded(|| drop(future));
                if !cancelled {
                    self.owner.answered(self.id, answer);
                }
            }
        }
        if cancelled {
            Arc::clone(&self.owner).resume_callbacks();
        }
        Poll::Ready(())
    }

    /// Runs code of the embedder; a panic of it becomes a failure and `None`.
    fn shielded<T>(&self, run: impl FnOnce() -> T) -> Option<T> {
        shield::shielded(run, |message| self.owner.callback_panicked(message))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CallState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the first poll leaves with the future.
impl Wake for DelegateCall {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        match *state {
            CallState::Idle(..) => {
                drop(state);
                self.spawn();
            }
            CallState::Polling => *state = CallState::PollingWoken,
            // There is no future to poll, or whoever polls it knows already.
            CallState::Waiting
            | CallState::PollingWoken
            | CallState::PollingCancelled
            | CallState::Done => {}
        }
    }
}

/// The tokio task that polls a call.
struct CallTask(Arc<DelegateCall>);

impl Future for CallTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}
