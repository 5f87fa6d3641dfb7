//! A host inherits no file descriptor but its three standard ones.

use std::io;

/// The first descriptor that is not one of the standard three.
const FIRST_INHERITABLE: libc::c_uint = 3;

/// Marks every descriptor from 3 up close-on-exec.
///
/// Marking rather than closing keeps the pipe alive through which the standard library reports a
/// failed `exec`. Makes only system calls, so it may run between `fork` and `exec`.
///
/// # Errors
/// When the kernel refuses for another reason than that it is older than 5.11; on those each
/// descriptor up to the process's limit is marked in turn.
pub(super) fn close_on_exec_from_three() -> io::Result<()> {
    // SAFETY: the call takes three integers and touches no memory of this process.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST_INHERITABLE,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => mark_one_by_one(),
        _ => Err(error),
    }
}

fn mark_one_by_one() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live, writable rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let end = libc::c_int::try_from(limit.rlim_cur).unwrap_or(libc::c_int::MAX);
    for descriptor in FIRST_INHERITABLE as libc::c_int..end {
        // SAFETY: F_SETFD takes an integer; a descriptor that is not open gives EBADF, which is
        // the answer wanted here.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}
