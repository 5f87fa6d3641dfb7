// SPDX-License-Identifier: Apache-2.0
//! A host inherits no file descriptor but its three standard ones.

use std::io;

/// The first descriptor that is not one of the standard three.
const FIRST_INHERITABLE: libc::c_int = 3;

/// Bytes of directory entries that are read at a time: some dozens of descriptors.
const LISTING_BYTES: usize = 1024;

/// Where the kernel lists the descriptors of the process that asks.
const OWN_DESCRIPTORS: &std::ffi::CStr = c"/proc/self/fd";

/// Marks every descriptor from 3 up close-on-exec.
///
/// Marking rather than closing keeps the pipe alive through which the standard library reports a
/// failed `exec`. Makes only system calls and allocates nothing, so it may run between `fork` and
/// `exec`.
///
/// # Errors
/// When the kernel refuses for another reason than that it does not know the call, because it is
/// older than 5.11 or because a filter of system calls keeps it from us (older containers answer
/// EPERM to what they do not know); the descriptors are then marked one by one.
pub(super) fn close_on_exec_from_three() -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of this process.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST_INHERITABLE as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL | libc::EPERM) => mark_one_by_one(),
        _ => Err(error),
    }
}

/// Marks the descriptors that `/proc` lists, or, where there is no `/proc`, every number up to the
/// process's limit. The list comes first because that limit may be a thousand million.
fn mark_one_by_one() -> io::Result<()> {
    // SAFETY: the path ends in a NUL, and the call only reads it.
    let folder = unsafe {
        libc::open(
            OWN_DESCRIPTORS.as_ptr(),
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
        )
    };
    if folder < 0 {
        return mark_up_to_the_limit();
    }
    let marked = mark_listed(folder);
    // SAFETY: `folder` was opened above, and nobody else knows it.
    unsafe { libc::close(folder) };
    marked
}

fn mark_listed(folder: libc::c_int) -> io::Result<()> {
    let mut entries = [0_u8; LISTING_BYTES];
    loop {
        // SAFETY: `entries` is writable for as many bytes as are named.
        let read = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                folder,
                entries.as_mut_ptr(),
                entries.len(),
            )
        };
        let Ok(read) = usize::try_from(read) else {
            return Err(io::Error::last_os_error());
        };
        let Some(mut rest) = entries.get(..read).filter(|listed| !listed.is_empty()) else {
            return Ok(());
        };
        while let Some((descriptor, others)) = first_entry(rest) {
            if let Some(descriptor) = descriptor {
                mark(descriptor);
            }
            rest = others;
        }
    }
}

/// The descriptor that the first of these entries names, if it names one, and the other entries.
fn first_entry(entries: &[u8]) -> Option<(Option<libc::c_int>, &[u8])> {
    /// An entry is an inode (8 bytes), an offset (8), its own length (2), a type (1) and a name.
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    let length = [*entries.get(LENGTH_AT)?, *entries.get(LENGTH_AT + 1)?];
    let length = usize::from(u16::from_ne_bytes(length)).max(NAME_AT);
    let name = entries.get(NAME_AT..length)?;
    let digits = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let number = digits.iter().try_fold(0, |number: libc::c_int, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    });
    let number = number.filter(|_| !digits.is_empty());
    Some((number, entries.get(length..).unwrap_or_default()))
}

fn mark_up_to_the_limit() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live, writable rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let end = libc::c_int::try_from(limit.rlim_cur).unwrap_or(libc::c_int::MAX);
    (FIRST_INHERITABLE..end).for_each(mark);
    Ok(())
}

fn mark(descriptor: libc::c_int) {
    if descriptor >= FIRST_INHERITABLE {
        // SAFETY: F_SETFD takes an integer; a descriptor that is not open gives EBADF, which is the
        // answer wanted here.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

    use super::*;

    /// Files that are not closed on exec, enough that their list does not fit into one reading.
    fn inheritable() -> Vec<File> {
        let files: Vec<_> = (0..100)
            .map(|_| File::open("/dev/null").expect("a file"))
            .collect();
        for file in &files {
            // SAFETY: clearing close-on-exec of a descriptor that this test owns touches no memory.
            let cleared = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, 0) };
            assert_eq!(cleared, 0);
        }
        files
    }

    fn all_are_marked(files: &[File]) -> bool {
        files.iter().all(|file| {
            // SAFETY: the call reads the flags of a descriptor that this test owns.
            let flags = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) };
            flags == libc::FD_CLOEXEC
        })
    }

    /// A filter that answers EPERM to `close_range`, as older containers do.
    fn old_container() -> BpfProgram {
        let filter = SeccompFilter::new(
            [(libc::SYS_close_range, Vec::new())].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(libc::EPERM as u32),
            std::env::consts::ARCH.try_into().expect("it is known"),
        );
        filter.and_then(TryInto::try_into).expect("a filter")
    }

    #[test]
    fn a_filter_that_does_not_know_the_call_does_not_keep_a_host_from_starting() {
        let files = inheritable();
        // A filter is its thread's alone, and ends with it.
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| {
                seccompiler::apply_filter(&old_container()).expect("the kernel takes a filter");
                close_on_exec_from_three()
            });
            confined.join().expect("no panic").expect("marked");
        });
        assert!(all_are_marked(&files));
    }

    #[test]
    fn without_a_list_every_number_up_to_the_limit_is_marked() {
        let files = inheritable();
        mark_up_to_the_limit().expect("marked");
        assert!(all_are_marked(&files));
    }
}
