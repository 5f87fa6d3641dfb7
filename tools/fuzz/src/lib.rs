// SPDX-License-Identifier: Apache-2.0
//! What a program needs to be driven by libFuzzer.
//!
//! # Purpose
//! A fuzz target is a small program around an oracle: a function that takes any bytes at all and panics when the code
//! under test is wrong. [`fuzz_target!`] makes the function that libFuzzer calls from it. How such programs are compiled
//! and linked is in `fuzz.bzl`, how they are run in `run.sh`, both in this folder.
//!
//! # Life cycle
//! libFuzzer has the `main` function. It calls the oracle with one input after another and never lets go of the process;
//! a panic aborts it, and libFuzzer keeps the input.
//!
//! # Threads
//! The oracle is called on the main thread.
//!
//! # Limits
//! Those that `run.sh` gives to libFuzzer.

mod libc_of_the_root;

/// The bytes that libFuzzer passes.
///
/// # Safety
/// `bytes` must point to `length` readable bytes that nobody changes for as long as the result is used, or `length` must
/// be 0.
pub unsafe fn input<'a>(bytes: *const u8, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the caller promises it, and no object is longer than `isize::MAX`.
    unsafe { std::slice::from_raw_parts(bytes, length) }
}

/// Makes the function that libFuzzer calls from an oracle, a function over `&[u8]`. Its result means nothing; it panics
/// when the code under test is wrong.
#[macro_export]
macro_rules! fuzz_target {
    ($oracle:expr) => {
        /// One input; the result 0 says that it may be kept as a start of others.
        // SAFETY: nothing else defines this name, and libFuzzer calls it with this signature.
        #[unsafe(no_mangle)]
        extern "C" fn LLVMFuzzerTestOneInput(bytes: *const u8, length: usize) -> i32 {
            // SAFETY: libFuzzer passes a readable copy of the input, and keeps it until this function returns.
            let input = unsafe { $crate::input(bytes, length) };
            $oracle(input);
            0
        }
    };
}

#[cfg(test)]
mod tests {
    use std::ffi::c_int;
    use std::sync::Mutex;

    static SEEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

    fuzz_target!(|input: &[u8]| SEEN.lock().unwrap().push(input.to_vec()));

    #[test]
    fn an_oracle_sees_the_bytes_that_are_passed_and_no_pointer_without_any() {
        let statuses: [c_int; 2] = [
            LLVMFuzzerTestOneInput(b"ab".as_ptr(), 2),
            LLVMFuzzerTestOneInput(std::ptr::null(), 0),
        ];
        assert_eq!(statuses, [0, 0]);
        assert_eq!(*SEEN.lock().unwrap(), [b"ab".to_vec(), Vec::new()]);
    }
}
