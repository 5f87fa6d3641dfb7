// SPDX-License-Identifier: Apache-2.0
//! The signals that end the host in order.

use std::io;

use code_mode_frames::Drain;
use tokio::signal::unix::{SignalKind, signal};

/// Begins a drain on the first SIGTERM or SIGINT of this process, and hurries it on the second. To be
/// called within a Tokio runtime.
///
/// SIGINT comes to a whole group from a terminal: to the client as well, which may want to end its
/// cells in its own way.
///
/// # Errors
/// When the signals cannot be heard.
pub(crate) fn drain_on_signals(drain: &Drain) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let drain = drain.clone();
    tokio::spawn(async move {
        for step in [Drain::begin, Drain::hurry] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "the host drains");
            step(&drain);
        }
    });
    Ok(())
}

/// Has signals begin the drain.
pub(crate) fn hear_signals(drain: Option<&Drain>) -> Result<(), String> {
    drain
        .map_or(Ok(()), drain_on_signals)
        .map_err(|error| format!("Failed to hear signals: {error}"))
}
