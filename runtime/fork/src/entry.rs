// SPDX-License-Identifier: Apache-2.0
//! Where a program turns into a starter or a zygote.

use std::os::unix::ffi::OsStrExt;

use crate::probe::{self, Probe};
use crate::starter::{self, STARTER_NAME, ZYGOTE_NAME};
use crate::zygote;

/// Runs this process as a starter or a zygote if it was started as one, and does not return then.
/// Otherwise does nothing.
///
/// A program whose file is to run cells calls this first of all in its `main`, on the main thread and
/// before there is another.
pub fn entry() {
    let Some(name) = std::env::args_os().next() else {
        return;
    };
    if name.as_bytes() == STARTER_NAME.as_bytes() {
        starter::main();
    }
    if name.as_bytes() == ZYGOTE_NAME.to_bytes() {
        zygote::main();
    }
}

/// As [`entry`], for tests of the confinement: the processes of cells answer some keys of `load` by
/// native code of this program. A program that runs scripts of anybody else calls [`entry`].
pub fn entry_with_probe(probe: Probe) {
    probe::set(probe);
    entry();
}
