// SPDX-License-Identifier: Apache-2.0
//! Room in the pipes of the connection.
//!
//! A user has 64 MiB for all pipes (`pipe(7)`), after which the kernel gives each new one a page. So a pipe is
//! made larger by the first large frame only: hosts that pass small ones, as most do, cost what pipes usually
//! cost.
//!
//! A client does the same for the ends of its hosts (`client/src/process/pipes.rs`, which says why twice).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that a pipe holds which nobody has made larger.
const USUAL_PIPE_BYTES: usize = 64 << 10;

/// Bytes that a pipe should hold through which large frames go: what an unprivileged process may ask for by
/// default. The kernel's own choice costs a change of process for every 64 KiB of them.
pub(crate) const PIPE_BYTES: libc::c_int = 1 << 20;

/// A pipe that is made larger when it passes a large piece.
pub(crate) struct Growing<P> {
    pipe: P,
    was_enlarged: bool,
}

impl<P: AsFd> Growing<P> {
    pub(crate) fn new(pipe: P) -> Self {
        Self {
            pipe,
            was_enlarged: false,
        }
    }

    /// Takes note of bytes that are to go through the pipe in one piece, or have come through it.
    fn passes(&mut self, bytes: usize) {
        if bytes >= USUAL_PIPE_BYTES && !self.was_enlarged {
            self.was_enlarged = true;
            enlarge(self.pipe.as_fd());
        }
    }
}

impl<P: AsyncRead + AsFd + Unpin> AsyncRead for Growing<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.pipe).poll_read(context, buffer);
        this.passes(buffer.filled().len() - before);
        read
    }
}

impl<P: AsyncWrite + AsFd + Unpin> AsyncWrite for Growing<P> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.passes(bytes.len());
        Pin::new(&mut this.pipe).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.passes(pieces.iter().map(|piece| piece.len()).sum());
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

/// Makes a pipe larger if it is smaller than [`PIPE_BYTES`]. Without leave from the kernel it stays
/// as it is, and works as well, only slower.
#[expect(
    unsafe_code,
    reason = "the standard library cannot change the size of a pipe"
)]
fn enlarge(pipe: BorrowedFd<'_>) {
    let descriptor = pipe.as_raw_fd();
    // SAFETY: `pipe` is open for as long as it is borrowed; F_GETPIPE_SZ takes no argument and
    // F_SETPIPE_SZ an integer, and neither touches memory of this process.
    let enlarged = unsafe {
        libc::fcntl(descriptor, libc::F_GETPIPE_SZ) >= PIPE_BYTES
            || libc::fcntl(descriptor, libc::F_SETPIPE_SZ, PIPE_BYTES) != -1
    };
    if !enlarged {
        let error = io::Error::last_os_error();
        tracing::debug!(%error, "the kernel has refused a larger pipe");
    }
}
