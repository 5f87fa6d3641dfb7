// SPDX-License-Identifier: Apache-2.0
//! The bounds of zygotes and of what comes from their children.

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{CellLimits, ContentItem};
use code_mode_engine::ScriptOptions;
use code_mode_engine::limits::{DEFAULT_HEAP_BYTES, EffectiveLimits};
use code_mode_engine::platform::Jit;
use code_mode_fork::{
    CellMemory, Confinement, DeathNote, FromCell, Lifespan, Link, LinkError, LinkReader, Nursery,
    NurseryConfig, Program, Run, Starter, ToCell,
};
use pretty_assertions::assert_eq;

/// How long anything may take that is waited for here.
const GUARD: Duration = Duration::from_secs(60);

/// The longest text that a cell says here, bytes.
const LONGEST_TEXT: u64 = 1 << 10;

fn config() -> NurseryConfig {
    NurseryConfig {
        heap_bytes: DEFAULT_HEAP_BYTES,
        data_bytes: CellMemory::for_limits(DEFAULT_HEAP_BYTES, DEFAULT_HEAP_BYTES).bytes,
        ready: 0,
        confinement: Confinement::BestEffort,
        jit: Jit::On,
        lifespan: Lifespan::default(),
    }
}

fn nursery(config: NurseryConfig) -> Nursery {
    let program = Program::At(env!("CARGO_BIN_EXE_hostile_cell").into());
    let starter = Starter::start(&program).expect("a starter starts");
    let handle = tokio::runtime::Handle::current();
    Nursery::new(Arc::new(starter), config, &handle)
}

/// A child, with the zygote that bore it.
async fn child(nursery: &Nursery) -> (Link, LinkReader, i32) {
    let child = nursery.birth().await.expect("a process is born");
    let (link, reader) = child.link().expect("a reactor runs");
    // SAFETY: the call takes a number.
    let zygote = unsafe { libc::getpgid(link.process().pid()) };
    assert!(zygote > 0, "the child was not reaped");
    (link, reader, zygote)
}

/// Has a child run this script.
fn run(link: &Link, reader: &mut LinkReader, source: &str) {
    reader.set_bounds(LONGEST_TEXT, Duration::ZERO);
    link.send(&ToCell::Run(Box::new(Run {
        source: source.to_owned(),
        limits: EffectiveLimits::of_operator(&CellLimits::default(), 1 << 20, 1 << 20),
        answer_spin: Duration::ZERO,
        options: ScriptOptions::default(),
        tools: Vec::new(),
        stored: Some(Vec::new()),
    })));
}

async fn next(link: &Link, reader: &mut LinkReader) -> Result<Option<FromCell>, LinkError> {
    let next = tokio::time::timeout(GUARD, reader.next(link, false)).await;
    next.expect("the cell says something")
}

#[tokio::test]
async fn a_zygote_is_replaced_after_so_many_births_and_its_children_live_on() {
    const BIRTHS: u64 = 5;
    let nursery = nursery(NurseryConfig {
        lifespan: Lifespan {
            births: BIRTHS,
            ..Lifespan::default()
        },
        ..config()
    });
    let (link, mut reader, first) = child(&nursery).await;
    let begun = Instant::now();
    let mut births = 1;
    let second = loop {
        let (_, _, zygote) = child(&nursery).await;
        if zygote != first {
            break zygote;
        }
        births += 1;
        assert!(begun.elapsed() < GUARD, "it is never replaced");
    };
    assert!(births >= BIRTHS, "it is replaced after {births} births");
    // So is the next.
    while child(&nursery).await.2 == second {
        assert!(begun.elapsed() < GUARD, "it is never replaced");
    }
    run(&link, &mut reader, "text('still here')");
    let said = next(&link, &mut reader).await.expect("it makes sense");
    let Some(FromCell::Output(ContentItem::Text(text))) = said else {
        panic!("it said {said:?}");
    };
    assert_eq!(text, "still here");
}

#[tokio::test]
async fn a_zygote_is_replaced_at_its_age_though_nobody_is_born() {
    const AGE: Duration = Duration::from_secs(1);
    let begun = Instant::now();
    let nursery = nursery(NurseryConfig {
        lifespan: Lifespan {
            age: AGE,
            ..Lifespan::default()
        },
        ..config()
    });
    let (link, _, first) = child(&nursery).await;
    link.process().kill();
    link.reap().await.expect("it is reaped");
    // Nothing else is in its group, which is gone with it.
    // SAFETY: the call takes two numbers, and sends nothing.
    while unsafe { libc::kill(-first, 0) } == 0 {
        assert!(begun.elapsed() < GUARD, "it is never replaced");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() >= AGE, "{:?}", begun.elapsed());
    assert_ne!(child(&nursery).await.2, first);
}

#[tokio::test]
async fn a_message_that_is_longer_than_a_cell_may_send_is_not_taken() {
    let nursery = nursery(config());
    for (length, is_taken) in [(LONGEST_TEXT, true), (1 << 20, false)] {
        let (link, mut reader, _) = child(&nursery).await;
        run(&link, &mut reader, &format!("text('x'.repeat({length}))"));
        match next(&link, &mut reader).await {
            Ok(Some(FromCell::Output(ContentItem::Text(text)))) if is_taken => {
                assert_eq!(text.len() as u64, length);
            }
            Err(LinkError::TooLong {
                length: announced,
                maximum,
            }) if !is_taken => {
                assert!(announced >= length, "{announced}");
                assert!(maximum >= LONGEST_TEXT && maximum < length, "{maximum}");
            }
            other => panic!("{length} bytes gave {other:?}"),
        }
    }
}

/// How much memory of its own a process has, bytes.
fn own_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it was not reaped");
    let kib = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmData:")?.trim().strip_suffix(" kB")?;
        kib.parse::<u64>().ok()
    });
    // One that has ended has none.
    kib.map_or(0, |kib| kib << 10)
}

/// Has a cell take memory that V8 does not count until it has no more: how often it said that it has taken
/// some, and the most that it was seen to have.
async fn fill(data_bytes: u64) -> (u64, u64) {
    let nursery = nursery(NurseryConfig {
        data_bytes,
        ..config()
    });
    let (link, mut reader, _) = child(&nursery).await;
    let source = "const kept = []; for (;;) {
            for (let i = 0; i < 20; i++) kept.push(new Intl.DateTimeFormat('de'));
            text('more');
        }";
    run(&link, &mut reader, source);
    let (mut said, mut most) = (0, 0);
    loop {
        match next(&link, &mut reader).await.expect("it makes sense") {
            Some(FromCell::Output(_)) => {
                said += 1;
                most = most.max(own_memory(link.process().pid()));
            }
            Some(FromCell::Note(DeathNote::OutOfMemory(_) | DeathNote::Aborted)) => {
                return (said, most);
            }
            other => panic!("it said {other:?}"),
        }
    }
}

#[tokio::test]
#[cfg_attr(
    address_sanitizer,
    ignore = "the sanitizer's shadow of all memory leaves no room for the bound, and this fills memory up to it"
)]
async fn the_kernel_bounds_memory_that_v8_knows_nothing_of() {
    let enough = CellMemory::for_limits(DEFAULT_HEAP_BYTES, 0).bytes;
    let more = CellMemory::for_limits(DEFAULT_HEAP_BYTES, DEFAULT_HEAP_BYTES).bytes;
    let (said, most) = fill(enough).await;
    let almost_all = enough / 10 * 9..=enough;
    assert!(almost_all.contains(&most), "{most} of {enough} bytes");
    let (said_with_more, most) = fill(more).await;
    assert!(most <= more, "{most} of {more} bytes");
    assert!(said_with_more > said, "{said_with_more} and {said}");
}
