// SPDX-License-Identifier: Apache-2.0
//! Keeps the terminal usable when the program ends in the middle of a prompt.

use std::io;
use std::os::fd::AsRawFd;

/// The settings of the terminal on standard input; dropping this restores them.
pub struct SavedTerminal(libc::termios);

impl SavedTerminal {
    /// Saves the present settings; `None` when standard input is no terminal.
    pub fn of_stdin() -> Option<Self> {
        let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the pointer is valid for writing one `termios`, which is all that the call does.
        let result = unsafe { libc::tcgetattr(io::stdin().as_raw_fd(), settings.as_mut_ptr()) };
        // SAFETY: a result of 0 says that the call has filled the whole structure.
        (result == 0).then(|| Self(unsafe { settings.assume_init() }))
    }
}

impl Drop for SavedTerminal {
    fn drop(&mut self) {
        // SAFETY: the pointer is valid for reading one `termios`, which is all that the call does.
        // A failure means that the terminal has gone; then nothing is left to restore.
        unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSADRAIN, &raw const self.0) };
    }
}
