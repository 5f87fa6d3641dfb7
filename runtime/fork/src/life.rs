// SPDX-License-Identifier: Apache-2.0
//! The life of a process that belongs to a host: how it is told to go with it, how it is known, ended
//! and reaped.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};
use tokio::io::Interest;

use crate::watch::watched;

/// How often a process that should have ended is looked at before it is waited for.
const LOOKS: usize = 16;

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => match name_of(*signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

fn name_of(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        _ => return None,
    })
}

/// A child of this process, known by a descriptor: no signal can reach another process that has got its
/// number. Dropped before it was reaped, it is ended and reaped.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    descriptor: OwnedFd,
    reaped: AtomicBool,
}

impl Process {
    /// Takes a child by its number and its descriptor.
    pub(crate) fn new(pid: Pid, descriptor: OwnedFd) -> Self {
        Self {
            pid,
            descriptor,
            reaped: AtomicBool::new(false),
        }
    }

    /// The number of the process, for logs.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Ends the process at once, whatever it does. One that has ended stays as it is.
    pub fn kill(&self) {
        match rustix::process::pidfd_send_signal(&self.descriptor, Signal::KILL) {
            Ok(()) => {}
            Err(rustix::io::Errno::SRCH) => {}
            Err(error) => tracing::error!(%error, pid = self.pid(), "a process cannot be killed"),
        }
    }

    /// Has the kernel take the memory of a dying process now and here: one that has no processor to
    /// die on, beside others that compute, would hold it for long.
    pub fn release_memory(&self) {
        // SAFETY: the call takes a descriptor, which is open, and flags, of which there are none.
        let released =
            unsafe { libc::syscall(libc::SYS_process_mrelease, self.descriptor.as_raw_fd(), 0) };
        if released < 0 {
            // A process that shares its memory, or that has none left, needs no help.
            tracing::trace!(error = %io::Error::last_os_error(), "no memory was released early");
        }
    }

    /// Reaps the process, if it has ended: gives how. `None` while it lives.
    ///
    /// # Errors
    /// When it is not there, because somebody else has reaped it.
    pub fn try_reap(&self) -> io::Result<Option<Exit>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = rustix::process::waitid(WaitId::PidFd(self.descriptor.as_fd()), options)?;
        Ok(status.map(|status| self.exit_of(&status)))
    }

    fn exit_of(&self, status: &WaitIdStatus) -> Exit {
        self.reaped.store(true, Ordering::Release);
        match (status.exit_status(), status.terminating_signal()) {
            (Some(status), _) => Exit::Status(status),
            (None, Some(signal)) => Exit::Signal(signal),
            // Stops and continuations were not asked for.
            (None, None) => Exit::Status(-1),
        }
    }

    /// Waits for the end of the process, blocking the thread, and reaps it. For processes that end soon.
    fn reap_now(&self) -> io::Result<Option<Exit>> {
        let id = WaitId::PidFd(self.descriptor.as_fd());
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(id.clone(), WaitIdOptions::EXITED)
        })?;
        Ok(status.map(|status| self.exit_of(&status)))
    }

    /// Ends the process and reaps it here and now, which takes a moment. One that was reaped is left alone.
    pub fn end(&self) {
        if self.reaped.load(Ordering::Acquire) {
            return;
        }
        self.kill();
        self.release_memory();
        if let Err(error) = self.reap_now() {
            tracing::warn!(%error, pid = self.pid(), "a process was not reaped");
        }
    }

    /// Resolves when the process has ended and was reaped.
    ///
    /// # Errors
    /// When somebody else has reaped it, or the kernel refuses to watch it.
    pub async fn reap(&self) -> io::Result<Exit> {
        // The end of its stream is seen a moment before the process is.
        for _ in 0..LOOKS {
            if let Some(exit) = self.try_reap()? {
                return Ok(exit);
            }
            tokio::task::yield_now().await;
        }
        let watched = watched(self.descriptor.try_clone()?, Interest::READABLE)?;
        loop {
            let mut ready = watched.readable().await?;
            if let Some(exit) = self.try_reap()? {
                return Ok(exit);
            }
            ready.clear_ready();
        }
    }

    /// The processor time that the process has used; zero when it has ended.
    pub fn cpu_time(&self) -> Duration {
        // What `clock_getcpuclockid` would give after it has asked the kernel whether the process is there:
        // the complement of its number, and 2 for the time of all its threads. The child is not reaped, so
        // the number is its own.
        let clock: libc::clockid_t = (!self.pid() << 3) | 2;
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is a valid place to write; an unknown clock gives an error and writes nothing.
        if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
            return Duration::ZERO;
        }
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(seconds, nanoseconds)
    }

    /// Lets others of this user go first. For a script that has computed for long. One whose host does so
    /// already, and more, is left as it is.
    pub fn make_nice(&self) {
        const NICENESS: libc::c_int = 10;
        /// What the kernel says of a process is this less its niceness, which makes it positive.
        const KERNELS_ZERO: libc::c_long = 20;
        let id = self.pid.as_raw_nonzero().get().cast_unsigned();
        // SAFETY: the call takes integers only. The child is not reaped, so its number is its own.
        let said = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, id) };
        if said > 0 && KERNELS_ZERO - said >= libc::c_long::from(NICENESS) {
            return;
        }
        // SAFETY: as above.
        if unsafe { libc::setpriority(libc::PRIO_PROCESS, id, NICENESS) } != 0 {
            tracing::debug!(error = %io::Error::last_os_error(), "a process keeps its priority");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// How often, and how many times, strays are looked for.
const STRAY_LOOK: Duration = Duration::from_millis(100);
const STRAY_LOOKS: usize = 50;

/// How many looks in a row must find the same dead process before it counts as a stray.
const LOOKS_OF_A_STRAY: usize = 10;

/// Reaps the children that a zygote has borne and was killed before it could tell of: nobody knows them,
/// and they end by themselves, since nobody has the other end of their stream.
///
/// All children of a zygote are in its group. One that somebody knows is reaped as soon as it has ended,
/// so one that stays dead is a stray.
pub(crate) async fn reap_strays(zygote: i32) {
    let mut same = (0, 0);
    for _ in 0..STRAY_LOOKS {
        tokio::time::sleep(STRAY_LOOK).await;
        let Some(pid) = dead_in_group(zygote) else {
            same = (0, 0);
            continue;
        };
        same = if same.0 == pid {
            (pid, same.1 + 1)
        } else {
            (pid, 1)
        };
        if same.1 >= LOOKS_OF_A_STRAY {
            tracing::debug!(pid, "a process that its zygote could not tell of is reaped");
            // SAFETY: the call takes numbers and a null pointer, for which it writes nothing.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }
}

/// A child in this group that has ended and was not reaped.
fn dead_in_group(group: i32) -> Option<i32> {
    // SAFETY: an all-zero siginfo_t is a valid one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let group = group.cast_unsigned();
    // SAFETY: `info` is a valid place to write.
    let found = unsafe { libc::waitid(libc::P_PGID, group, &raw mut info, options) };
    // SAFETY: the kernel has written the fields of a child's end, or left them zero.
    let pid = unsafe { info.si_pid() };
    (found == 0 && pid != 0).then_some(pid)
}

/// Makes this process the first of a group of its own.
pub(crate) fn lead_a_group() {
    // SAFETY: the call takes two numbers; it cannot fail for a process that was just executed.
    unsafe { libc::setpgid(0, 0) };
}

/// How a process came out of a fork.
pub(crate) enum Forked {
    /// This is the new process.
    Child,
    /// This is the one that forked.
    Parent {
        /// The child's number.
        pid: Pid,
        /// The child's descriptor.
        descriptor: OwnedFd,
    },
}

/// Forks this process; the child is a child of this process's parent.
///
/// # Safety
/// The process must have one thread. The child runs with a copy of this stack and must not return
/// from the function that called this.
pub(crate) unsafe fn fork_sibling() -> io::Result<Forked> {
    let mut descriptor: libc::c_int = -1;
    let flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD;
    // The older call, since valgrind does not know clone3. The C library's fork cannot make siblings.
    // SAFETY: without CLONE_VM the child has memory of its own, and with no stack given it goes on on
    // a copy of this one. The C library learns nothing of it; with one thread its locks are free, and
    // nothing here or later asks it for the thread's number. `descriptor` is a valid place to write.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            0_usize,
            &raw mut descriptor,
            0_usize,
            0_usize,
        )
    };
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match pid {
        Some(pid) if descriptor >= 0 => {
            // SAFETY: the kernel has just opened the descriptor for this process, and nobody else
            // has it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            Ok(Forked::Parent { pid, descriptor })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel end this process when the thread that made its host's first process ends, and ends
/// it now if the host is gone already. To be called in each new process: a fork clears it.
pub(crate) fn go_with_the_host(host: u32) {
    // SAFETY: the call takes a number and a signal's number.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if set != 0 || std::os::unix::process::parent_id() != host {
        end(0);
    }
}

/// Ends this process without any destructor: what it has is the kernel's to take back.
pub(crate) fn end(status: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(status) }
}

/// Has this process ignore what a terminal sends to all processes of its group, and a hang-up: the
/// host decides when its processes end.
pub(crate) fn leave_signals_to_the_host() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: SIG_IGN is a disposition for each of these, and no handler is involved.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Sets this process's name, as `ps` and debuggers show it.
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: PR_SET_NAME reads a NUL-terminated string, and cuts it to 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Has the kernel, when memory is short, end this process before its host: the higher, the sooner.
pub(crate) fn be_killed_sooner(score: &str) {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", score) {
        tracing::debug!(%error, "the kernel's order of killing stays as it is");
    }
}
