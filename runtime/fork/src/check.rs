// SPDX-License-Identifier: Apache-2.0
//! A check of the confinement on the machine at hand, without a script: processes are confined as cells
//! are, and each tries one thing that it must not.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use code_mode_engine::platform::Jit;

use crate::attempts::{ATTEMPTS, Attempt, Proof, SECRET, Surroundings};
use crate::calls::KernelCall;
use crate::cell;
use crate::confine::Cage;
use crate::control::{Confinement, Setup};
use crate::life;
use crate::wire::{DeathNote, FromCell, HEADER_BYTES};

/// What a process says of its attempt, if it comes to that: it has succeeded, or it has failed.
const SUCCEEDED: u8 = 1;
const FAILED: u8 = 0;

/// Memory that such a process may have, bytes.
const DATA_BYTES: u64 = 1 << 30;

/// What came of a check.
#[derive(Debug)]
pub struct Checked {
    /// What the confinement needs and the kernel lacks.
    pub lacking: Vec<&'static str>,
    /// Each attempt by its name.
    pub attempts: Vec<(&'static str, Outcome)>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has succeeded: the confinement does not hold.
    Succeeded,
    /// It failed.
    Failed,
    /// The process was ended for a call.
    Ended(KernelCall),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("SUCCEEDED"),
            Self::Failed => f.write_str("failed"),
            Self::Ended(call) => write!(f, "ended at its call ({call})"),
        }
    }
}

/// Tries everything that a cell must not do, each in a process that is confined as a cell is.
///
/// To be called in a process with one thread, and without a client.
///
/// # Errors
/// When the confinement cannot be had, or there is no process to try it in.
pub fn check_confinement(confinement: Confinement) -> Result<Checked, String> {
    let setup = Setup {
        host: std::process::id(),
        heap_bytes: 0,
        data_bytes: DATA_BYTES,
        confinement,
        jit: Jit::On,
    };
    let cage = Cage::new(&setup)?;
    let failed = |what: &str, error: io::Error| format!("Failed to {what}: {error}");
    let folder = Folder::make().map_err(|error| failed("make a folder", error))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.map_err(|error| failed("listen", error))?;
    let address = listener.local_addr();
    let mut around = Surroundings {
        host: setup.host.cast_signed(),
        secret: (&raw const SECRET).expose_provenance(),
        neighbour: 0,
        port: address.map_err(|error| failed("listen", error))?.port(),
        folder: folder.0.clone(),
    };
    // A neighbour that waits for the end of its stream.
    let neighbour = Tried::start(&cage, |mut stream| {
        let _ = stream.read(&mut [0]);
    });
    let neighbour = neighbour.map_err(|error| failed("start a process", error))?;
    around.neighbour = neighbour.pid;
    let attempts = ATTEMPTS.iter().map(|attempt| {
        let outcome = try_it(&cage, &around, attempt);
        let outcome = outcome.map_err(|error| failed("try something", error))?;
        Ok((attempt.name, outcome))
    });
    Ok(Checked {
        attempts: attempts.collect::<Result<_, String>>()?,
        lacking: cage.lacking().to_vec(),
    })
}

fn try_it(cage: &Cage, around: &Surroundings, attempt: &Attempt) -> io::Result<Outcome> {
    let mut tried = Tried::start(cage, |mut stream| {
        let word = match (attempt.run)(around) {
            Ok(()) => SUCCEEDED,
            Err(_) => FAILED,
        };
        // Without a word it counts as failed, unless it has left a trace.
        let _ = io::Write::write(&mut stream, &[word]);
    })?;
    let mut said = Vec::new();
    tried.stream.read_to_end(&mut said)?;
    drop(tried);
    if let Proof::Trace(name) = attempt.proof {
        if around.place(name).exists() {
            return Ok(Outcome::Succeeded);
        }
    } else if said == [SUCCEEDED] {
        return Ok(Outcome::Succeeded);
    }
    let note = said.get(HEADER_BYTES..).map(FromCell::decode);
    Ok(match note {
        Some(Ok(FromCell::Note(DeathNote::Forbidden(call)))) => Outcome::Ended(KernelCall(call)),
        _ => Outcome::Failed,
    })
}

/// A process that is confined as a cell is, and ends when this is dropped.
struct Tried {
    pid: i32,
    stream: UnixStream,
}

impl Tried {
    fn start(cage: &Cage, what: impl FnOnce(UnixStream)) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        // SAFETY: the caller's process has one thread, so no lock is held; the child does not return.
        match unsafe { libc::fork() } {
            0 => {
                drop(ours);
                live(cage, theirs, what)
            }
            pid @ 1.. => Ok(Self { pid, stream: ours }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        // SAFETY: the process is a child that was not reaped, so the number is its own; with a null
        // pointer the second call writes nothing.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

fn live(cage: &Cage, stream: UnixStream, what: impl FnOnce(UnixStream)) -> ! {
    let confined = cage
        .shut_out()
        .and_then(|()| cell::keep_only(OwnedFd::from(stream), cage).map_err(|e| e.to_string()))
        .and_then(|_| cage.lock_in());
    if confined.is_ok() {
        what(crate::stream::as_socket());
    }
    life::end(0)
}

/// A folder that vanishes with this.
struct Folder(PathBuf);

impl Folder {
    fn make() -> io::Result<Self> {
        let name = format!("code_mode-check-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0)?;
        fs::write(folder.0.join("read-me"), "secret")?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a folder is left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_in_words() {
        let call = KernelCall(libc::SYS_openat);
        let ended = Outcome::Ended(call).to_string();
        assert_eq!(ended, "ended at its call (openat, number 257)");
        assert_eq!(Outcome::Succeeded.to_string(), "SUCCEEDED");
    }
}
