// SPDX-License-Identifier: Apache-2.0
//! Room in the pipes to a host.
//!
//! A user has [64 MiB](https://man7.org/linux/man-pages/man7/pipe.7.html) for all pipes, after which the kernel
//! gives each new one a page. So a pipe is made larger by the first large frame only: hosts that pass small ones,
//! as most do, cost what pipes usually cost.
//!
//! The host does the same for its own ends (`host/src/pipes.rs`). The code stands twice because what both packages
//! may know is the wire and the interface alone, and neither of these knows a pipe.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::process::ChildStdin;

/// Bytes that a pipe holds which nobody has made larger.
pub(super) const USUAL_PIPE_BYTES: usize = 64 << 10;

/// Bytes that a pipe should hold through which large frames go: what an unprivileged process may ask for by
/// default. The kernel's own choice costs a change of process for every 64 KiB of them.
pub(super) const PIPE_BYTES: libc::c_int = 1 << 20;

/// Makes a pipe larger if the kernel lets this user; a smaller one works as well, only slower.
fn enlarge(pipe: &impl AsFd) {
    let descriptor = pipe.as_fd().as_raw_fd();
    // SAFETY: F_SETPIPE_SZ takes an integer, and the descriptor is open for the length of the call
    // because `pipe` is borrowed.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETPIPE_SZ, PIPE_BYTES) };
    if result < 0 {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "the kernel has refused a larger pipe");
    }
}

/// Whether a pipe was made larger, or that was tried.
#[derive(Debug, Default)]
pub(super) struct Room {
    was_enlarged: bool,
}

impl Room {
    /// Takes note of bytes that are to go through the pipe in one piece, or have come through it.
    pub(super) fn passes(&mut self, pipe: &impl AsFd, bytes: usize) {
        if bytes >= USUAL_PIPE_BYTES && !self.was_enlarged {
            self.was_enlarged = true;
            enlarge(pipe);
        }
    }
}

/// A host's input.
pub(super) struct HostInput {
    pipe: ChildStdin,
    room: Room,
}

impl HostInput {
    pub(super) fn new(pipe: ChildStdin) -> Self {
        Self {
            pipe,
            room: Room::default(),
        }
    }
}

impl AsyncWrite for HostInput {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.room.passes(&this.pipe, bytes.len());
        Pin::new(&mut this.pipe).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        this.room.passes(&this.pipe, bytes);
        Pin::new(&mut this.pipe).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.pipe.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(pipe: &impl AsFd) -> libc::c_int {
        // SAFETY: F_GETPIPE_SZ takes nothing, and the pipe is borrowed, so open.
        unsafe { libc::fcntl(pipe.as_fd().as_raw_fd(), libc::F_GETPIPE_SZ) }
    }

    #[test]
    fn a_pipe_is_made_larger_by_the_first_large_piece_and_by_no_small_one() {
        let (_output, input) = io::pipe().expect("a pipe");
        let usual = size(&input);
        let mut room = Room::default();
        room.passes(&input, USUAL_PIPE_BYTES - 1);
        assert_eq!(size(&input), usual);
        room.passes(&input, USUAL_PIPE_BYTES);
        assert_eq!(size(&input), PIPE_BYTES);
    }

    #[test]
    fn what_is_no_pipe_stays_as_it_is() {
        use std::io::{Read, Seek, Write};

        let mut file = tempfile::tempfile().expect("a file");
        Room::default().passes(&file, USUAL_PIPE_BYTES);
        file.write_all(b"usable").expect("written");
        file.rewind().expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "usable");
    }
}
