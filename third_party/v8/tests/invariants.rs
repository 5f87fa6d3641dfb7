// SPDX-License-Identifier: Apache-2.0
//! What must stay true of the V8 that we build, whatever is upgraded: asked of V8 itself, and seen.

use std::sync::Once;

/// The status bits of `%GetOptimizationStatus`, from V8's runtime.h.
const MAGLEVVED: i64 = 1 << 4;
const TURBOFANNED: i64 = 1 << 5;
const BASELINE: i64 = 1 << 14;

/// The smallest reservation that V8 calls a sandbox on 64-bit Linux is far above this; a process
/// without one stays far below it.
const SANDBOX_RESERVATION_KIB: u64 = 64 << 20;
/// All of a full sandbox, in bytes: buffers cannot be further apart.
const SANDBOX_BYTES: u64 = 1 << 40;

unsafe extern "C" {
    fn v8__V8__IsSandboxEnabled() -> bool;
}

fn start_v8() {
    static START: Once = Once::new();
    START.call_once(|| {
        v8::icu::set_common_data_78(deno_core_icudata::ICU_DATA).expect("the ICU data fits V8's ICU");
        // Tests ask V8 how a function runs. Compilation on the calling thread makes the answer certain.
        v8::V8::set_flags_from_string("--allow-natives-syntax --no-concurrent-recompilation");
        v8::V8::initialize_platform(v8::new_default_platform(1, false).make_shared());
        v8::V8::initialize();
    });
}

/// Runs `source` as a script in a fresh isolate and hands its value to `look`.
fn evaluate<R>(source: &str, look: impl FnOnce(&mut v8::PinScope<'_, '_>, v8::Local<v8::Value>) -> R) -> R {
    start_v8();
    let isolate = &mut v8::Isolate::new(v8::CreateParams::default());
    v8::scope!(let scope, isolate);
    let context = v8::Context::new(scope, v8::ContextOptions::default());
    let scope = &mut v8::ContextScope::new(scope, context);
    let source = v8::String::new(scope, source).expect("the source fits a string");
    let script = v8::Script::compile(scope, source, None).expect("the source compiles");
    let value = script.run(scope).expect("the script does not throw");
    look(scope, value)
}

fn text(source: &str) -> String {
    evaluate(source, |scope, value| value.to_rust_string_lossy(scope))
}

fn integer(source: &str) -> i64 {
    evaluate(source, |scope, value| value.integer_value(scope).expect("the value is a number"))
}

/// The address of a fresh ArrayBuffer's memory.
fn buffer_address() -> u64 {
    evaluate("new ArrayBuffer(65536)", |_, value| {
        let buffer = v8::Local::<v8::ArrayBuffer>::try_from(value).expect("an ArrayBuffer");
        buffer.data().expect("the buffer has memory").as_ptr() as u64
    })
}

/// Virtual memory of this process, in KiB.
fn virtual_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs is mounted");
    let line = status.lines().find(|line| line.starts_with("VmSize:")).expect("VmSize is there");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("VmSize is a number")
}

#[test]
fn v8_says_that_its_sandbox_is_on() {
    start_v8();
    // SAFETY: the function of the binding takes nothing, returns a C++ bool, and only reads a constant.
    assert!(unsafe { v8__V8__IsSandboxEnabled() });
}

#[test]
fn buffers_of_different_isolates_lie_in_one_reserved_sandbox() {
    let (one, other) = (buffer_address(), buffer_address());
    assert!(one.abs_diff(other) < SANDBOX_BYTES, "{one:#x} and {other:#x} are not in one sandbox");
    assert!(virtual_memory_kib() > SANDBOX_RESERVATION_KIB, "nothing as large as a sandbox is reserved");
    // The test's own memory comes from the system and must not be in there.
    let own = Box::new([0u8; 65536]);
    assert!((own.as_ptr() as u64).abs_diff(one) > u64::from(u32::MAX), "buffers lie next to the program's own memory");
}

#[test]
fn pointers_in_the_heap_are_compressed_to_four_bytes() {
    const ELEMENTS: usize = 1_000_000;
    start_v8();
    let isolate = &mut v8::Isolate::new(v8::CreateParams::default());
    v8::scope!(let scope, isolate);
    let context = v8::Context::new(scope, v8::ContextOptions::default());
    let scope = &mut v8::ContextScope::new(scope, context);
    let before = scope.get_heap_statistics().used_heap_size();
    let source = format!("globalThis.kept = new Array({ELEMENTS}).fill(globalThis)");
    let source = v8::String::new(scope, &source).expect("the source fits a string");
    v8::Script::compile(scope, source, None)
        .and_then(|script| script.run(scope))
        .expect("the array is made");
    let grown = scope.get_heap_statistics().used_heap_size() - before;
    assert!(
        (ELEMENTS * 4..ELEMENTS * 6).contains(&grown),
        "{ELEMENTS} references took {grown} bytes"
    );
}

#[test]
fn web_assembly_does_not_exist() {
    assert_eq!(text("typeof WebAssembly"), "undefined");
}

#[test]
fn german_numbers_and_dates_have_german_form() {
    assert_eq!(text("(1234567.891).toLocaleString('de-DE')"), "1.234.567,891");
    assert_eq!(
        text("new Intl.DateTimeFormat('de-DE', {dateStyle: 'full', timeZone: 'UTC'}).format(0)"),
        "Donnerstag, 1. Januar 1970"
    );
}

#[test]
fn japanese_dates_have_japanese_form() {
    assert_eq!(
        text("new Intl.DateTimeFormat('ja-JP', {dateStyle: 'full', timeZone: 'UTC'}).format(0)"),
        "1970年1月1日木曜日"
    );
}

#[test]
fn turkish_upper_case_keeps_the_dot() {
    assert_eq!(text("'ilk'.toLocaleUpperCase('tr')"), "İLK");
    assert_eq!(text("'ILK'.toLocaleLowerCase('tr')"), "ılk");
}

#[test]
fn every_tier_compiles_a_hot_function() {
    let hot = "function hot(n) { let s = 0; for (let i = 0; i < n; i++) s = (s + i * i) | 0; return s }
        %PrepareFunctionForOptimization(hot); hot(100); hot(100);";
    let sparkplug = format!("{hot} %CompileBaseline(hot); hot(100); %GetOptimizationStatus(hot)");
    assert_ne!(integer(&sparkplug) & BASELINE, 0, "Sparkplug did not compile it");
    let maglev = format!("{hot} %OptimizeMaglevOnNextCall(hot); hot(100); %GetOptimizationStatus(hot)");
    assert_ne!(integer(&maglev) & MAGLEVVED, 0, "Maglev did not compile it");
    let turbofan = format!("{hot} %OptimizeFunctionOnNextCall(hot); hot(100); %GetOptimizationStatus(hot)");
    assert_ne!(integer(&turbofan) & TURBOFANNED, 0, "TurboFan did not compile it");
}

#[test]
fn a_hot_loop_is_compiled_without_being_asked_to() {
    let status = integer(
        "function loop(n) { let s = 0; for (let i = 0; i < n; i++) s = (s + i * i) | 0; return s }
         for (let i = 0; i < 2000; i++) loop(2000);
         %GetOptimizationStatus(loop)",
    );
    assert_ne!(status & (MAGLEVVED | TURBOFANNED), 0, "status {status:#b}");
}
