// SPDX-License-Identifier: Apache-2.0
//! How the program ends: its exit statuses, and that it ends in time.

use std::sync::Arc;

use tracing::Level;

use crate::{EXIT_DEADLINE, FailureHook, ServeError, logging};

/// Exit status after a clean end of input.
pub(crate) const EXIT_SUCCESS: u8 = 0;
/// Exit status after a failure of the connection that is nobody's fault here: its streams have failed.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// Exit status when the program cannot do what it was asked.
pub(crate) const EXIT_USAGE: u8 = 2;
/// Exit status after a violation of the protocol by the client.
pub(crate) const EXIT_VIOLATION: u8 = 3;
/// Exit status when the client has read nothing for too long.
pub(crate) const EXIT_STALLED: u8 = 4;
/// Exit status when more was to be held for a client that reads too slowly than there may be.
pub(crate) const EXIT_OVERFLOW: u8 = 5;
/// Exit status after a failure of the host itself.
pub(crate) const EXIT_INTERNAL: u8 = 6;

/// Says the reason of the first failure, and ends the process in time whatever hangs.
pub(crate) fn exit_in_time() -> FailureHook {
    Arc::new(|error: &ServeError| {
        let status = exit_status(error);
        // First of all: whatever follows may hang.
        let watch = std::thread::Builder::new()
            .name("exit-deadline".to_owned())
            .spawn(move || {
                std::thread::sleep(EXIT_DEADLINE.saturating_sub(logging::LOG_FLUSH));
                exit_now(status);
            });
        if tracing::enabled!(Level::ERROR) {
            tracing::error!(%error, "the connection failed");
        } else {
            complain(&error.to_string());
        }
        if let Err(error) = watch {
            // Without the thread nothing else would end a process that hangs.
            complain(&format!(
                "Failed to start the thread that ends the process: {error}"
            ));
            exit_now(status);
        }
    })
}

/// How the process ends after this failure.
pub(crate) fn exit_status(error: &ServeError) -> u8 {
    match error {
        error if error.is_violation() => EXIT_VIOLATION,
        ServeError::Read(_) | ServeError::Write(_) => EXIT_FAILURE,
        ServeError::Stalled { .. } => EXIT_STALLED,
        ServeError::OutgoingOverflow { .. } => EXIT_OVERFLOW,
        _ => EXIT_INTERNAL,
    }
}

/// Ends the process without the destructors of V8, whose threads may still be at work: setting V8
/// up when the connection is over that soon, or in a cell that could not be stopped.
#[expect(unsafe_code, reason = "the standard library's exit runs destructors")]
pub(crate) fn exit_now(status: u8) -> ! {
    logging::flush();
    // SAFETY: `_exit` has no precondition; it ends the process at once. Nothing is left that could be
    // written: frames are by then, and so is the log, unless nobody reads it.
    unsafe { libc::_exit(libc::c_int::from(status)) }
}

/// Says why the program does not do what it was asked.
pub(crate) fn complain(message: &str) {
    logging::line(&format!("code_mode_host: {message}"));
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_kind_of_failure_has_a_status_of_its_own() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        for (error, status) in [
            (ServeError::Write(gone()), EXIT_FAILURE),
            (
                ServeError::Violation("a second hello".to_owned()),
                EXIT_VIOLATION,
            ),
            (
                ServeError::Stalled {
                    deadline: Duration::ZERO,
                },
                EXIT_STALLED,
            ),
            (
                ServeError::OutgoingOverflow {
                    frames: 1,
                    bytes: 1,
                },
                EXIT_OVERFLOW,
            ),
            (ServeError::Runtime(gone().into()), EXIT_INTERNAL),
            (
                ServeError::CellsRunOn {
                    deadline: Duration::ZERO,
                },
                EXIT_INTERNAL,
            ),
        ] {
            assert_eq!(exit_status(&error), status, "{error}");
        }
    }
}
