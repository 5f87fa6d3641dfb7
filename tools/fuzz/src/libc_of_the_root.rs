// SPDX-License-Identifier: Apache-2.0
//! Functions of a newer C library that the build root's libFuzzer calls and that the sysroot's lacks.
//!
//! libFuzzer was compiled against the headers of the root's C library, which rename two functions; programs are linked
//! against an older one, so that they run outside of the root. libFuzzer reads the numbers of its options with them.

use std::ffi::{c_char, c_int, c_long, c_ulong};

/// `strtol`. The newer one also knows binary numbers, which no option of libFuzzer has.
///
/// # Safety
/// As for `strtol`: `text` ends with a zero, and `end` is null or may be written to.
// SAFETY: a program that is linked against the sysroot has no other definition, and the signature is the same.
#[unsafe(no_mangle)]
unsafe extern "C" fn __isoc23_strtol(
    text: *const c_char,
    end: *mut *mut c_char,
    base: c_int,
) -> c_long {
    // SAFETY: the caller promises what `strtol` asks for.
    unsafe { libc::strtol(text, end, base) }
}

/// `strtoul`, in the same way.
///
/// # Safety
/// As for `strtoul`: `text` ends with a zero, and `end` is null or may be written to.
// SAFETY: a program that is linked against the sysroot has no other definition, and the signature is the same.
#[unsafe(no_mangle)]
unsafe extern "C" fn __isoc23_strtoul(
    text: *const c_char,
    end: *mut *mut c_char,
    base: c_int,
) -> c_ulong {
    // SAFETY: the caller promises what `strtoul` asks for.
    unsafe { libc::strtoul(text, end, base) }
}
