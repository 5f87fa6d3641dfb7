// SPDX-License-Identifier: Apache-2.0
//! The host's end of a cell's stream, and the process behind it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::waist::Held;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::life::{Exit, Process};
use crate::watch::watched;
use crate::wire::{FromCell, Nonsense, OVERHEAD_BYTES, Received, ToCell};

/// Bytes that are read at one time.
const READ_BYTES: usize = 64 << 10;

/// How many bytes of what was sent may be kept for the next message.
const KEPT_BYTES: usize = 64 << 10;

/// A process that was born and has no script yet. Dropped like this, it is ended and reaped.
#[derive(Debug)]
pub struct Child {
    stream: OwnedFd,
    process: Process,
    losses: Losses,
}

/// How many children of one zygote have died of something else than a limit or a termination.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses(Arc<AtomicU64>);

impl Losses {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Child {
    pub(crate) fn new(stream: OwnedFd, process: Process, losses: Losses) -> Self {
        Self {
            stream,
            process,
            losses,
        }
    }

    /// Whether the process still waits for its script, as far as can be seen: one that cannot be
    /// prepared says so and ends.
    pub(crate) fn is_waiting(&self) -> bool {
        nothing_to_read(self.stream.as_fd())
    }

    /// The link to the process. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// When the runtime has no reactor, or the kernel refuses another descriptor to watch.
    pub fn link(self) -> io::Result<(Link, LinkReader)> {
        let Self {
            stream,
            process,
            losses,
        } = self;
        let stream = watched(stream, Interest::READABLE | Interest::WRITABLE)?;
        let link = Link {
            stream,
            process,
            losses,
            unsent: Mutex::default(),
            sent_some: Notify::new(),
        };
        let reader = LinkReader {
            received: Received::default(),
            maximum: 0,
            awake: Duration::ZERO,
            fast: true,
        };
        Ok((link, reader))
    }
}

/// The host's end of a cell's stream. What is sent never waits; [`LinkReader`] takes what comes in and
/// sees to what could not be sent at once.
#[derive(Debug)]
pub struct Link {
    stream: AsyncFd<OwnedFd>,
    process: Process,
    pub(crate) losses: Losses,
    unsent: Mutex<Unsent>,
    /// Tells the reader that there is something left to send.
    sent_some: Notify,
}

/// Bytes that the socket did not take at once.
#[derive(Debug, Default)]
struct Unsent {
    bytes: VecDeque<u8>,
    /// Memory for the next message.
    spare: Vec<u8>,
    /// How many bytes were left to be sent until now, and how many of them the socket has taken.
    put: u64,
    taken: u64,
    /// What messages count for until the socket has taken them, each with where it ends.
    held: VecDeque<(u64, Held)>,
}

impl Unsent {
    /// Takes note of bytes that the socket has taken, or that nobody will read.
    fn take(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.taken += count as u64;
        while self.held.front().is_some_and(|(end, _)| *end <= self.taken) {
            self.held.pop_front();
        }
    }
}

/// The part of a link that takes what comes in; one task has it.
#[derive(Debug)]
pub struct LinkReader {
    received: Received,
    /// The longest message that is taken, bytes.
    maximum: u64,
    /// How long to wait awake before sleeping.
    awake: Duration,
    /// Whether the last wait was short.
    fast: bool,
}

/// Why a link is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The process says what it should not.
    #[error("the cell's process said what none says: {0}")]
    Nonsense(#[from] Nonsense),
    /// The process says more at one time than its bounds allow.
    #[error("the cell's process sent a message of {length} bytes, and {maximum} are allowed")]
    TooLong {
        /// The length that it announced, bytes.
        length: u64,
        /// The longest that is taken, bytes.
        maximum: u64,
    },
    /// The stream failed.
    #[error("Failed to read from the cell's process: {0}")]
    Stream(#[source] io::Error),
}

impl Link {
    /// The process behind the link.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Sends a message, at once as far as the socket takes it. What it does not take is kept, and sent
    /// by the reader's task. A process that is gone takes nothing; the reader finds that out.
    pub fn send(&self, message: &ToCell) {
        self.send_held(message, None);
    }

    /// The same of a message that counts for something until the socket has taken it.
    pub fn send_held(&self, message: &ToCell, held: Option<Held>) {
        let mut unsent = self.lock();
        let mut bytes = std::mem::take(&mut unsent.spare);
        let rest = message.encode_head(&mut bytes).as_bytes();
        let sent = if unsent.bytes.is_empty() {
            let whole = bytes.len() + rest.len();
            self.send_now(&bytes, rest).unwrap_or(whole)
        } else {
            0
        };
        let left = behind([&bytes, rest], sent);
        let left_bytes: usize = left.iter().map(|part| part.len()).sum();
        if left_bytes > 0 {
            left.iter().for_each(|part| unsent.bytes.extend(*part));
            unsent.put += left_bytes as u64;
            let end = unsent.put;
            unsent.held.extend(held.map(|held| (end, held)));
            self.sent_some.notify_one();
        }
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES);
        unsent.spare = bytes;
    }

    /// Bytes that were sent and that the socket has not taken.
    pub fn unsent_bytes(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Drops what the socket has not taken: the process has ended, and nobody will read it.
    pub fn drop_unsent(&self) {
        let mut unsent = self.lock();
        let all = unsent.bytes.len();
        unsent.take(all);
        unsent.bytes.shrink_to(KEPT_BYTES);
    }

    /// Sends what is left, as far as the socket takes it. True when nothing is left.
    fn send_rest(&self) -> bool {
        let mut unsent = self.lock();
        while !unsent.bytes.is_empty() {
            let (front, back) = unsent.bytes.as_slices();
            let sent = match self.send_now(front, back) {
                Ok(0) => return false,
                Ok(sent) => sent,
                // The process is gone, and nobody will read it.
                Err(_) => unsent.bytes.len(),
            };
            unsent.take(sent);
        }
        unsent.bytes.shrink_to(KEPT_BYTES);
        true
    }

    /// Sends as much of both as the socket takes, 0 when it takes nothing.
    fn send_now(&self, first: &[u8], second: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < first.len() + second.len() {
            let parts = behind([first, second], sent).map(IoSlice::new);
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let nothing = &mut SendAncillaryBuffer::default();
            match rustix::net::sendmsg(self.stream.get_ref(), &parts, nothing, flags) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }

    fn lock(&self) -> MutexGuard<'_, Unsent> {
        // Nothing panics while the lock is held except a failed allocation, after which nothing of a
        // message is lost that was not lost with the process.
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the process has ended, and reaps it.
    ///
    /// # Errors
    /// When somebody else has reaped it, or the kernel refuses to watch it.
    pub async fn reap(&self) -> io::Result<Exit> {
        self.process.reap().await
    }
}

impl LinkReader {
    /// What one message may take beside its texts is added to `longest_text`, bytes. Waits awake for up to
    /// `awake` before it sleeps, unless the last wait was a long one.
    pub fn set_bounds(&mut self, longest_text: u64, awake: Duration) {
        self.maximum = longest_text.saturating_add(OVERHEAD_BYTES);
        self.awake = awake;
    }

    /// The next message; `None` when the process has closed its end. `soon` says that the process is at
    /// work and waits for nothing, so that it may be worth staying awake.
    ///
    /// # Errors
    /// When the process says what it should not, or the stream fails.
    pub async fn next(&mut self, link: &Link, soon: bool) -> Result<Option<FromCell>, LinkError> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            match self.read(link).map_err(LinkError::Stream)? {
                Some(0) => return Ok(None),
                Some(_) => {}
                None => {
                    if !soon || !self.stay_awake(link).await.map_err(LinkError::Stream)? {
                        self.sleep(link).await.map_err(LinkError::Stream)?;
                    }
                }
            }
        }
    }

    /// A message that has wholly arrived.
    fn take(&mut self) -> Result<Option<FromCell>, LinkError> {
        if let Some(length) = self.received.next_length()
            && length as u64 > self.maximum
        {
            return Err(LinkError::TooLong {
                length: length as u64,
                maximum: self.maximum,
            });
        }
        let message = self
            .received
            .take(READ_BYTES, FromCell::decode, FromCell::decode_own)?;
        Ok(message)
    }

    /// Reads what there is: how many bytes, 0 at the end of the stream, `None` when there is nothing yet.
    fn read(&mut self, link: &Link) -> io::Result<Option<usize>> {
        let bytes = self.received.rest();
        // Memory for a long message is taken as its bytes come, never for its word.
        if bytes.capacity() - bytes.len() < READ_BYTES {
            bytes.reserve(READ_BYTES.max(bytes.len()));
        }
        let room = rustix::buffer::spare_capacity(bytes);
        match rustix::net::recv(link.stream.get_ref(), room, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Ok(Some(count)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            // The process was killed with something unread.
            Err(rustix::io::Errno::CONNRESET) => Ok(Some(0)),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks again and again for a short time, and lets other tasks run in between. True when there is
    /// something to take.
    async fn stay_awake(&mut self, link: &Link) -> io::Result<bool> {
        if !self.fast || self.awake.is_zero() {
            return Ok(false);
        }
        let until = Instant::now() + self.awake;
        while Instant::now() < until {
            tokio::task::yield_now().await;
            let before = self.received.len();
            match self.read(link)? {
                // The end of the stream is found again by whoever asks next.
                Some(_) if self.received.len() == before => return Ok(false),
                Some(_) => return Ok(true),
                None => {}
            }
        }
        Ok(false)
    }

    /// Waits until there may be something to read; meanwhile sends what is left to send.
    async fn sleep(&mut self, link: &Link) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let interest = if link.unsent_bytes() == 0 {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let mut ready = tokio::select! {
                ready = link.stream.ready(interest) => ready?,
                () = link.sent_some.notified() => continue,
            };
            if ready.ready().is_writable() && !link.send_rest() {
                ready.clear_ready_matching(tokio::io::Ready::WRITABLE);
            }
            if ready.ready().is_readable() || ready.ready().is_read_closed() {
                if nothing_to_read(link.stream.get_ref().as_fd()) {
                    ready.clear_ready_matching(tokio::io::Ready::READABLE);
                } else {
                    self.fast = begun.elapsed() <= 2 * self.awake;
                    return Ok(());
                }
            }
        }
    }
}

/// What is left of two parts, one behind the other, behind so many bytes.
fn behind([first, second]: [&[u8]; 2], bytes: usize) -> [&[u8]; 2] {
    let in_second = bytes.saturating_sub(first.len());
    [
        first.get(bytes..).unwrap_or_default(),
        second.get(in_second..).unwrap_or_default(),
    ]
}

fn nothing_to_read(stream: BorrowedFd<'_>) -> bool {
    let mut byte = [0];
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(
        rustix::net::recv(stream, &mut byte, flags),
        Err(rustix::io::Errno::AGAIN)
    )
}
