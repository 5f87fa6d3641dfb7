// SPDX-License-Identifier: Apache-2.0
//! What our patch 0009 of V8 does: a large page that an isolate leaves behind is used by the next
//! one, within a bound. One test, since the pool belongs to the whole process.
//!
//! A page that the kernel has to give anew faults once for each 4 KiB that is written; one that has
//! been used before does not.

/// Length of the string that an isolate holds, in bytes.
const STRING_BYTES: usize = 1 << 20;
/// Faults of a string in new memory.
const FAULTS_OF_NEW: u64 = (STRING_BYTES / 4096) as u64;
/// The bound of the pool in this test, in MiB; each string takes a page that is a little larger
/// than 1 MiB.
const POOL_MIB: usize = 8;

/// Page faults of this thread so far that needed no disk (`minflt` of proc(5)).
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("procfs is mounted");
    let (_, after_name) = stat.rsplit_once(')').expect("the name of the thread is in parentheses");
    // After the name come the fields 3 and up; `minflt` is the tenth.
    let field = after_name.split_whitespace().nth(10 - 3).expect("minflt");
    field.parse().expect("minflt is a number")
}

/// An isolate that holds a string of so many bytes, and the faults that making the string took.
fn isolate_with_string(bytes: &[u8]) -> (v8::OwnedIsolate, u64) {
    let mut isolate = v8::Isolate::new(v8::CreateParams::default());
    let taken = {
        v8::scope!(let scope, &mut isolate);
        let context = v8::Context::new(scope, v8::ContextOptions::default());
        let scope = &mut v8::ContextScope::new(scope, context);
        let before = faults();
        let string = v8::String::new_from_one_byte(scope, bytes, v8::NewStringType::Normal);
        let taken = faults() - before;
        assert_eq!(string.map(|string| string.length()), Some(bytes.len()));
        taken
    };
    (isolate, taken)
}

#[test]
fn an_isolate_leaves_its_large_pages_to_the_next_within_the_bound() {
    v8::icu::set_common_data_78(deno_core_icudata::ICU_DATA).expect("the ICU data fits V8's ICU");
    v8::V8::set_flags_from_string(&format!("--max-large-page-pool-size={POOL_MIB}"));
    v8::V8::initialize_platform(v8::new_default_platform(1, false).make_shared());
    v8::V8::initialize();
    let bytes = vec![b'x'; STRING_BYTES];

    let (first, taken) = isolate_with_string(&bytes);
    assert!(taken >= FAULTS_OF_NEW, "a new page faults: {taken}");
    let (second, taken) = isolate_with_string(&bytes);
    assert!(taken >= FAULTS_OF_NEW, "the first isolate still has its page: {taken}");
    drop(second);
    // The second one's end does not throw away what others have left, nor what it leaves itself.
    let (third, taken) = isolate_with_string(&bytes);
    assert!(taken < FAULTS_OF_NEW / 4, "the third isolate uses the second one's page: {taken}");
    drop(third);
    drop(first);

    // A page of more than twice the size would count against the heap's limit for nothing.
    let (small, taken) = isolate_with_string(&bytes[..STRING_BYTES / 4]);
    assert!(taken >= FAULTS_OF_NEW / 4, "a much shorter string gets a page of its own: {taken}");
    drop(small);

    let used_again = |isolates: &mut Vec<v8::OwnedIsolate>| {
        let (isolate, taken) = isolate_with_string(&bytes);
        isolates.push(isolate);
        taken < FAULTS_OF_NEW / 4
    };
    for expected in [2..=2, 5..=POOL_MIB] {
        let mut crowd = Vec::new();
        let again = (0..2 * POOL_MIB).filter(|_| used_again(&mut crowd)).count();
        assert!(expected.contains(&again), "{again} pages were used again, not {expected:?}");
        while let Some(last) = crowd.pop() {
            drop(last);
        }
    }
}
