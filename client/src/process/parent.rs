// SPDX-License-Identifier: Apache-2.0
//! A child ends with the thread that has forked it.

use std::io;

/// Has the kernel kill the calling process, a child between `fork` and `exec`, when the thread that
/// forked it ends; `parent` is the id of that thread's process, asked for before the fork.
///
/// Makes only system calls (prctl, getppid), allocates nothing and takes no lock, so that it may run
/// in `pre_exec`. The kernel forgets the wish where the child changes its user or gains capabilities
/// by `exec`, and does not hand it on to what the child starts.
///
/// # Errors
/// When the kernel refuses, or when the parent has ended before it could be asked.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number; getppid takes nothing.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) != 0 {
            return Err(io::Error::last_os_error());
        }
        // A parent that ended before the call above can send no signal any more.
        if u32::try_from(libc::getppid()) != Ok(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_that_has_gone_is_noticed() {
        let error = die_with_parent(u32::MAX).expect_err("nobody has this number");
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        // SAFETY: 0 takes the wish back; the call takes integers.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) }, 0);
    }
}
