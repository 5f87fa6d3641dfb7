//! Waiting for a host process to end, killing it, and leaving no zombie.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use code_mode_api::HostExit;
use tokio::sync::watch;

/// How a host process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) ExitStatus);

impl Exit {
    /// The same in the terms of the interface.
    pub(crate) fn told(self) -> Option<HostExit> {
        let status = self.0.code().map(HostExit::Status);
        status.or_else(|| self.0.signal().map(HostExit::Signal))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "it exited with status {code}"),
            (None, Some(signal)) => write!(f, "it was killed by signal {signal}"),
            (None, None) => write!(f, "it ended: {}", self.0),
        }
    }
}

/// The right to kill a child, from any thread, for as long as its process id is its own.
///
/// `Some` until the child has been reaped. The id is taken out under the lock *before* the child is
/// reaped, so no signal can reach a stranger that was given the same id.
#[derive(Debug, Clone)]
pub(super) struct KillSwitch(Arc<Mutex<Option<libc::pid_t>>>);

impl KillSwitch {
    pub(super) fn new(child: &Child) -> Self {
        Self(Arc::new(Mutex::new(libc::pid_t::try_from(child.id()).ok())))
    }

    /// Kills the child and everything in its process group; does nothing once it is reaped.
    /// Never blocks for longer than a system call.
    pub(super) fn kill(&self) {
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *pid {
            kill_group(pid);
        }
    }

    fn disarm(&self) {
        let mut pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = pid.take() {
            // The child is a zombie now and still holds its id, so the group is still its own: what
            // it has left behind ends with it.
            kill_group(pid);
        }
    }
}

/// Kills the child when dropped, so that a started program always has an owner.
#[derive(Debug)]
pub(super) struct KillOnDrop(pub(super) KillSwitch);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn kill_group(pid: libc::pid_t) {
    // SAFETY: both calls take integers. `spawn` made the child the leader of a group of its own, so
    // -pid names that group and nothing else. ESRCH, the only error left, means all is done.
    unsafe {
        libc::kill(-pid, libc::SIGKILL);
        libc::kill(pid, libc::SIGKILL);
    }
}

/// Blocks the calling thread until `child` has ended, reaps it and tells `exit`.
pub(super) fn wait(mut child: Child, switch: &KillSwitch, exit: &watch::Sender<Option<Exit>>) {
    if let Err(error) = wait_without_reaping(child.id()) {
        tracing::warn!(%error, "failed to wait for the host process; reaping it instead");
    }
    switch.disarm();
    match child.wait() {
        Ok(status) => {
            exit.send_replace(Some(Exit(status)));
        }
        // The sender's end is the news then: receivers see the channel closed.
        Err(error) => tracing::error!(%error, "failed to reap the host process"),
    }
}

fn wait_without_reaping(pid: u32) -> io::Result<()> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is writable for the call, which needs nothing else of this process.
        let result = unsafe {
            libc::waitid(
                libc::P_PID,
                pid,
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
