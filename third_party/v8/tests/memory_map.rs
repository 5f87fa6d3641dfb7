// SPDX-License-Identifier: Apache-2.0
//! What our patches of V8 do to a process's memory map: address space that isolates leave to each
//! other, and holes that stay unmapped. One test, since it counts what the whole process has mapped.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a pointer table that are accessible at first: its read-only segments, then its pool.
const READ_ONLY_BYTES: u64 = 64 << 10;
const POOL_BYTES: u64 = 64 << 10;
/// The smallest pointer table reserves this much, in bytes.
const SMALLEST_TABLE_BYTES: u64 = 64 << 20;
/// Tables of one isolate: external pointers and trusted pointers twice (its own and the shared ones),
/// embedder pointers, JavaScript functions.
const TABLES_OF_AN_ISOLATE: usize = 6;
/// Kinds of tables, and how many reservations of each kind V8 keeps (patch 0008).
const KINDS: usize = 4;
const SPARES_OF_A_KIND: usize = 16;
/// The payload of a hole, in bytes (V8's `Hole::kPayloadSize`).
const HOLE_BYTES: u64 = 64 << 10;

/// A piece of the memory map: where it begins and ends, and what may be done there.
struct Piece {
    start: u64,
    end: u64,
    access: String,
}

impl Piece {
    fn is(&self, access: &str, bytes: u64) -> bool {
        self.access == access && self.end - self.start == bytes
    }
}

fn memory_map() -> Vec<Piece> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs is mounted");
    let piece = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        Some(Piece {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            access: words.next()?.to_owned(),
        })
    };
    maps.lines().map(|line| piece(line).expect("a line of the map")).collect()
}

/// The addresses of all pointer tables that have not outgrown their first segments, used or spare.
fn tables() -> Vec<u64> {
    let map = memory_map();
    let neighbours = map.windows(3).filter_map(|pieces| match pieces {
        [read_only, pool, rest]
            if read_only.is("r--p", READ_ONLY_BYTES)
                && pool.is("rw-p", POOL_BYTES)
                && rest.access == "---p"
                && rest.end - read_only.start >= SMALLEST_TABLE_BYTES
                && read_only.end == pool.start
                && pool.end == rest.start =>
        {
            Some(read_only.start)
        }
        _ => None,
    });
    neighbours.collect()
}

/// How many holes of the read-only heap are unmapped: inaccessible islands in read-only memory.
fn unmapped_holes() -> usize {
    let map = memory_map();
    let islands = map.windows(3).filter(|pieces| match pieces {
        [before, hole, after] => {
            before.access == "r--p"
                && hole.is("---p", HOLE_BYTES)
                && after.access == "r--p"
                && before.end == hole.start
                && hole.end == after.start
        }
        _ => false,
    });
    islands.count()
}

fn isolate() -> v8::OwnedIsolate {
    let mut isolate = v8::Isolate::new(v8::CreateParams::default());
    {
        v8::scope!(let scope, &mut isolate);
        let context = v8::Context::new(scope, v8::ContextOptions::default());
        let scope = &mut v8::ContextScope::new(scope, context);
        let source = "[1, 2, 3].map((n) => ({ n, later: () => n })).length";
        let source = v8::String::new(scope, source).expect("the source fits a string");
        let value = v8::Script::compile(scope, source, None).and_then(|script| script.run(scope));
        assert_eq!(value.and_then(|value| value.integer_value(scope)), Some(3));
    }
    isolate
}

#[test]
fn isolates_leave_empty_tables_to_each_other_and_never_a_mapped_hole() {
    v8::icu::set_common_data_78(deno_core_icudata::ICU_DATA).expect("the ICU data fits V8's ICU");
    v8::V8::initialize_platform(v8::new_default_platform(1, false).make_shared());
    v8::V8::initialize();
    assert_eq!((tables().len(), unmapped_holes()), (0, 0), "V8 has no isolate yet");

    let first = isolate();
    let holes = unmapped_holes();
    assert!(holes > 0, "the first isolate unmaps the holes");
    let second = isolate();
    assert_eq!(unmapped_holes(), holes, "the second one has the same read-only heap");
    drop(second);
    drop(first);

    let spare = tables();
    assert_eq!(spare.len(), 2 * TABLES_OF_AN_ISOLATE, "both have left their tables");
    let memory = File::open("/proc/self/mem").expect("procfs is mounted");
    for table in &spare {
        let mut bytes = vec![1; (READ_ONLY_BYTES + POOL_BYTES) as usize];
        memory.read_exact_at(&mut bytes, *table).expect("a spare table can be read");
        assert!(bytes.iter().all(|byte| *byte == 0), "the table at {table:#x} is not empty");
    }

    let third = isolate();
    assert_eq!(tables(), spare, "the third one uses tables that were left");
    assert_eq!(unmapped_holes(), holes, "a new read-only heap has its holes unmapped too");
    drop(third);
    assert_eq!(tables(), spare);

    let mut crowd: Vec<v8::OwnedIsolate> = std::iter::repeat_with(isolate).take(2 * SPARES_OF_A_KIND).collect();
    while let Some(last) = crowd.pop() {
        drop(last);
    }
    assert_eq!(tables().len(), KINDS * SPARES_OF_A_KIND, "no more are kept than the bound says");
}
