// SPDX-License-Identifier: Apache-2.0
//! Descriptors that a Tokio runtime watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the current runtime watch a descriptor.
///
/// # Errors
/// When the runtime has no reactor, or the kernel refuses to watch one more.
pub(crate) fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open for as long as it lives, always has the same number, and
    // lives within what is returned.
    unsafe { AsyncFd::register_with_interest(descriptor, interest) }.map_err(io::Error::from)
}
