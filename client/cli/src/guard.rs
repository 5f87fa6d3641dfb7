// SPDX-License-Identifier: Apache-2.0
//! A small process that ends tool commands when this program has gone, however that was.
//!
//! A program that is killed can end nobody. The kernel ends the processes that it has started itself
//! (`PR_SET_PDEATHSIG`), but not those that these have started. So a second process of this program
//! knows the process groups of the commands that run, and kills them once its standard input, a pipe
//! from this program, ends.
//!
//! # Caveats
//! What has moved to a process group of its own lives on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The word that makes this program the guard.
pub const COMMAND: &str = "tool-guard";

/// The name of the guard's process, for people who look at a list of processes.
const PROCESS_NAME: &std::ffi::CStr = c"code_mode_guard";

/// Groups that a guard remembers; commands beyond it are not watched over.
///
/// Far above [`MAX_TOOL_PROCESSES`](crate::file_tools::MAX_TOOL_PROCESSES), which bounds them in fact.
const MAX_GROUPS: usize = 4096;

/// Digits of the largest process id.
const PID_DIGITS: usize = 10;

/// The guard of this program's tool commands; started with the first of them.
pub struct Guard {
    program: Option<PathBuf>,
    process: Mutex<Option<Process>>,
    numbers: AtomicU64,
}

struct Process {
    /// Kept, so that nobody else gets its process id.
    _child: Child,
    pipe: Arc<File>,
}

impl Guard {
    /// A guard that is another process of this same program.
    pub fn of_this_program() -> Arc<Self> {
        // The program's own file, also after it was replaced or removed.
        Self::of(Some("/proc/self/exe".into()))
    }

    /// No guard, for tests, which are not this program.
    #[cfg(test)]
    pub fn absent() -> Arc<Self> {
        Self::of(None)
    }

    fn of(program: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            program,
            process: Mutex::default(),
            numbers: AtomicU64::new(0),
        })
    }

    /// Makes ready to watch over one command, which says itself when it is there.
    ///
    /// # Errors
    /// When there is no guard and none can be started.
    pub fn watch(&self) -> io::Result<Option<Watched>> {
        let Some(program) = &self.program else {
            return Ok(None);
        };
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // An empty line says nothing; it shows whether somebody reads.
        let alive = process
            .as_ref()
            .is_some_and(|process| (&*process.pipe).write_all(b"\n").is_ok());
        if !alive {
            // The first, or somebody has killed the one that there was.
            *process = Some(start(program)?);
        }
        let pipe = process.as_ref().map(|process| process.pipe.clone());
        Ok(pipe.map(|pipe| Watched {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            pipe,
        }))
    }
}

fn start(program: &Path) -> io::Result<Process> {
    let mut child = Command::new(program)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What a terminal or a shell sends to this program's group must not end the guard first.
        .process_group(0)
        .spawn()?;
    let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok(Process {
        _child: child,
        pipe: Arc::new(File::from(OwnedFd::from(pipe))),
    })
}

/// A command that is watched over; drop it as soon as the command was waited for, since the number of
/// its process group may then become another one's.
pub struct Watched {
    number: u64,
    pipe: Arc<File>,
}

impl Watched {
    /// What the command does between fork and exec: it says that it is there. So there is no moment in
    /// which it runs and the guard does not know it, and it is known by a number of this program's, in
    /// case that it never runs.
    ///
    /// It makes two system calls (getpid, write), allocates nothing and takes no lock.
    pub fn announcement(&self) -> impl Fn() -> io::Result<()> + Send + Sync + 'static {
        let pipe = self.pipe.clone();
        let mut text = [b' '; 64];
        let begun = format!("+{} ", self.number).into_bytes();
        let begun_length = begun.len().min(text.len() - PID_DIGITS - 1);
        for (to, from) in text.iter_mut().zip(begun.into_iter().take(begun_length)) {
            *to = from;
        }
        move || {
            let mut text = text;
            // SAFETY: getpid takes nothing and cannot fail.
            let mut id = unsafe { libc::getpid() };
            for to in text[begun_length..begun_length + PID_DIGITS]
                .iter_mut()
                .rev()
            {
                *to = b'0' + (id % 10) as u8;
                id /= 10;
            }
            let length = begun_length + PID_DIGITS + 1;
            text[length - 1] = b'\n';
            // SAFETY: the pointer is valid for reading `length` bytes, which is less than the array has;
            // the descriptor is open for as long as `pipe` lives. One short write to a pipe is whole.
            let written = unsafe { libc::write(pipe.as_raw_fd(), text.as_ptr().cast(), length) };
            match usize::try_from(written) {
                Ok(written) if written == length => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A guard that has gone remembers nothing.
        let _ = (&*self.pipe).write_all(format!("-{}\n", self.number).as_bytes());
    }
}

/// What the guard's process does: reads groups until the end of its input, then kills those left.
pub fn run() {
    // SAFETY: the first call takes a pointer to a text with a NUL at its end, which lives for ever;
    // the others take no pointers but the constant `SIG_IGN`.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, PROCESS_NAME.as_ptr());
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    for group in groups_left(io::stdin().lock()) {
        // SAFETY: `killpg` takes no pointers and touches no memory of this process.
        unsafe { libc::killpg(group, libc::SIGKILL) };
    }
}

/// The groups that were named and not taken back when the input ends.
fn groups_left(input: impl Read) -> Vec<libc::pid_t> {
    let mut groups: BTreeMap<u64, libc::pid_t> = BTreeMap::new();
    for line in BufReader::new(input).lines() {
        // Input that cannot be read has ended.
        let Ok(line) = line else { break };
        if let Some(number) = line.strip_prefix('-') {
            if let Ok(number) = number.parse() {
                groups.remove(&number);
            }
        } else if let Some((number, group)) = line.strip_prefix('+').and_then(|l| l.split_once(' '))
            && let (Ok(number), Ok(group)) = (number.parse(), group.parse())
            // Groups 0 and 1 are this process's own and every process's.
            && group > 1
            && groups.len() < MAX_GROUPS
        {
            groups.insert(number, group);
        }
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn groups_are_remembered_until_they_are_taken_back() {
        let input = "+0 10\n+1 11\n\n-0\n+2 0\n+3 1\n+4 -5\nnonsense\n+5\n+6 0000000012\n-99\n";
        assert_eq!(groups_left(input.as_bytes()), [11, 12]);
    }

    #[test]
    fn no_more_groups_are_remembered_than_there_is_room_for() {
        let input: String = (2..MAX_GROUPS + 100)
            .map(|group| format!("+{group} {group}\n"))
            .collect();
        assert_eq!(groups_left(input.as_bytes()).len(), MAX_GROUPS);
    }

    #[test]
    fn a_command_announces_its_own_process() {
        let (reader, writer) = io::pipe().unwrap();
        let watched = Watched {
            number: u64::MAX,
            pipe: Arc::new(File::from(OwnedFd::from(writer))),
        };
        watched.announcement()().unwrap();
        let mut lines = BufReader::new(reader).lines();
        let expected = format!("+{} {:010}", u64::MAX, std::process::id());
        assert_eq!(lines.next().unwrap().unwrap(), expected);
        drop(watched);
        assert_eq!(lines.next().unwrap().unwrap(), format!("-{}", u64::MAX));
    }
}
