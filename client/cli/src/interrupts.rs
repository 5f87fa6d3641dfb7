// SPDX-License-Identifier: Apache-2.0
//! Ctrl-C, SIGTERM and SIGHUP.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::reporter::Termination;

/// The signals that ask this program to end. Once listened for, they no longer end it by themselves.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started this program wants it to outlive its terminal, as `nohup` does.
    hang_up: Option<Signal>,
}

impl Interrupts {
    /// Starts listening.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: match is_ignored(libc::SIGHUP) {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
        })
    }

    /// Resolves at the next signal with what it means for a running cell.
    ///
    /// Dropping the future loses no signal.
    pub async fn next(&mut self) -> Termination {
        // `recv` gives `None` only when the signal driver has gone, which ends the program as well.
        tokio::select! {
            _ = self.interrupt.recv() => Termination::Interrupt,
            _ = self.terminate.recv() => Termination::Sigterm,
            () = next(&mut self.hang_up) => Termination::Sighup,
        }
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the null pointer asks for no change; the other is valid for writing one `sigaction`,
    // which is all that the call does.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: a result of 0 says that the call has filled the whole structure.
    result == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
