//! What a cell's process may have of memory that is its own.

/// Memory that a process has for itself before any script runs, and that no script can fill: V8 sets 64
/// MiB aside for code, and the rest is for the allocator, ICU and the stack. Bytes.
const FOR_ITSELF_BYTES: u64 = 128 << 20;

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
