// SPDX-License-Identifier: Apache-2.0
//! Room in the pipes to a host.

use std::os::fd::{AsFd, AsRawFd};

/// Bytes that each pipe should hold: what an unprivileged process may ask for by default. The
/// kernel's own choice, 64 KiB, costs a change of process for every 64 KiB of a large frame.
pub(super) const PIPE_BYTES: libc::c_int = 1 << 20;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_holds_as_much_as_it_should() {
        let (_output, input) = std::io::pipe().expect("a pipe");
        enlarge(&input);
        // SAFETY: F_GETPIPE_SZ takes nothing, and `input` is open.
        let bytes = unsafe { libc::fcntl(input.as_raw_fd(), libc::F_GETPIPE_SZ) };
        assert_eq!(bytes, PIPE_BYTES);
    }

    #[test]
    fn what_is_no_pipe_stays_as_it_is() {
        use std::io::{Read, Seek, Write};

        let mut file = tempfile::tempfile().expect("a file");
        enlarge(&file);
        file.write_all(b"usable").expect("written");
        file.rewind().expect("a file");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "usable");
    }
}
