// SPDX-License-Identifier: Apache-2.0
//! Writing to the client from the very thread that has a frame.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;

/// An output that takes what it can at once and never waits: a pipe or a socket in non-blocking
/// mode.
///
/// It is a second descriptor of the output that the writer task has. The two share the mode and the
/// stream, so only one of them may write at one time; the queue of
/// outgoing frames sees to that.
#[derive(Debug)]
pub struct DirectOutput(File);

impl DirectOutput {
    /// Writes to this descriptor, which must be in non-blocking mode: a write that waits would keep
    /// a script, or the reader, from going on.
    pub fn new(descriptor: OwnedFd) -> Self {
        Self(File::from(descriptor))
    }

    /// Writes as much of these bytes as the output takes at once; 0 bytes if it is full.
    ///
    /// # Errors
    /// When the output fails, for instance because the client has closed its side.
    pub fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            return match (&self.0).write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                written => written,
            };
        }
    }
}
