// SPDX-License-Identifier: Apache-2.0
//! What the allocator does with freed memory.

/// Freed memory that each heap of the allocator keeps for the next payload instead of giving it back,
/// in bytes; the page faults of fresh memory take up to a fifth of the time of a payload of 1 MiB.
/// glibc makes eight heaps per processor at most, each when a thread needs it.
const KEPT_HEAP_BYTES: libc::c_int = 4 << 20;

/// Has the allocator keep freed memory for the next payload.
#[expect(unsafe_code, reason = "the allocator is set by its C interface only")]
pub(crate) fn keep_freed_memory() {
    // SAFETY: mallopt takes two integers and only sets the allocator's parameters, under its lock.
    let kept = unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_HEAP_BYTES) == 1
            && libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_HEAP_BYTES) == 1
    };
    if !kept {
        tracing::debug!("the allocator gives freed memory back at once");
    }
}
