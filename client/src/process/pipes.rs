//! Room in the pipes to a host.

use std::os::fd::{AsFd, AsRawFd};

/// Bytes that each pipe should hold: what an unprivileged process may ask for by default. The
/// kernel's own choice, 64 KiB, costs a change of process for every 64 KiB of a large frame.
const PIPE_BYTES: libc::c_int = 1 << 20;

/// Makes a pipe larger if the kernel lets this user; a smaller one works as well, only slower.
pub(super) fn enlarge(pipe: &impl AsFd) {
    let descriptor = pipe.as_fd().as_raw_fd();
    // SAFETY: F_SETPIPE_SZ takes an integer, and the descriptor is open for the length of the call
    // because `pipe` is borrowed.
    let result = unsafe { libc::fcntl(descriptor, libc::F_SETPIPE_SZ, PIPE_BYTES) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the kernel has refused a larger pipe");
    }
}
