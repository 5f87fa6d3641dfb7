// SPDX-License-Identifier: Apache-2.0
//! V8 as a whole: set up once in a process, and what it does when it cannot go on.

use std::ffi::{CStr, c_char};
use std::io;
use std::sync::OnceLock;

use crate::limits::LEFT_LARGE_PAGES_MIB;

/// Where V8 does the work that scripts need not wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helpers {
    /// On a thread of V8's own, which all isolates of the process share.
    Thread,
    /// On the isolate's thread: the process has no other, so that it can be forked.
    None,
}

/// Whether V8 makes machine code of scripts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Jit {
    /// It does, where that is worth it: scripts that compute run many times faster.
    #[default]
    On,
    /// It does not, and needs no memory that can be both written and executed.
    Off,
}

/// Why V8 ends the process.
#[derive(Debug, Clone, Copy)]
pub enum LastWords<'a> {
    /// It found no memory to go on with.
    OutOfMemory {
        /// Where in V8.
        location: &'a str,
        /// What V8 says about it; may be empty.
        detail: &'a str,
        /// Whether it was the bound of its own heap that was reached.
        heap: bool,
    },
    /// It found itself broken.
    Broken {
        /// The source file of V8; may be empty.
        file: &'a str,
        /// The line in that file.
        line: i32,
        /// What V8 says about it.
        message: &'a str,
    },
}

/// Told why V8 ends the process, which it does as soon as this returns. Called where V8's heap may be
/// broken and no memory may be left.
pub type LastWordsHook = fn(LastWords<'_>);

static HOOK: OnceLock<LastWordsHook> = OnceLock::new();

/// V8's flags, each with its reason. A V8 that does not know one goes without it.
const FLAGS: [&str; 3] = [
    // Safety: in 15.2 this optimisation takes the interrupt check out of the wrong loop. With it on,
    // `for (;;) new Array(1000).fill(1);` can neither be terminated nor bounded in its memory.
    "--no-turboshaft-loop-unrolling",
    // The scripts' surface has Temporal where V8 has it; V8 may keep it behind this flag.
    "--harmony-temporal",
    // Safety: the fast path gathers its result outside of V8's heap, where no bound sees it.
    "--no-json-stringify-fast-path",
];

/// Flags of a V8 without helper threads.
const WITHOUT_HELPERS: [&str; 2] = [
    "--single-threaded",
    // Speed: a script's own thread collects its garbage, and each collection of young objects costs what survives it. For
    // a heap of 64 MiB V8 would have them every few hundred KiB; in the benchmark of the collector that takes 1.8
    // times as long. In MiB, and as all of V8's heap within the bound of the process's memory.
    "--max-semi-space-size=16",
];

/// A flag that the build asks for beside those, and for itself alone: `--config=debug` has V8 verify its heap.
const FLAG_OF_THE_BUILD: Option<&str> = option_env!("CODE_MODE_V8_FLAG");

/// Sets V8 up. To be called once in a process, on the thread that then makes all threads of isolates:
/// V8 guards its tables with a memory protection key, and a thread inherits access to it from the
/// thread that made it.
///
/// # Errors
/// When ICU refuses the data that this crate carries for it.
pub fn set_up(helpers: Helpers, jit: Jit) -> Result<(), String> {
    v8::icu::set_common_data_78(deno_core_icudata::ICU_DATA)
        .map_err(|code| format!("ICU refused its data with error {code}"))?;
    let bound = format!("--max-large-page-pool-size={LEFT_LARGE_PAGES_MIB}");
    let single_threaded = match helpers {
        Helpers::Thread => None,
        Helpers::None => Some(WITHOUT_HELPERS),
    };
    let interpreted = match jit {
        Jit::On => None,
        Jit::Off => Some("--jitless"),
    };
    let flags = ["v8", &bound]
        .into_iter()
        .chain(FLAGS)
        .chain(single_threaded.into_iter().flatten())
        .chain(interpreted)
        .chain(FLAG_OF_THE_BUILD)
        .map(str::to_owned)
        .collect();
    for flag in v8::V8::set_flags_from_command_line(flags).iter().skip(1) {
        tracing::debug!(flag, "this V8 does not know the flag");
    }
    v8::V8::set_entropy_source(entropy);
    v8::V8::set_fatal_error_handler(broken);
    let platform = match helpers {
        Helpers::Thread => v8::new_default_platform(1, false),
        Helpers::None => v8::new_single_threaded_default_platform(false),
    };
    v8::V8::initialize_platform(platform.make_shared());
    v8::V8::initialize();
    Ok(())
}

/// Has this told why V8 ends the process, instead of the log. Only the first call counts.
pub fn set_last_words(hook: LastWordsHook) {
    // A second hook would be one too many in a process that does one thing.
    let _ = HOOK.set(hook);
}

/// The version of V8.
pub fn version() -> &'static str {
    v8::V8::get_version()
}

/// Whether V8's sandbox is on. V8 has to be set up.
pub fn sandbox_enabled() -> bool {
    // SAFETY: the function takes nothing and only reads a flag of V8, which is set up.
    unsafe { v8__V8__IsSandboxEnabled() }
}

/// Seeds the generators of random numbers of a context and of its isolate.
pub(crate) fn seed(context: &v8::Context, seed: i64) {
    // SAFETY: a reference to a context is what V8 knows as a handle to it, and the context is entered
    // on this thread.
    unsafe { code_mode__Context__SeedRandom(context, seed) };
}

/// V8's source of seeds. False when the kernel gives none.
fn entropy(buffer: &mut [u8]) -> bool {
    fill_random(buffer).is_ok()
}

/// Fills a buffer from the kernel's own generator.
pub(crate) fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is a writable slice of the length that is passed.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        filled += usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    }
    Ok(())
}

/// V8 has found itself broken; the reason is told and the process ends at once.
fn broken(file: &str, line: i32, message: &str) {
    match HOOK.get() {
        Some(hook) => hook(LastWords::Broken {
            file,
            line,
            message,
        }),
        None => tracing::error!(file, line, message, "V8 aborts the process"),
    }
    std::process::abort();
}

/// V8 cannot go on and there is no way out of it but to end the process; the reason is told.
pub(crate) unsafe extern "C" fn out_of_memory(location: *const c_char, details: &v8::OomDetails) {
    // SAFETY: V8 passes NUL-terminated static strings, or null.
    let text = |pointer: *const c_char| match unsafe { pointer.as_ref() } {
        // SAFETY: as above.
        Some(_) => unsafe { CStr::from_ptr(pointer) }
            .to_str()
            .unwrap_or_default(),
        None => "",
    };
    let (location, detail) = (text(location), text(details.detail));
    let heap = details.is_heap_oom;
    match HOOK.get() {
        Some(hook) => hook(LastWords::OutOfMemory {
            location,
            detail,
            heap,
        }),
        None => tracing::error!(
            location,
            detail,
            heap,
            "V8 is out of memory and aborts the process"
        ),
    }
    std::process::abort();
}

unsafe extern "C" {
    /// Part of the V8 crate's C interface, which has no Rust wrapper for it.
    fn v8__V8__IsSandboxEnabled() -> bool;

    /// Of our own binding, `third_party/v8/overlays/code_mode_binding.cc`.
    fn code_mode__Context__SeedRandom(context: *const v8::Context, seed: i64);
}

/// Runs a test on a thread that may enter isolates.
#[cfg(test)]
pub(crate) fn with_v8(test: impl FnOnce() + Send) {
    use std::sync::{Mutex, PoisonError};

    static ONE_AT_A_TIME: Mutex<bool> = Mutex::new(false);
    let mut is_set_up = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !std::mem::replace(&mut is_set_up, true) {
        set_up(Helpers::Thread, Jit::On).expect("V8 is set up");
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(crate::limits::THREAD_STACK_BYTES)
            .spawn_scoped(scope, test)
            .expect("a thread");
        thread.join().expect("the test passes");
    });
}
