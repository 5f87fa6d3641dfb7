// SPDX-License-Identifier: Apache-2.0
//! The starter: a process that does nothing but start zygotes, from the very program file that the host
//! was started from.
//!
//! A host that is confined may execute nothing, and a program file may be replaced while the host
//! runs; so the host has this process made before anything else, with a descriptor of the file.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags};

use crate::channel;
use crate::control::{self, Report};
use crate::life::{self, Forked, Process};

/// The names under which the program runs as something else than itself, its first argument.
pub(crate) const STARTER_NAME: &str = "code_mode-starter";
pub(crate) const ZYGOTE_NAME: &CStr = c"code_mode-zygote";

/// The descriptor of the control channel in a starter and in a zygote.
pub(crate) const CONTROL: i32 = 3;
/// The descriptor of the program file in a starter.
const PROGRAM: i32 = 4;

/// What scripts see of the environment: how times and numbers are written.
const INHERITED: [&str; 4] = [TIME_ZONE, "LANG", LOCALE, "LC_TIME"];

/// What a build inherits beside that which looks at what it does itself: by these its sanitizers are told what to do when
/// they find something, and its counters of lines where they lie.
const INHERITED_IN_THIS_BUILD: &[&str] = if cfg!(any(address_sanitizer, undefined_sanitizer)) {
    &["ASAN_OPTIONS", "UBSAN_OPTIONS"]
} else if cfg!(coverage) {
    &["LLVM_PROFILE_FILE"]
} else {
    &[]
};

/// The variables by which ICU knows the time zone and the locale.
const TIME_ZONE: &str = "TZ";
const LOCALE: &str = "LC_ALL";

/// The same as they were asked for, for the zygote, which looks whether they are in force.
pub(crate) const WANTED_TIME_ZONE: &str = "CODE_MODE_TIME_ZONE";
pub(crate) const WANTED_LOCALE: &str = "CODE_MODE_LOCALE";

/// Where scripts believe to be. What is not said is inherited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Region {
    /// The name of a time zone, as `Europe/Berlin`.
    pub time_zone: Option<String>,
    /// A locale in the way of BCP 47, as `de-DE`.
    pub locale: Option<String>,
}

/// The program whose zygotes run the cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// The program of this process, which must call [`entry`](crate::entry) first of all.
    ThisOne,
    /// A program that calls [`entry`](crate::entry) first of all.
    At(PathBuf),
}

/// The host's end of a starter.
///
/// The kernel ends all zygotes and cells when the *thread* that called [`Starter::start`] ends: that
/// has to be one that lives as long as the cells are to be had, in a host its main thread.
#[derive(Debug)]
pub struct Starter {
    /// `None` once it is being dropped.
    control: Option<OwnedFd>,
    /// Known by a descriptor, so that a host that is confined can signal it.
    process: Option<Process>,
}

impl Starter {
    /// Starts a starter from this program's file.
    ///
    /// # Errors
    /// When the file cannot be opened or no process can be had.
    pub fn start(program: &Program) -> io::Result<Self> {
        Self::start_in(program, &Region::default())
    }

    /// As [`start`](Self::start); the cells' scripts see this region. One that ICU does not know is found
    /// out by the zygotes, which fail to start then.
    ///
    /// # Errors
    /// As above.
    pub fn start_in(program: &Program, region: &Region) -> io::Result<Self> {
        let file = match program {
            Program::ThisOne => File::open("/proc/self/exe"),
            Program::At(path) => File::open(path),
        }?;
        let (ours, theirs) = channel::pair()?;
        // Where `place_descriptors` puts it, in the child.
        let mut command = Command::new(format!("/proc/self/fd/{PROGRAM}"));
        command
            .arg0(STARTER_NAME)
            .arg(std::process::id().to_string())
            .env_clear()
            .envs(
                INHERITED
                    .iter()
                    .chain(INHERITED_IN_THIS_BUILD)
                    .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(time_zone) = &region.time_zone {
            command.env(TIME_ZONE, time_zone);
            command.env(WANTED_TIME_ZONE, time_zone);
        }
        if let Some(locale) = &region.locale {
            // The C library's way to write it.
            command.env(LOCALE, locale.replace('-', "_"));
            command.env(WANTED_LOCALE, locale);
        }
        let (control, program) = (theirs.as_raw_fd(), file.as_raw_fd());
        // SAFETY: the closure runs after the fork and before the exec, and only makes calls into the
        // kernel, with descriptors that the parent keeps open until the child has been started.
        unsafe {
            command.pre_exec(move || place_descriptors(control, program));
        }
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self {
            control: Some(ours),
            process: Some(Process::new(pid, descriptor)),
        })
    }

    /// Asks for a zygote that talks over this end of a channel. What becomes of it is told there.
    pub(crate) fn order(&self, zygote_end: BorrowedFd<'_>) -> io::Result<()> {
        let control = self.control.as_ref();
        let control = control.ok_or_else(|| io::Error::other("the starter is being stopped"))?;
        channel::send(control.as_fd(), control::START, &[zygote_end])
    }
}

impl Drop for Starter {
    fn drop(&mut self) {
        // The starter ends when its channel does, or if it cannot, by force.
        drop(self.control.take());
        drop(self.process.take());
    }
}

/// Puts two descriptors where a starter expects them, to be kept when it is executed.
fn place_descriptors(control: i32, program: i32) -> io::Result<()> {
    let check = |result: i32| {
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result)
        }
    };
    // SAFETY: these calls take descriptors and flags only. Both are first moved out of the way, so
    // that neither is overwritten by the other.
    unsafe {
        let control = check(libc::fcntl(control, libc::F_DUPFD, PROGRAM + 1))?;
        let program = check(libc::fcntl(program, libc::F_DUPFD, PROGRAM + 1))?;
        check(libc::dup2(control, CONTROL))?;
        check(libc::dup2(program, PROGRAM))?;
        check(libc::close(control))?;
        check(libc::close(program))?;
    }
    Ok(())
}

/// The starter's own program: takes orders until the host closes the channel.
pub(crate) fn main() -> ! {
    let host = std::env::args().nth(1).and_then(|host| host.parse().ok());
    let Some(host) = host else { life::end(2) };
    life::go_with_the_host(host);
    life::leave_signals_to_the_host();
    life::set_name(c"cm-starter");
    // SAFETY: the host has put these two descriptors here, and nothing else in this process uses them.
    let (control, program) =
        unsafe { (OwnedFd::from_raw_fd(CONTROL), OwnedFd::from_raw_fd(PROGRAM)) };
    allow_stack();
    loop {
        match channel::receive(control.as_fd()) {
            Ok(Some(message)) if message.bytes == control::START => {
                if let Some(zygote_end) = message.descriptors.first() {
                    start_zygote(zygote_end, &program, host);
                }
            }
            // The host has closed its end, or something is wrong that nobody can mend.
            _ => life::end(0),
        }
    }
}

/// Starts a zygote and tells its host.
fn start_zygote(zygote_end: &OwnedFd, program: &OwnedFd, host: u32) {
    // SAFETY: this process has one thread, and `become_zygote` does not return.
    let forked = unsafe { life::fork_sibling() };
    let (report, descriptor) = match forked {
        Ok(Forked::Child) => {
            let Err(error) = become_zygote(zygote_end, program, host);
            let failed = Report::Failed(format!("Failed to execute the zygote: {error}"));
            // A host that is gone needs no report.
            let _ = channel::send(zygote_end.as_fd(), &failed.encode(), &[]);
            life::end(1);
        }
        Ok(Forked::Parent { pid, descriptor }) => (Report::Started(pid), Some(descriptor)),
        Err(error) => (
            Report::Failed(format!("Failed to fork a zygote: {error}")),
            None,
        ),
    };
    let descriptor = descriptor.as_ref().map(AsFd::as_fd);
    // As above.
    let _ = channel::send(zygote_end.as_fd(), &report.encode(), descriptor.as_slice());
}

/// Executes the program as a zygote; returns only when that fails.
fn become_zygote(zygote_end: &OwnedFd, program: &OwnedFd, host: u32) -> io::Result<Infallible> {
    let host = CString::new(host.to_string())?;
    let arguments = [ZYGOTE_NAME.as_ptr(), host.as_ptr(), std::ptr::null()];
    // SAFETY: the descriptors are open, the second of them stays open until the exec. The strings end
    // in NUL and the lists in a null pointer, and all live until the call, as does the environment,
    // which nobody changes in a process with one thread.
    unsafe {
        if libc::dup2(zygote_end.as_raw_fd(), CONTROL) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        );
    }
    Err(io::Error::last_os_error())
}

unsafe extern "C" {
    /// The environment of this process.
    static environ: *const *const libc::c_char;
}

/// Allows the first thread of every zygote, and so of every cell, the stack that an isolate needs.
fn allow_stack() {
    const STACK: u64 = code_mode_engine::limits::THREAD_STACK_BYTES as u64;
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Stack);
    if limit.current.is_some_and(|current| current < STACK) {
        limit.current = Some(limit.maximum.map_or(STACK, |maximum| maximum.min(STACK)));
        // A lower hard limit is found out by the zygote, which refuses to start then.
        let _ = rustix::process::setrlimit(rustix::process::Resource::Stack, limit);
    }
}
