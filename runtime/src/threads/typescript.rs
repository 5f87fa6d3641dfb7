// SPDX-License-Identifier: Apache-2.0
//! Reading a source as TypeScript, for cells that are threads: in a process that is made for it.
//!
//! The parser may overflow its stack or take for ever, and nothing can stop it within this process. The
//! child only computes: it makes no use of V8, of locks that other threads might have held, or of any
//! descriptor but its end of a pipe.
//!
//! # Caveats
//! The child is a fork of this process, and so an embedder may see one more child for a moment, and its
//! `SIGCHLD`. Sources that are JavaScript need none.

use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use code_mode_engine::typescript::{MoreThanType, TypeScriptError, without_types};

/// How long a source may take to be read. Most take less than a millisecond.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Memory that the child may take beside what it has from its parent, bytes.
const MEMORY_BYTES: u64 = 256 << 20;

/// How long the child is waited for before the cell is looked at again.
const TICK: Duration = Duration::from_millis(10);

/// What the child may say beside the source, bytes: a message of the parser.
const MESSAGE_BYTES: usize = 64 << 10;

/// A source without its types. `is_stopped` says when nobody needs it any more.
///
/// # Errors
/// Those of [`without_types`], and [`TypeScriptError::Unreadable`] for a source that is too much for the
/// child or for [`DEADLINE`].
pub(crate) fn read(source: &str, is_stopped: impl Fn() -> bool) -> Result<String, TypeScriptError> {
    let failed = |what: &str, error: std::io::Error| unreadable(format!("{what}: {error}"));
    let (ours, theirs) = pipe().map_err(|error| failed("Failed to make a pipe", error))?;
    let data_bytes = data_bytes().map(|bytes| bytes.saturating_add(MEMORY_BYTES));
    // SAFETY: the C library keeps its allocator usable in the child of a process with many threads, and
    // `be_the_child` uses nothing else that another thread could have left locked. It does not return.
    match unsafe { libc::fork() } {
        -1 => Err(failed(
            "Failed to make a process",
            std::io::Error::last_os_error(),
        )),
        0 => be_the_child(source, &theirs, data_bytes),
        pid => {
            drop(theirs);
            let child = Child(pid);
            let maximum = source.len() + MESSAGE_BYTES;
            let answer = listen(ours, maximum, is_stopped);
            let how = child.end();
            answer.and_then(|bytes| understand(&bytes, how))
        }
    }
}

fn unreadable(reason: impl Into<String>) -> TypeScriptError {
    TypeScriptError::Unreadable {
        reason: reason.into(),
    }
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    use std::os::fd::FromRawFd;
    let mut ends = [0; 2];
    // SAFETY: the call fills both elements of the array that it is given.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: both descriptors are new and nobody else has them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// What this process has of memory that is its own, if the kernel says.
fn data_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(5)?.trim().parse().ok()?;
    Some(pages.saturating_mul(PAGE_BYTES))
}

/// The child's whole life.
fn be_the_child(source: &str, to: &OwnedFd, data_bytes: Option<u64>) -> ! {
    // SAFETY: the calls take numbers and pointers to valid values. All descriptors but the pipe's, which
    // becomes 0, are closed by number: the child does not use them, and it never returns to who does.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT] {
            libc::signal(signal, libc::SIG_DFL);
        }
        let bound = |resource, bytes| {
            let limit = libc::rlimit {
                rlim_cur: bytes,
                rlim_max: bytes,
            };
            libc::setrlimit(resource, &raw const limit);
        };
        bound(libc::RLIMIT_CORE, 0);
        bound(libc::RLIMIT_CPU, DEADLINE.as_secs() + 1);
        if let Some(bytes) = data_bytes {
            bound(libc::RLIMIT_DATA, bytes);
        }
        if libc::dup2(to.as_raw_fd(), 0) != 0 || libc::close_range(1, libc::c_uint::MAX, 0) != 0 {
            libc::_exit(1);
        }
    }
    let read = catch_unwind(AssertUnwindSafe(|| without_types(source)));
    let mut bytes = say(&read.unwrap_or_else(|_| Err(unreadable("the parser panicked"))));
    let mut rest = &mut bytes[..];
    while !rest.is_empty() {
        // SAFETY: the descriptor is the pipe, and `rest` is readable for the length that is passed.
        let written = unsafe { libc::write(0, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(written) => rest = rest.get_mut(written..).unwrap_or_default(),
            Err(_) => break,
        }
    }
    // SAFETY: the call has no precondition; nothing of the parent's may be run here at the end.
    unsafe { libc::_exit(0) }
}

/// A child that is ended and reaped at the latest when this is dropped.
struct Child(libc::pid_t);

/// How a child has ended: the signal, if it was one and it is known.
type Signal = Option<libc::c_int>;

impl Child {
    fn end(self) -> Signal {
        let mut status = 0;
        // SAFETY: the process is a child of this one that nobody has reaped unless the embedder reaps all
        // children; its number is not used again before that.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            while libc::waitpid(self.0, &raw mut status, 0) == -1 {
                if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
                    return None;
                }
            }
        }
        libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
    }
}

/// All that the child says.
fn listen(
    from: OwnedFd,
    maximum: usize,
    is_stopped: impl Fn() -> bool,
) -> Result<Vec<u8>, TypeScriptError> {
    let until = Instant::now() + DEADLINE;
    let mut from = std::fs::File::from(from);
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        if is_stopped() {
            return Err(unreadable("the cell was stopped"));
        }
        if Instant::now() >= until {
            let seconds = DEADLINE.as_secs();
            return Err(unreadable(format!("it takes longer than {seconds} s")));
        }
        let mut poll = libc::pollfd {
            fd: from.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one valid entry.
        let ready = unsafe { libc::poll(&raw mut poll, 1, TICK.as_millis() as libc::c_int) };
        if ready <= 0 {
            continue;
        }
        match from.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(format!("Failed to read from a pipe: {error}"))),
        }
        if bytes.len() > maximum {
            return Err(unreadable("the parser says too much"));
        }
    }
}

/// The first byte of what a child says.
mod kind {
    pub(super) const JAVASCRIPT: u8 = b'j';
    pub(super) const MORE_THAN_TYPES: u8 = b'm';
    pub(super) const SYNTAX: u8 = b's';
    pub(super) const UNREADABLE: u8 = b'u';
}

fn say(read: &Result<String, TypeScriptError>) -> Vec<u8> {
    let message = |kind: u8, numbers: &[usize], text: &str| {
        let mut bytes = vec![kind];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    match read {
        Ok(text) => message(kind::JAVASCRIPT, &[], text),
        Err(TypeScriptError::MoreThanTypes { what, offset }) => {
            let index = MoreThanType::ALL.iter().position(|one| one == what);
            let index = index.unwrap_or(usize::MAX);
            message(kind::MORE_THAN_TYPES, &[index, *offset], "")
        }
        Err(TypeScriptError::Syntax {
            message: text,
            offset,
        }) => {
            let end = text.floor_char_boundary(MESSAGE_BYTES / 2);
            message(
                kind::SYNTAX,
                &[*offset],
                text.get(..end).unwrap_or_default(),
            )
        }
        Err(TypeScriptError::Unreadable { reason }) => message(kind::UNREADABLE, &[], reason),
    }
}

/// What a child has said, or why it has said nothing.
fn understand(bytes: &[u8], how: Signal) -> Result<String, TypeScriptError> {
    let silent = || {
        unreadable(match how {
            Some(libc::SIGSEGV | libc::SIGBUS) => "it is nested too deeply".to_owned(),
            Some(libc::SIGABRT) => "it takes more memory than there is for that".to_owned(),
            Some(signal) => format!("the process that read it was ended by signal {signal}"),
            None => "the process that read it said nothing".to_owned(),
        })
    };
    let (kind, rest) = bytes.split_first().ok_or_else(silent)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| silent());
    let number = |bytes: &mut &[u8]| -> Result<usize, TypeScriptError> {
        let (number, rest) = bytes.split_first_chunk().ok_or_else(silent)?;
        *bytes = rest;
        Ok(usize::from_le_bytes(*number))
    };
    let mut rest = rest;
    Err(match *kind {
        kind::JAVASCRIPT => return text(rest),
        kind::MORE_THAN_TYPES => TypeScriptError::MoreThanTypes {
            what: *MoreThanType::ALL
                .get(number(&mut rest)?)
                .ok_or_else(silent)?,
            offset: number(&mut rest)?,
        },
        kind::SYNTAX => TypeScriptError::Syntax {
            offset: number(&mut rest)?,
            message: text(rest)?,
        },
        kind::UNREADABLE => unreadable(text(rest)?),
        _ => silent(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_says_is_understood() {
        for read in [
            Ok("const a     = 1".to_owned()),
            Err(TypeScriptError::MoreThanTypes {
                what: MoreThanType::Namespace,
                offset: 7,
            }),
            Err(TypeScriptError::Syntax {
                message: "ü".to_owned(),
                offset: 1,
            }),
            Err(unreadable("x")),
        ] {
            assert_eq!(understand(&say(&read), None), read);
        }
        for bytes in [&b""[..], b"x", b"s123", b"j\xff"] {
            let nonsense = understand(bytes, None);
            assert!(matches!(nonsense, Err(TypeScriptError::Unreadable { .. })));
        }
    }

    #[test]
    fn a_source_is_read_in_a_process_of_its_own() {
        let read = |source: &str| read(source, || false);
        assert_eq!(read("let a: 1"), Ok("let a   ".to_owned()));
        assert!(matches!(
            read("enum A {}"),
            Err(TypeScriptError::MoreThanTypes {
                what: MoreThanType::Enum,
                offset: 0
            })
        ));
        let long = format!("let a: 1;{}", " ".repeat(500_000));
        assert_eq!(read(&long).map(|text| text.len()), Ok(long.len()));
    }

    #[test]
    fn a_source_that_is_too_deep_or_takes_for_ever_harms_nobody() {
        let reason = |source: &str, is_stopped: fn() -> bool| match read(source, is_stopped) {
            Err(TypeScriptError::Unreadable { reason }) => reason,
            other => panic!("{other:?}"),
        };
        let deep = "[".repeat(200_000);
        assert_eq!(reason(&deep, || false), "it is nested too deeply");
        // The parser tries each of these both as arguments of a type and as comparisons.
        let slow = "(a=f<".repeat(200);
        assert_eq!(reason(&slow, || true), "the cell was stopped");
        let patient = reason(&slow, || false);
        assert!(
            patient.contains("longer than 5 s") || patient.contains("more memory"),
            "{patient}"
        );
    }
}
