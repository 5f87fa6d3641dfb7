// SPDX-License-Identifier: Apache-2.0
//! The memory of ArrayBuffers, bounded per cell.
//!
//! With V8's sandbox on, this memory has to lie inside the sandbox, so only V8's own allocator can
//! give it, and the V8 crate has no way to put bounds on that. [`BoundedAllocator`] is a C++ object
//! made in Rust: it has the layout of a class derived from `v8::ArrayBuffer::Allocator`, counts, and
//! leaves the work to V8's allocator.
//!
//! The layout is that of `v8-array-buffer.h` of V8 15.2 under the Itanium C++ ABI, which V8's
//! compiler uses on Linux: a pointer to a table that begins with the two destructors and goes on
//! with the virtual functions in the order of their declaration. The test below fails when either
//! changes, and the V8 crate's version is pinned.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use code_mode_api::LimitName;

use crate::world::{Stop, StopCause};

/// Allocations in a row that may fail before the script is stopped: V8 collects garbage after each of
/// the first three and tries again.
const FAILURES: u32 = 4;

/// What one isolate has outside of V8's heap, and who answers for it.
#[derive(Default)]
pub(crate) struct Account {
    bytes: AtomicUsize,
    failures: AtomicU32,
    charged: OnceLock<Charged>,
}

/// Who answers for an isolate's memory.
struct Charged {
    /// What there may be outside of V8's heap, bytes.
    maximum: u64,
    stopper: Arc<dyn Stop>,
}

impl Account {
    /// From now on the script behind this stopper answers for the isolate's memory: it is stopped when
    /// there are more than `maximum` bytes outside of V8's heap. Only the first call counts, since an
    /// isolate has one script.
    pub(crate) fn charge(&self, maximum: u64, stopper: Arc<dyn Stop>) {
        if self.charged.set(Charged { maximum, stopper }).is_err() {
            tracing::error!("an isolate was given a second script to answer for its memory");
        }
    }

    /// Stops the script that answers for the isolate's memory, if it has one.
    pub(crate) fn stop(&self, cause: StopCause) {
        if let Some(charged) = self.charged.get() {
            charged.stopper.stop(cause);
        }
    }

    /// Stops the script because of what is outside of V8's heap.
    pub(crate) fn stop_for_external(&self) {
        if let Some(charged) = self.charged.get() {
            let cause = StopCause::Limit(LimitName::ExternalBytes, charged.maximum);
            charged.stopper.stop(cause);
        }
    }

    /// Whether this many bytes outside of V8's heap are too many.
    pub(crate) fn is_too_much(&self, bytes: u64) -> bool {
        self.charged
            .get()
            .is_some_and(|charged| bytes > charged.maximum)
    }

    /// Whether the last allocation was refused.
    pub(crate) fn is_refusing(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0
    }

    /// Takes this many bytes, or stops the script when they cannot be had even after collections.
    fn take(&self, length: usize) -> bool {
        let Some(charged) = self.charged.get() else {
            self.bytes.fetch_add(length, Ordering::Relaxed);
            return true;
        };
        let maximum = usize::try_from(charged.maximum).unwrap_or(usize::MAX);
        let taken = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| {
                bytes.checked_add(length).filter(|bytes| *bytes <= maximum)
            });
        if taken.is_ok() {
            self.failures.store(0, Ordering::Relaxed);
            return true;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if length > maximum || failures >= FAILURES {
            self.stop_for_external();
        }
        false
    }

    fn give_back(&self, length: usize) {
        self.bytes.fetch_sub(length, Ordering::Relaxed);
    }
}

/// An allocator for one isolate that charges this account.
pub(crate) fn bounded_allocator(account: Arc<Account>) -> v8::UniquePtr<v8::Allocator> {
    let allocator = Box::new(BoundedAllocator {
        table: &TABLE,
        inner: v8::new_default_allocator(),
        account,
    });
    // SAFETY: the object has the layout of a C++ allocator (see the module's documentation) and is
    // owned by the pointer; V8 deletes it through the table's deleting destructor, which takes the
    // box back.
    unsafe { v8::UniquePtr::from_raw(Box::into_raw(allocator).cast()) }
}

/// See the module's documentation for its layout.
#[repr(C)]
struct BoundedAllocator {
    table: &'static Table,
    inner: v8::UniqueRef<v8::Allocator>,
    account: Arc<Account>,
}

/// The virtual functions of `v8::ArrayBuffer::Allocator`, ours and V8's.
#[repr(C)]
struct Table {
    destroy: unsafe extern "C" fn(*mut c_void),
    delete: unsafe extern "C" fn(*mut c_void),
    allocate: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    allocate_uninitialized: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, *mut c_void, usize),
    max_allocation_size: unsafe extern "C" fn(*const c_void) -> usize,
    page_allocator: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
}

static TABLE: Table = Table {
    destroy,
    delete,
    allocate,
    allocate_uninitialized,
    free,
    max_allocation_size,
    page_allocator,
};

impl BoundedAllocator {
    /// V8's allocator and its table.
    fn inner(&self) -> (*mut c_void, &Table) {
        let object: *const v8::Allocator = &raw const *self.inner;
        let object = object.cast_mut().cast::<c_void>();
        // SAFETY: the object is an allocator made by V8, which begins with the pointer to its table
        // and lives as long as `self` does.
        (object, unsafe { &**object.cast::<*const Table>() })
    }
}

/// Never called: V8 deletes allocators through their owning pointer, which is [`delete`].
unsafe extern "C" fn destroy(_this: *mut c_void) {}

unsafe extern "C" fn delete(this: *mut c_void) {
    // SAFETY: `this` came out of `Box::into_raw` in `bounded_allocator`, and V8 deletes it once.
    drop(unsafe { Box::from_raw(this.cast::<BoundedAllocator>()) });
}

/// The object behind a `this` pointer.
///
/// # Safety
/// `this` must be one that V8 passes to a function of [`TABLE`].
unsafe fn object<'a>(this: *const c_void) -> &'a BoundedAllocator {
    // SAFETY: V8 passes what `bounded_allocator` made, and keeps it alive during the call.
    unsafe { &*this.cast::<BoundedAllocator>() }
}

unsafe extern "C" fn allocate(this: *mut c_void, length: usize) -> *mut c_void {
    // SAFETY: V8 calls this through the table.
    let this = unsafe { object(this) };
    let (inner, table) = this.inner();
    // SAFETY: the inner object is passed to its own function.
    this.charged(length, || unsafe { (table.allocate)(inner, length) })
}

unsafe extern "C" fn allocate_uninitialized(this: *mut c_void, length: usize) -> *mut c_void {
    // SAFETY: V8 calls this through the table.
    let this = unsafe { object(this) };
    let (inner, table) = this.inner();
    // SAFETY: the inner object is passed to its own function.
    this.charged(length, || unsafe {
        (table.allocate_uninitialized)(inner, length)
    })
}

impl BoundedAllocator {
    fn charged(&self, length: usize, allocate: impl FnOnce() -> *mut c_void) -> *mut c_void {
        // To stop a script runs code that is not ours; its panic must not cross V8's frames.
        let taken = catch_unwind(AssertUnwindSafe(|| self.account.take(length)));
        if !taken.unwrap_or(false) {
            return std::ptr::null_mut();
        }
        let data = allocate();
        if data.is_null() {
            self.account.give_back(length);
        }
        data
    }
}

unsafe extern "C" fn free(this: *mut c_void, data: *mut c_void, length: usize) {
    // SAFETY: V8 calls this through the table.
    let this = unsafe { object(this) };
    let (inner, table) = this.inner();
    this.account.give_back(length);
    // SAFETY: the inner object gave `data`, of this length, in `allocate`.
    unsafe { (table.free)(inner, data, length) };
}

unsafe extern "C" fn max_allocation_size(this: *const c_void) -> usize {
    // SAFETY: V8 calls this through the table.
    let (inner, table) = unsafe { object(this) }.inner();
    // SAFETY: the inner object is passed to its own function.
    unsafe { (table.max_allocation_size)(inner) }
}

unsafe extern "C" fn page_allocator(this: *mut c_void) -> *mut c_void {
    // SAFETY: V8 calls this through the table.
    let (inner, table) = unsafe { object(this) }.inner();
    // SAFETY: the inner object is passed to its own function.
    unsafe { (table.page_allocator)(inner) }
}

#[cfg(test)]
mod tests {
    use super::{Account, bounded_allocator};
    use crate::platform;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    #[test]
    fn v8_allocates_and_frees_through_the_account() {
        platform::with_v8(|| {
            let account = Arc::new(Account::default());
            let allocator = bounded_allocator(Arc::clone(&account));
            let params = v8::CreateParams::default().array_buffer_allocator(allocator);
            let mut isolate = v8::Isolate::new(params);
            let during = {
                v8::scope!(let scope, &mut isolate);
                let context = v8::Context::new(scope, v8::ContextOptions::default());
                let scope = &mut v8::ContextScope::new(scope, context);
                let buffer = v8::ArrayBuffer::new(scope, 1 << 20);
                assert_eq!(buffer.byte_length(), 1 << 20);
                account.bytes.load(Ordering::Relaxed)
            };
            drop(isolate);
            let after = account.bytes.load(Ordering::Relaxed);
            // The isolate held the only other reference, through its allocator.
            let owners = Arc::strong_count(&account);
            assert_eq!((during, after, owners), (1 << 20, 0, 1));
        });
    }
}
