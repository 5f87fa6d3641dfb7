// SPDX-License-Identifier: Apache-2.0
//! Waiting for a host process to end, killing it, and leaving no zombie.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// The right to kill a child, from any thread, for as long as it has not been reaped.
///
/// `Some` until then; it is taken out under the lock *before* the child is reaped here. Somebody else
/// in the process may reap it nevertheless, an embedder that waits for any child for example, and its
/// number may then become a stranger's; so nothing is killed by number that is not known to be ours.
#[derive(Debug, Clone)]
pub(super) struct KillSwitch(Arc<Mutex<Option<Target>>>);

impl KillSwitch {
    pub(super) fn new(child: &Child) -> Self {
        let target = libc::pid_t::try_from(child.id()).ok().map(Target::new);
        Self(Arc::new(Mutex::new(target)))
    }

    /// Kills the child and everything in its process group; does nothing once it is reaped.
    /// Never blocks for longer than a system call.
    pub(super) fn kill(&self) {
        if let Some(target) = &*self.lock() {
            target.kill();
        }
    }

    /// Blocks the calling thread until the child has ended, and leaves it to be reaped.
    fn wait(&self) -> Ended {
        let waited = self.lock().as_ref().map(Target::duplicate);
        match waited {
            Some(Ok(target)) => target.wait(),
            Some(Err(_)) | None => Ended::Unknown,
        }
    }

    fn disarm(&self) {
        if let Some(target) = self.lock().take() {
            // The child is a zombie now and still holds its id, so the group is still its own: what
            // it has left behind ends with it.
            target.kill();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a child's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It has ended and is still to be reaped.
    Zombie,
    /// Somebody else has reaped it.
    Reaped,
    /// It could not be waited for without reaping it.
    Unknown,
}

/// `PIDFD_SIGNAL_PROCESS_GROUP` of Linux 6.9: the signal goes to the group that the process leads.
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// A child, by its number and by a descriptor that never names another process.
#[derive(Debug)]
struct Target {
    pid: libc::pid_t,
    /// `None` where the kernel is older than 5.3, or a filter keeps the call from us.
    descriptor: Option<OwnedFd>,
}

impl Target {
    fn new(pid: libc::pid_t) -> Self {
        // SAFETY: the call takes two integers.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let descriptor = libc::c_int::try_from(opened)
            .ok()
            .filter(|descriptor| *descriptor >= 0);
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let descriptor = descriptor.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
        Self { pid, descriptor }
    }

    fn duplicate(&self) -> io::Result<Self> {
        let descriptor = self.descriptor.as_ref().map(OwnedFd::try_clone);
        Ok(Self {
            pid: self.pid,
            descriptor: descriptor.transpose()?,
        })
    }

    /// Kills the process and its group, if they are certain to be ours.
    fn kill(&self) {
        if let Some(descriptor) = &self.descriptor
            && signal(descriptor, SIGNAL_PROCESS_GROUP).is_ok()
        {
            // It may have left its group to others; one that has ended needs no signal.
            let _ = signal(descriptor, 0);
            return;
        }
        // Nobody but this process can reap its child, so one that is still to be reaped keeps its
        // number.
        if self.look(libc::WNOHANG).is_err() {
            return;
        }
        // SAFETY: both calls take integers. `spawn` made the child the leader of a group of its own,
        // so -pid names that group and nothing else. ESRCH, the only error left, means all is done.
        unsafe {
            libc::kill(-self.pid, libc::SIGKILL);
            libc::kill(self.pid, libc::SIGKILL);
        }
    }

    fn wait(&self) -> Ended {
        loop {
            match self.look(0) {
                Ok(()) => return Ended::Zombie,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ended::Reaped,
                Err(_) => return Ended::Unknown,
            }
        }
    }

    /// Looks at the child without reaping it; `ECHILD` says that it is no child of ours any more.
    fn look(&self, flags: libc::c_int) -> io::Result<()> {
        let (kind, id) = match &self.descriptor {
            Some(descriptor) => (libc::P_PIDFD, descriptor.as_raw_fd()),
            None => (libc::P_PID, self.pid),
        };
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is writable for the call, which needs nothing else of this process.
        let result = unsafe {
            libc::waitid(
                kind,
                libc::id_t::try_from(id).unwrap_or(libc::id_t::MAX),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT | flags,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn signal(descriptor: &OwnedFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes integers and a null pointer, which stands for no further information.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            descriptor.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            flags,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
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

/// Blocks the calling thread until `child` has ended, reaps it and tells `exit`.
pub(super) fn wait(mut child: Child, switch: &KillSwitch, exit: &watch::Sender<Option<Exit>>) {
    let ended = switch.wait();
    switch.disarm();
    if ended == Ended::Reaped {
        // Its number may be another child's by now. The sender's end is the news.
        tracing::warn!("the host process was reaped by another part of this program");
        return;
    }
    match child.wait() {
        Ok(status) => {
            exit.send_replace(Some(Exit(status)));
        }
        // The sender's end is the news then: receivers see the channel closed.
        Err(error) => tracing::error!(%error, "failed to reap the host process"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("1000").stdin(Stdio::null()).process_group(0);
        command.spawn().expect("it starts")
    }

    fn is_alive(child: &mut Child) -> bool {
        child.try_wait().expect("it is ours").is_none()
    }

    fn end(mut child: Child) {
        child.kill().expect("it is ours");
        child.wait().expect("it has ended");
    }

    #[test]
    fn a_process_that_has_got_the_number_of_a_reaped_child_is_left_alone() {
        let mut stranger = sleeper();
        let child = sleeper();
        let mut target = Target::new(libc::pid_t::try_from(child.id()).expect("an id"));
        end(child);
        target.pid = libc::pid_t::try_from(stranger.id()).expect("an id");
        let switch = KillSwitch(Arc::new(Mutex::new(Some(target))));
        switch.kill();
        switch.disarm();
        assert!(is_alive(&mut stranger));
        end(stranger);
    }

    #[test]
    fn a_child_that_somebody_else_has_reaped_is_neither_waited_for_nor_told_of() {
        let child = sleeper();
        let switch = KillSwitch::new(&child);
        switch.kill();
        let pid = libc::pid_t::try_from(child.id()).expect("an id");
        // SAFETY: a null pointer says that the status is not wanted; nothing else is a pointer.
        let reaped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        assert_eq!(reaped, pid);
        assert_eq!(switch.wait(), Ended::Reaped);
        let (sender, exit) = watch::channel(None);
        wait(child, &switch, &sender);
        assert_eq!(*exit.borrow(), None);
    }

    #[test]
    fn a_kernel_without_descriptors_of_processes_kills_by_number_what_is_its_own() {
        let child = sleeper();
        let pid = libc::pid_t::try_from(child.id()).expect("an id");
        let descriptor = None;
        let switch = KillSwitch(Arc::new(Mutex::new(Some(Target { pid, descriptor }))));
        switch.kill();
        assert_eq!(switch.wait(), Ended::Zombie);
        let (sender, exit) = watch::channel(None);
        wait(child, &switch, &sender);
        assert_eq!(
            exit.borrow().map(|exit| exit.to_string()).as_deref(),
            Some("it was killed by signal 9")
        );
    }
}
