// SPDX-License-Identifier: Apache-2.0
//! A cell's end of its stream to the host.

use std::cell::Cell;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::life;
use crate::wire::{HEADER_BYTES, Received, ToCell};

/// The descriptor of the stream: the only one that a cell has.
pub(crate) const STREAM: i32 = 0;

/// Bytes that are read at one time.
const READ_BYTES: usize = 64 << 10;

/// What comes in over the stream.
pub(crate) struct Stream {
    received: Received,
    /// How long to wait awake before sleeping.
    awake: Duration,
    /// Whether the last wait was short; it is not worth staying awake otherwise.
    fast: Cell<bool>,
}

/// The host has closed its end, or the stream is broken.
pub(crate) struct Gone;

impl Stream {
    pub(crate) fn new() -> Self {
        Self {
            received: Received::default(),
            awake: Duration::ZERO,
            fast: Cell::new(true),
        }
    }

    /// From now on, waits awake for so long before it sleeps.
    ///
    /// To wake a process that sleeps takes tens of microseconds, more than a fast tool takes to
    /// answer. A wait that took more than twice as long makes the next one sleep at once.
    pub(crate) fn stay_awake_for(&mut self, time: Duration) {
        self.awake = time;
    }

    /// The next message; `None` when the host is gone or what it says cannot be understood.
    pub(crate) fn receive(&mut self, until: Option<Instant>) -> Option<ToCell> {
        self.receive_until(until).ok().flatten()
    }

    /// The next message; `None` when there is none by `until`.
    pub(crate) fn receive_until(&mut self, until: Option<Instant>) -> Result<Option<ToCell>, Gone> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if !self.wait(until)? {
                return Ok(None);
            }
        }
    }

    /// A message that has wholly arrived.
    fn take(&mut self) -> Result<Option<ToCell>, Gone> {
        self.received
            .take(READ_BYTES, ToCell::decode, ToCell::decode_own)
            .map_err(|_| Gone)
    }

    /// Reads what there is, waiting for it. False when nothing came by `until`.
    fn wait(&mut self, until: Option<Instant>) -> Result<bool, Gone> {
        if self.read(libc::MSG_DONTWAIT)? {
            return Ok(true);
        }
        let begun = Instant::now();
        if until.is_some_and(|until| until <= begun) {
            return Ok(false);
        }
        if self.fast.get() {
            let awake_until = begun + self.awake;
            let awake_until = until.map_or(awake_until, |until| until.min(awake_until));
            while Instant::now() < awake_until {
                if self.read(libc::MSG_DONTWAIT)? {
                    return Ok(true);
                }
                std::thread::yield_now();
            }
        }
        loop {
            // Without an end to wait for, one call waits and reads.
            let read = match until {
                None => self.read(0)?,
                Some(until) if sleep(until)? => self.read(libc::MSG_DONTWAIT)?,
                Some(_) => return Ok(false),
            };
            if read {
                self.fast.set(begun.elapsed() <= 2 * self.awake);
                return Ok(true);
            }
        }
    }

    /// Reads what there is, with these flags of `recv`. False when there is nothing.
    fn read(&mut self, flags: libc::c_int) -> Result<bool, Gone> {
        let length = self.received.next_length();
        let bytes = self.received.rest();
        // A long message is read into memory that is as long, as soon as its length is known.
        let wanted = length
            .map_or(0, |length| HEADER_BYTES + length)
            .saturating_sub(bytes.len());
        bytes.reserve(wanted.max(READ_BYTES));
        let room = bytes.spare_capacity_mut();
        // SAFETY: the descriptor is a socket, and `room` is writable for the length that is passed.
        let got = unsafe { libc::recv(STREAM, room.as_mut_ptr().cast(), room.len(), flags) };
        match usize::try_from(got) {
            Ok(0) => Err(Gone),
            Ok(got) => {
                // SAFETY: the kernel has written `got` bytes into the room behind what there was.
                unsafe { bytes.set_len(bytes.len() + got) };
                Ok(true)
            }
            Err(_) => match io::Error::last_os_error().kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(Gone),
            },
        }
    }
}

/// Sleeps until there is something to read. False when there is nothing by `until`.
fn sleep(until: Instant) -> Result<bool, Gone> {
    let mut poll = libc::pollfd {
        fd: STREAM,
        events: libc::POLLIN,
        revents: 0,
    };
    let left = until.saturating_duration_since(Instant::now());
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    // SAFETY: `poll` is one valid entry, `time` is valid, and no signals are masked.
    let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const time, std::ptr::null()) };
    match ready {
        0 => Ok(false),
        1.. => Ok(true),
        _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => Ok(true),
        _ => Err(Gone),
    }
}

/// The stream as a socket, for a process that has no messages to say.
pub(crate) fn as_socket() -> UnixStream {
    // SAFETY: the descriptor is the stream's, and whoever calls this uses it in no other way.
    unsafe { UnixStream::from_raw_fd(STREAM) }
}

/// Sends what `write` appends, and waits until all of it has been taken. A host that is gone ends the
/// process.
pub(crate) fn say(write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::with_capacity(256);
    write(&mut bytes);
    send(&bytes);
}

/// A text of so many bytes is sent from where it is, by a call of its own; a shorter one is copied first.
const LONG_BYTES: usize = 16 << 10;

/// As [`say`], with the text that `write` gives back behind what it appends.
pub(crate) fn say_with<'t>(write: impl FnOnce(&mut Vec<u8>) -> &'t str) {
    let mut bytes = Vec::with_capacity(256);
    let rest = write(&mut bytes).as_bytes();
    if rest.len() < LONG_BYTES {
        bytes.extend_from_slice(rest);
        send(&bytes);
    } else {
        send(&bytes);
        send(rest);
    }
}

/// As [`say`], where memory may be short: frees what was kept for that first. What is said should take
/// far less than [`RESERVE_BYTES`].
pub(crate) fn say_short(write: impl FnOnce(&mut Vec<u8>)) {
    drop(
        RESERVE
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(),
    );
    say(write);
}

/// Keeps some memory for [`say_short`].
pub(crate) fn keep_reserve() {
    let reserve = Some(Vec::with_capacity(RESERVE_BYTES));
    *RESERVE.lock().unwrap_or_else(PoisonError::into_inner) = reserve;
}

/// Memory that is kept for a process's last words, bytes. So much comes from the allocator's own heap,
/// and so goes back there.
const RESERVE_BYTES: usize = 64 << 10;

static RESERVE: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// Waits until the host has no use for this process any more, and ends it.
///
/// To end takes the kernel a third of a millisecond of a processor, on which whoever waits for the result
/// may be about to wake: so the host says when.
pub(crate) fn leave() -> ! {
    let mut byte = 0_u8;
    loop {
        // SAFETY: the descriptor is a socket, and one byte can be written to.
        let got = unsafe { libc::recv(STREAM, (&raw mut byte).cast(), 1, 0) };
        let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
        if got == 0 || (got < 0 && !interrupted()) {
            life::end(0);
        }
    }
}

fn send(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the descriptor is a socket, and `bytes` is readable for the length that is passed.
        let sent = unsafe {
            libc::send(
                STREAM,
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => life::end(0),
        }
    }
}
