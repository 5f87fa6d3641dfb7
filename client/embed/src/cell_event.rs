// SPDX-License-Identifier: Apache-2.0
//! What happens in a cell, and how it reaches those who follow.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_channel::{Receiver, Sender, WeakReceiver};
use code_mode_api::{ContentItem, StateLost, ToolError, ToolName};
use futures_core::Stream;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::output::size_of_item;
use crate::{ExecError, Output};

/// Events that wait for one reader; past this the oldest are dropped and counted.
pub const MAX_WAITING_EVENTS: usize = 1024;

/// Bytes of output, inputs and results that wait for one reader (8 MiB); past this the oldest are
/// dropped and counted. A single event may be larger. What several readers wait for is held once.
pub const MAX_WAITING_BYTES: usize = 8 << 20;

/// What happens in a cell. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CellEvent {
    /// The script has put something out.
    Output(Arc<ContentItem>),
    /// The script has called `yield_control`: what it has put out so far is meant to be looked at.
    /// A notification or call of the same moment may come after this. Hosts do not say why a cell
    /// yields, so a yield at the moment at which the cell is asked for its output anyway, every
    /// [`STREAM_INTERVAL`](crate::STREAM_INTERVAL), goes untold; the output comes all the same.
    Yielded,
    /// The script has sent a notification.
    Notification(Arc<str>),
    /// The script has called a tool. The policy is asked after this.
    ToolCall {
        /// The call's id within the cell.
        call_id: Arc<str>,
        /// The tool's own name.
        tool: ToolName,
        /// The input as the script gave it.
        input: Arc<RawValue>,
    },
    /// A tool call was answered. Calls that are cancelled have no answer.
    ToolResult {
        /// The call's id within the cell.
        call_id: Arc<str>,
        /// The tool's own name.
        tool: ToolName,
        /// What the script gets.
        result: Result<Arc<RawValue>, ToolError>,
        /// The time from the call to the answer, decisions included.
        took: Duration,
    },
    /// The session's host was lost before this cell, and another has taken its place.
    StateLost {
        /// What was lost.
        lost: StateLost,
        /// Whether the stored values were there again before the script ran, as the session's copy has them.
        restored: bool,
    },
    /// This reader was too slow: so many events before the next one were dropped.
    Missed {
        /// How many.
        events: u64,
    },
    /// The cell has ended; always the last event.
    Ended(Result<Output, ExecError>),
}

impl CellEvent {
    fn bytes(&self) -> usize {
        match self {
            Self::Output(item) => size_of_item(item),
            Self::Notification(text) => text.len(),
            Self::ToolCall { input, .. } => input.get().len(),
            Self::ToolResult { result, .. } => match result {
                Ok(value) => value.get().len(),
                Err(error) => error.message.len(),
            },
            // The output of the end is held by the cell anyway.
            Self::Yielded | Self::StateLost { .. } | Self::Missed { .. } | Self::Ended(_) => 0,
        }
    }
}

/// The events of a cell, as a stream that ends after [`CellEvent::Ended`].
///
/// Each reader has a queue of its own, [`MAX_WAITING_EVENTS`] and [`MAX_WAITING_BYTES`] long: one
/// that is slow holds nobody back, misses the oldest events and is told how many
/// ([`CellEvent::Missed`]). A clone is another reader, from then on. The stream of a
/// [lossless](crate::Exec::lossless) cell misses nothing; its clones may.
pub struct CellEvents {
    queue: Pin<Box<Receiver<Queued>>>,
    held: Arc<AtomicUsize>,
    /// The number of the event that comes next.
    next: u64,
    /// How many events there had been before this reader.
    subscribed_at: u64,
    /// An event that was taken already, behind the news of those that were missed.
    after_gap: Option<CellEvent>,
    /// Whether others wait for room in the queue.
    lossless: bool,
    hub: Arc<Hub>,
}

impl fmt::Debug for CellEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellEvents").finish_non_exhaustive()
    }
}

impl Drop for CellEvents {
    fn drop(&mut self) {
        if self.lossless {
            self.queue.close();
            self.hub.room.notify_waiters();
        }
    }
}

impl Clone for CellEvents {
    fn clone(&self) -> Self {
        Hub::subscribe(&self.hub)
    }
}

impl CellEvents {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<CellEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for CellEvents {
    type Item = CellEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<CellEvent>> {
        if let Some(event) = self.after_gap.take() {
            return Poll::Ready(Some(event));
        }
        let Some(queued) = ready!(self.queue.as_mut().poll_next(cx)) else {
            return Poll::Ready(None);
        };
        self.held.fetch_sub(queued.bytes, Ordering::Relaxed);
        if self.lossless {
            self.hub.room.notify_waiters();
        }
        let events = queued.number.saturating_sub(self.next);
        self.next = queued.number + 1;
        Poll::Ready(Some(if events == 0 {
            queued.event
        } else {
            self.after_gap = Some(queued.event);
            CellEvent::Missed { events }
        }))
    }
}

struct Queued {
    number: u64,
    bytes: usize,
    event: CellEvent,
}

/// Hands the events of one cell to all its readers.
#[derive(Default)]
pub(crate) struct Hub {
    readers: Mutex<Readers>,
    /// Whether there is a reader that must miss nothing.
    lossless: AtomicBool,
    /// Rings when there may be room in such a reader's queue.
    room: Notify,
}

#[derive(Default)]
struct Readers {
    readers: Vec<Reader>,
    /// How many events there were.
    published: u64,
    ended: Option<CellEvent>,
}

struct Reader {
    sender: Sender<Queued>,
    /// To take the oldest out again; weak, so that a reader that was dropped is known by it.
    queue: WeakReceiver<Queued>,
    held: Arc<AtomicUsize>,
    /// Whether nothing is taken out of a full queue.
    lossless: bool,
}

impl Hub {
    /// A reader of what comes from now on; of the end alone when that has come.
    pub(crate) fn subscribe(hub: &Arc<Self>) -> CellEvents {
        let mut events = Self::subscribe_from_start(hub, false);
        events.next = events.subscribed_at;
        events
    }

    /// The same for a reader that is told as well how many events it has missed before. One that is
    /// to miss nothing has to be given [`room`](Self::room).
    pub(crate) fn subscribe_from_start(hub: &Arc<Self>, lossless: bool) -> CellEvents {
        let (sender, receiver) = if lossless {
            // What publishes waits for room, so this holds the bounds and what was on its way.
            async_channel::unbounded()
        } else {
            async_channel::bounded(MAX_WAITING_EVENTS)
        };
        let held = Arc::new(AtomicUsize::new(0));
        let mut readers = hub.lock();
        let next = readers.published;
        let reader = Reader {
            sender,
            queue: receiver.downgrade(),
            held: Arc::clone(&held),
            lossless,
        };
        hub.lossless.fetch_or(lossless, Ordering::Relaxed);
        match readers.ended.clone() {
            Some(end) => reader.put(next, end),
            None => readers.readers.push(reader),
        }
        drop(readers);
        CellEvents {
            queue: Box::pin(receiver),
            held,
            next: 0,
            subscribed_at: next,
            after_gap: None,
            lossless,
            hub: Arc::clone(hub),
        }
    }

    /// Whether anybody follows.
    pub(crate) fn has_readers(&self) -> bool {
        let mut readers = self.lock();
        readers.readers.retain(|reader| !reader.sender.is_closed());
        !readers.readers.is_empty()
    }

    /// Resolves when every reader that must miss nothing has room, or `is_over` says that nothing is
    /// to wait any more; asked again after [`wake`](Self::wake).
    pub(crate) async fn room(&self, is_over: impl Fn() -> bool) {
        loop {
            let rung = self.room.notified();
            if self.has_room() || is_over() {
                return;
            }
            rung.await;
        }
    }

    /// Whether there is, or was, a reader that must miss nothing.
    pub(crate) fn is_lossless(&self) -> bool {
        self.lossless.load(Ordering::Relaxed)
    }

    /// Has those who wait for room look again.
    pub(crate) fn wake(&self) {
        self.room.notify_waiters();
    }

    /// Whether every reader that must miss nothing has room.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_lossless()
            || self
                .lock()
                .readers
                .iter()
                .all(|reader| !reader.lossless || reader.sender.is_closed() || !reader.is_full())
    }

    /// Hands an event to every reader. Never waits. What comes after the end is dropped.
    pub(crate) fn publish(&self, event: CellEvent) {
        let mut readers = self.lock();
        if readers.ended.is_some() {
            return;
        }
        let number = readers.published;
        readers.published += 1;
        readers.readers.retain(|reader| !reader.sender.is_closed());
        for reader in &readers.readers {
            reader.put(number, event.clone());
        }
        if matches!(event, CellEvent::Ended(_)) {
            readers.ended = Some(event);
            // The streams end once their queues are empty.
            readers.readers.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Puts an event into the queue, and takes the oldest out where there is no room for it. Called
    /// under the hub's lock, so nobody else puts.
    fn put(&self, number: u64, event: CellEvent) {
        let Some(queue) = self.queue.upgrade() else {
            return;
        };
        let bytes = event.bytes();
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let mut over = held.saturating_sub(MAX_WAITING_BYTES);
        while !self.lossless && (over > 0 || queue.is_full()) {
            // The reader may be faster, and then there is room.
            let Ok(oldest) = queue.try_recv() else { break };
            self.held.fetch_sub(oldest.bytes, Ordering::Relaxed);
            over = over.saturating_sub(oldest.bytes);
        }
        let queued = Queued {
            number,
            bytes,
            event,
        };
        // There is room, since only this puts; a reader that is just dropped needs it no more.
        drop(self.sender.try_send(queued));
    }

    fn is_full(&self) -> bool {
        self.sender.len() >= MAX_WAITING_EVENTS
            || self.held.load(Ordering::Relaxed) >= MAX_WAITING_BYTES
    }
}

#[cfg(test)]
#[path = "cell_event_tests.rs"]
mod tests;
