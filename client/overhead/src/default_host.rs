// SPDX-License-Identifier: Apache-2.0
//! Which host program is meant when none is named.

use std::ffi::OsString;

use code_mode_client::{HOST_VARIABLE, HostSearch};

/// The host to measure when none is named: that of the environment, else the one that was built or
/// installed with this program, if there is one.
pub(crate) fn default_host() -> Option<OsString> {
    std::env::var_os(HOST_VARIABLE).or_else(|| {
        let search = HostSearch::of_this_process(None, std::env::current_dir().ok()?);
        search.find().ok().map(Into::into)
    })
}
