// SPDX-License-Identifier: Apache-2.0
//! Operating-system limits of a host process.

use std::fmt;
use std::io;

/// A resource that the kernel bounds per process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Size of a core file, bytes.
    CoreFile,
    /// Open file descriptors.
    OpenFiles,
    /// Private writable memory, bytes (`RLIMIT_DATA`).
    Data,
}

impl Resource {
    fn raw(self) -> libc::__rlimit_resource_t {
        match self {
            Self::CoreFile => libc::RLIMIT_CORE,
            Self::OpenFiles => libc::RLIMIT_NOFILE,
            Self::Data => libc::RLIMIT_DATA,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoreFile => "core file size",
            Self::OpenFiles => "open files",
            Self::Data => "data size",
        })
    }
}

/// Limits that are set in the host before its program starts. `None` leaves the inherited one.
///
/// A limit of the address space is not offered: V8's sandbox reserves a terabyte of it, so any
/// useful bound would keep the host from starting. They do not bound CPU time or memory that the
/// host shares with others; the cell limits of the runtime do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Largest core file, in bytes. Defaults to `Some(0)`: a core of a host holds users' data.
    pub core_file_bytes: Option<u64>,
    /// Open file descriptors. Defaults to `None`.
    pub open_files: Option<u64>,
    /// Private writable memory, in bytes. A host that reaches it aborts, and its sessions are
    /// lost. Defaults to `None`.
    pub data_bytes: Option<u64>,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            core_file_bytes: Some(0),
            open_files: None,
            data_bytes: None,
        }
    }
}

impl ResourceLimits {
    /// Sets these limits on the calling process, soft and hard. Makes only system calls and
    /// allocates nothing, so it may run between `fork` and `exec`.
    ///
    /// # Errors
    /// When the kernel refuses one, for instance because it is above the inherited hard limit.
    pub(super) fn install(&self) -> io::Result<()> {
        for (resource, value) in [
            (Resource::CoreFile, self.core_file_bytes),
            (Resource::OpenFiles, self.open_files),
            (Resource::Data, self.data_bytes),
        ] {
            if let Some(value) = value {
                set(resource, value)?;
            }
        }
        Ok(())
    }
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: `limit` is a live rlimit that the kernel only reads.
    if unsafe { libc::setrlimit(resource.raw(), &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
