//! Ctrl-C and SIGTERM.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::events::Termination;

/// The signals that ask this program to end. Once listened for, they no longer end it by themselves.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
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
        }
    }
}
