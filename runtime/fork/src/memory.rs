// SPDX-License-Identifier: Apache-2.0
//! What a cell's process may have of memory that is its own.

/// Memory that a process has for itself before any script runs, and that no script can fill: V8 sets 64
/// MiB aside for code, and the rest is for the allocator, ICU and the stack. Bytes.
const FOR_ITSELF_BYTES: u64 = 128 << 20;

/// Freed memory that the allocator of a cell's process keeps instead of giving it back, bytes: what the
/// rehearsal has mapped, the script finds mapped.
const KEPT_BYTES: libc::c_int = 4 << 20;

/// Whether the bound of the kernel is left out: a build with the address sanitizer has a shadow of all memory, which the
/// kernel counts as a process's own.
pub(crate) const HAS_SHADOW: bool = cfg!(address_sanitizer);

/// Has the allocator keep what the process frees, for long texts as well: the memory of a tool's input is that of its
/// answer then.
pub(crate) fn keep_what_is_freed() {
    for parameter in [libc::M_TRIM_THRESHOLD, libc::M_MMAP_THRESHOLD] {
        // SAFETY: the call takes two integers and sets the allocator's parameters. Where it does not, the
        // allocator only gives memory back sooner.
        unsafe { libc::mallopt(parameter, KEPT_BYTES) };
    }
}

/// The bound of the kernel behind V8's own: private writable memory of a cell's process.
///
/// V8 looks at the bound of its heap when it collects garbage, and knows nothing of what ICU and the C
/// library take; this bound holds always, and ends the cell, with its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellMemory {
    /// Bytes.
    pub bytes: u64,
}

impl CellMemory {
    /// What a process needs whose V8 heap may hold this much, and as much outside of it: a collection
    /// has a part of the heap twice for a moment, which the room for the process itself covers.
    pub fn for_limits(heap_bytes: u64, external_bytes: u64) -> Self {
        Self {
            bytes: heap_bytes
                .saturating_add(external_bytes)
                .saturating_add(FOR_ITSELF_BYTES),
        }
    }
}
