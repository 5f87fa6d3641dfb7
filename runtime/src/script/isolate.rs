//! Isolates: made in one place, used for one cell, with the guards of their memory.

use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

use code_mode_api::LimitName;

use super::buffers::{Account, bounded_allocator};
use super::event_loop::{self, Failed};
use super::state::ScriptState;
use super::{globals, modules, rejections};
use crate::cell::{Cell, StopCause};
use crate::limits::{HEAP_UNWIND_BYTES, V8_STACK_BYTES};

/// An isolate with a context in which everything that scripts see is installed.
///
/// Fields are dropped in their order: the context before the isolate, and the guard, which V8 holds
/// a pointer to, last.
pub(crate) struct ReadyIsolate {
    context: v8::Global<v8::Context>,
    isolate: v8::OwnedIsolate,
    guard: Box<MemoryGuard>,
}

/// What V8's memory callbacks know. V8 holds a pointer to it for as long as the isolate lives.
struct MemoryGuard {
    heap_bytes: usize,
    account: Arc<Account>,
}

impl ReadyIsolate {
    /// Makes an isolate on this thread; it stays here.
    pub(crate) fn new(heap_bytes: u64) -> Self {
        let heap_bytes = usize::try_from(heap_bytes).unwrap_or(usize::MAX);
        let here = 0_u32;
        let stack_limit = (&raw const here)
            .cast_mut()
            .wrapping_byte_sub(V8_STACK_BYTES);
        let account = Arc::new(Account::default());
        let params = v8::CreateParams::default()
            .heap_limits(0, heap_bytes)
            .array_buffer_allocator(bounded_allocator(Arc::clone(&account)))
            .allow_atomics_wait(false);
        // SAFETY: the limit lies V8_STACK_BYTES below this frame, and every V8 thread has a stack
        // of THREAD_STACK_BYTES, which is more than that and this frame together; it does not move.
        let params = unsafe { params.set_stack_limit(stack_limit) };
        let mut isolate = v8::Isolate::new(params);
        let mut guard = Box::new(MemoryGuard {
            heap_bytes,
            account,
        });
        let pointer: *mut MemoryGuard = &raw mut *guard;
        isolate.add_near_heap_limit_callback(near_heap_limit, pointer.cast());
        isolate.add_gc_epilogue_callback(after_collection, pointer.cast(), v8::GCType::kGCTypeAll);
        isolate.set_oom_error_handler(out_of_memory);
        isolate.set_microtasks_policy(v8::MicrotasksPolicy::Explicit);
        isolate.set_promise_reject_callback(rejections::promise_rejected);
        isolate.set_host_import_module_dynamically_callback(modules::import_dynamically);
        let context = globals::make_context(&mut isolate);
        Self {
            context,
            isolate,
            guard,
        }
    }

    /// Has V8 compile a script like most, so that what its compiler sets up at its first use in an
    /// isolate is there before the cell is: for a short script that is half of the time. The module
    /// is never instantiated and never run, and nothing in the context refers to it.
    pub(crate) fn compile_ahead(mut self) -> Self {
        const LIKE_MOST: &str = "for (const a of await tools.b({ c: [1] })) text(`${a}`);";
        {
            v8::scope_with_context!(scope, &mut self.isolate, &self.context);
            v8::tc_scope!(let caught, scope);
            if event_loop::compile(caught, LIKE_MOST).is_none() {
                tracing::debug!("V8 could not compile ahead of a cell");
            }
        }
        self
    }

    pub(crate) fn thread_safe_handle(&self) -> v8::IsolateHandle {
        self.isolate.thread_safe_handle()
    }

    /// From now on this cell is stopped when the isolate runs out of memory.
    pub(crate) fn guard(&self, cell: &Arc<Cell>) {
        self.guard.account.charge_to(cell);
    }

    /// Runs a script to its end.
    pub(crate) fn run(&mut self, state: &Rc<ScriptState>, source: &str) -> Result<(), Failed> {
        self.isolate.set_slot(Rc::clone(state));
        let result = {
            v8::scope_with_context!(scope, &mut self.isolate, &self.context);
            let result = event_loop::run(scope, state, source);
            // Handles must be gone before the isolate is.
            state.drop_handles();
            result
        };
        self.isolate.remove_slot::<Rc<ScriptState>>();
        result
    }
}

/// V8 is about to run out of heap: the script is stopped, and gets room to unwind in.
unsafe extern "C" fn near_heap_limit(data: *mut c_void, current: usize, initial: usize) -> usize {
    // SAFETY: `data` is the isolate's MemoryGuard, which outlives the isolate; V8 calls this on the
    // isolate's thread, and nobody holds the guard mutably.
    let guard = unsafe { &*data.cast::<MemoryGuard>() };
    if let Some(cell) = guard.account.cell() {
        // V8 also calls this when it gives up on finding memory for an ArrayBuffer.
        let cause = if guard.account.is_refusing() {
            StopCause::Limit(LimitName::ExternalBytes, cell.limits.external_bytes)
        } else {
            StopCause::Limit(LimitName::HeapBytes, guard.heap_bytes as u64)
        };
        cell.stop(cause);
    }
    let room = usize::try_from(HEAP_UNWIND_BYTES).unwrap_or(usize::MAX);
    current.max(initial.saturating_add(room))
}

/// Looks at the memory outside V8's heap each time V8 has collected garbage.
unsafe extern "C" fn after_collection(
    mut isolate: v8::UnsafeRawIsolatePtr,
    _type: v8::GCType,
    _flags: v8::GCCallbackFlags,
    data: *mut c_void,
) {
    // SAFETY: as in `near_heap_limit`.
    let guard = unsafe { &*data.cast::<MemoryGuard>() };
    // SAFETY: V8 calls this on the isolate's thread with the isolate that has just been collected,
    // and nothing here calls back into script.
    let isolate = unsafe { v8::Isolate::ref_from_raw_isolate_ptr_mut_unchecked(&mut isolate) };
    let external = isolate.get_heap_statistics().external_memory() as u64;
    if let Some(cell) = guard.account.cell()
        && external > cell.limits.external_bytes
    {
        cell.stop(StopCause::Limit(
            LimitName::ExternalBytes,
            cell.limits.external_bytes,
        ));
    }
}

/// V8 cannot go on and there is no way out of it but to end the process; the reason goes to the log.
unsafe extern "C" fn out_of_memory(location: *const std::ffi::c_char, details: &v8::OomDetails) {
    let text = |pointer: *const std::ffi::c_char| {
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: V8 passes NUL-terminated static strings, or null.
        unsafe { std::ffi::CStr::from_ptr(pointer) }
            .to_string_lossy()
            .into_owned()
    };
    tracing::error!(
        location = text(location),
        detail = text(details.detail),
        heap = details.is_heap_oom,
        "V8 is out of memory and aborts the process"
    );
    std::process::abort();
}
