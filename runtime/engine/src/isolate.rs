// SPDX-License-Identifier: Apache-2.0
//! Isolates: made in one place, used for one script, with the guards of their memory.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;

use code_mode_api::{Globals, LimitName};

use crate::buffers::{Account, bounded_allocator};
use crate::event_loop::{self, Failed};
use crate::globals::ScriptContext;
use crate::limits::{HEAP_UNWIND_BYTES, MAX_EVALUATED_SOURCE_BYTES, V8_STACK_BYTES};
use crate::script_state::ScriptState;
use crate::tool_table::ToolTable;
use crate::world::{StopCause, World};
use crate::{Ended, bigints, callback, errors, globals, modules, panic_message, platform};

const NO_WEB: &str = "V8 could not make the web's globals";

/// An isolate with a context in which everything that scripts see is installed. It stays on the thread
/// that made it, and runs one script.
///
/// Fields are dropped in their order: the context before the isolate, and the guard, which V8 holds
/// a pointer to, last.
pub struct ReadyIsolate {
    contract: ScriptContext,
    /// The context with the web's globals, once it is made.
    web: Option<ScriptContext>,
    isolate: v8::OwnedIsolate,
    guard: Guard,
}

/// Stops the script of an isolate from any thread.
#[derive(Clone)]
pub struct IsolateStopper(v8::IsolateHandle);

impl IsolateStopper {
    /// Asks V8 to unwind the script. A request is consumed by the innermost script that it unwinds;
    /// asking again makes sure that no outer one goes on.
    pub fn unwind(&self) {
        self.0.terminate_execution();
    }
}

/// What V8's memory callbacks know.
struct MemoryGuard {
    heap_bytes: std::cell::Cell<usize>,
    account: Arc<Account>,
}

/// Owns the guard that V8 holds a pointer to. A box would assert at each of its moves that nobody else
/// has a pointer to what it owns.
struct Guard(NonNull<MemoryGuard>);

impl Guard {
    fn new(guard: MemoryGuard) -> Self {
        Self(NonNull::from(Box::leak(Box::new(guard))))
    }

    fn get(&self) -> &MemoryGuard {
        // SAFETY: the pointer came from a box in `new` and is freed only by `drop`; nobody makes an
        // exclusive reference to what it points to.
        unsafe { self.0.as_ref() }
    }

    fn as_data(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a leaked box in `new` and is freed here, once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl ReadyIsolate {
    /// Makes an isolate on this thread, whose V8 heap may hold this many bytes.
    ///
    /// The thread needs a stack of [`THREAD_STACK_BYTES`](crate::limits::THREAD_STACK_BYTES), and V8 has
    /// to be set up ([`platform::set_up`]).
    ///
    /// # Panics
    /// When V8 cannot make the context, which only a heap bound too small for V8 itself can cause.
    pub fn new(heap_bytes: u64) -> Self {
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
        // SAFETY: the limit lies V8_STACK_BYTES below this frame, and every thread of an isolate has
        // a stack of THREAD_STACK_BYTES, which is more than that and this frame together; it does not
        // move.
        let params = unsafe { params.set_stack_limit(stack_limit) };
        let mut isolate = v8::Isolate::new(params);
        let guard = Guard::new(MemoryGuard {
            heap_bytes: heap_bytes.into(),
            account,
        });
        isolate.add_near_heap_limit_callback(near_heap_limit, guard.as_data());
        isolate.add_gc_epilogue_callback(after_collection, guard.as_data(), v8::GCType::kGCTypeAll);
        isolate.set_oom_error_handler(platform::out_of_memory);
        isolate.set_microtasks_policy(v8::MicrotasksPolicy::Explicit);
        isolate.set_promise_reject_callback(callback::promise_rejected);
        isolate.set_host_import_module_dynamically_callback(modules::import_dynamically);
        isolate.set_modify_code_generation_from_strings_callback(may_evaluate);
        let contract = globals::make_context(&mut isolate, Globals::Contract)
            .expect("V8 could not make the context of a cell");
        Self {
            contract,
            web: None,
            isolate,
            guard,
        }
    }

    /// Makes the context with the web's globals ready, so that a script that wants it need not wait.
    ///
    /// # Panics
    /// When V8 cannot make it, which only a heap bound too small for V8 itself can cause.
    pub fn prepare_web(&mut self) {
        assert!(self.makes_web(), "{NO_WEB}");
    }

    /// Makes the context with the web's globals unless it is there. False when V8 could not.
    fn makes_web(&mut self) -> bool {
        if self.web.is_none() {
            self.web = globals::make_context(&mut self.isolate, Globals::Web);
        }
        self.web.is_some()
    }

    /// Has V8 compile a script like most, so that what its compiler sets up at its first use in an
    /// isolate is there before the cell is: for a short script that is half of the time. The module
    /// is never instantiated and never run, and nothing in the context refers to it.
    pub fn compile_ahead(&mut self) {
        const LIKE_MOST: &str = "for (const a of await tools.b({ c: [1] })) text(`${a}`);";
        v8::scope_with_context!(scope, &mut self.isolate, &self.contract.context);
        v8::tc_scope!(let caught, scope);
        if event_loop::compile(caught, LIKE_MOST).is_none() {
            tracing::debug!("V8 could not compile ahead of a cell");
        }
    }

    /// Lowers the bound of V8's heap. A higher bound than the isolate was made with has no effect.
    pub fn lower_heap_bound(&mut self, heap_bytes: u64) {
        let heap_bytes = usize::try_from(heap_bytes).unwrap_or(usize::MAX);
        if heap_bytes >= self.guard.get().heap_bytes.get() {
            return;
        }
        // V8 takes a new bound only with the removal of a callback.
        self.isolate
            .remove_near_heap_limit_callback(near_heap_limit, heap_bytes);
        self.guard.get().heap_bytes.set(heap_bytes);
        self.isolate
            .add_near_heap_limit_callback(near_heap_limit, self.guard.as_data());
    }

    /// Seeds V8's generators of random numbers anew: the isolate's, and those of the contexts, which are
    /// behind `Math.random`. Forked copies of an isolate would all give the same numbers.
    pub fn seed(&mut self, seed: i64) {
        let contexts = [Some(&self.contract), self.web.as_ref()];
        for one in contexts.into_iter().flatten() {
            v8::scope_with_context!(scope, &mut self.isolate, &one.context);
            let context = scope.get_current_context();
            platform::seed(&context, seed);
        }
    }

    /// What stops the isolate's script from other threads.
    pub fn stopper(&self) -> IsolateStopper {
        IsolateStopper(self.isolate.thread_safe_handle())
    }

    /// Runs a script of ours to its end in a world that leads nowhere, and keeps the isolate as if no
    /// script had run in it but for V8's caches. Gives the error text of a script that fails.
    ///
    /// It is for warming up only: the script must not leave anything behind in its globals.
    pub fn warm_up(&mut self, world: Rc<dyn World>, tools: ToolTable, source: &str) -> Ended {
        self.evaluate(world, tools, source)
    }

    /// Runs a script to its end. From now on it is stopped when the isolate runs out of memory.
    ///
    /// What the isolate still holds when this returns is garbage; it goes with the isolate.
    pub fn run(&mut self, world: Rc<dyn World>, tools: ToolTable, source: &str) -> Ended {
        self.guard
            .get()
            .account
            .charge(world.limits().external_bytes, world.stopper());
        self.evaluate(world, tools, source)
    }

    fn evaluate(&mut self, world: Rc<dyn World>, tools: ToolTable, source: &str) -> Ended {
        let options = world.options();
        if options.globals == Globals::Web && !self.makes_web() {
            // Whoever stops a script does not wait until it has begun.
            assert!(world.stop_cause().is_some(), "{NO_WEB}");
            return ended(&*world, Err(Failed::Stopped));
        }
        let of_web = self
            .web
            .as_ref()
            .filter(|_| options.globals == Globals::Web);
        let of_script = of_web.unwrap_or(&self.contract);
        let intrinsics = Rc::clone(&of_script.intrinsics);
        let state = Rc::new(ScriptState::new(Rc::clone(&world), tools, intrinsics));
        self.isolate.set_slot(Rc::clone(&state));
        let result = {
            v8::scope_with_context!(scope, &mut self.isolate, &of_script.context);
            if let Some(on_call) = &of_script.on_call {
                state.web.look_at_calls(on_call.clone());
            }
            if options.exact_integers {
                // It fails only while the script is being stopped, and then nothing runs.
                let _ = bigints::lend(scope, &state);
            }
            let result = event_loop::run(scope, &state, source);
            // Handles must be gone before the isolate is.
            state.drop_handles();
            result
        };
        self.isolate.remove_slot::<Rc<ScriptState>>();
        ended(&*world, result)
    }
}

/// How a script has ended in its world, by how its evaluation has.
fn ended(world: &dyn World, result: Result<(), Failed>) -> Ended {
    let error_text = match result {
        Ok(()) => None,
        Err(Failed::Threw(text)) => Some(text),
        Err(Failed::Stopped) => match world.stop_cause() {
            Some(StopCause::Limit(limit, maximum)) => Some(errors::limit_text(limit, maximum)),
            Some(StopCause::Panic(message)) => return Ended::Panicked(message),
            Some(StopCause::Terminated | StopCause::Exit) => None,
            None => Some("Error: the script was stopped without a cause".to_owned()),
        },
    };
    Ended::Completed { error_text }
}

/// V8 is about to run out of heap: the script is stopped, and gets room to unwind in.
unsafe extern "C" fn near_heap_limit(data: *mut c_void, current: usize, initial: usize) -> usize {
    // SAFETY: `data` is the isolate's MemoryGuard, which outlives the isolate; V8 calls this on the
    // isolate's thread, and nobody holds the guard mutably.
    let guard = unsafe { &*data.cast::<MemoryGuard>() };
    shielded(guard, || {
        // V8 also calls this when it gives up on finding memory for an ArrayBuffer.
        if guard.account.is_refusing() {
            guard.account.stop_for_external();
        } else {
            let heap_bytes = guard.heap_bytes.get() as u64;
            let cause = StopCause::Limit(LimitName::HeapBytes, heap_bytes);
            guard.account.stop(cause);
        }
    });
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
    shielded(guard, || {
        let external = isolate.get_heap_statistics().external_memory() as u64;
        if guard.account.is_too_much(external) {
            guard.account.stop_for_external();
        }
    });
}

/// Runs the body of a callback that V8 calls where no exception can be thrown. A panic stops the script.
fn shielded(guard: &MemoryGuard, body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        let cause = StopCause::Panic(panic_message(&*panic));
        // A stopper that panics again has nobody left to tell.
        let _ = catch_unwind(AssertUnwindSafe(|| guard.account.stop(cause)));
    }
}

/// Whether V8 may compile this text for `eval` or `new Function`. V8 cannot be interrupted while it
/// compiles, so such sources are bounded as those of cells are.
fn may_evaluate<'s>(
    _scope: &mut v8::PinScope<'s, '_>,
    source: v8::Local<'s, v8::Value>,
    _is_code_like: bool,
) -> v8::ModifyCodeGenerationFromStringsResult<'s> {
    let length = v8::Local::<v8::String>::try_from(source).map_or(0, |source| source.length());
    v8::ModifyCodeGenerationFromStringsResult {
        codegen_allowed: length <= MAX_EVALUATED_SOURCE_BYTES,
        modified_source: None,
    }
}

#[cfg(test)]
#[path = "isolate_tests.rs"]
mod tests;
