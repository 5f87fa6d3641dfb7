// SPDX-License-Identifier: Apache-2.0
//! What hours of mixed work do to one host: memory, descriptors, processes and answer times, as CSV.
//!
//! Some clients work at the same time, each in a session of its own, and each chooses its next piece of work by
//! chance ([`work`]): short scripts, tools, floods, limits, terminates, and kills of cells' processes. At each sample
//! one line is printed. At the end the host is left alone for a moment and looked at once more: it must have come
//! back to what it was after the warm-up, and every answer must have been right.

mod watch;
mod work;

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{SessionError, SessionOptions, SessionProvider};
use code_mode_client::{ProcessSessionProvider, ProviderConfig};

use watch::{Reading, Watched};
use work::{Outcome, Tools, Work, Worker};

/// What the address sanitizer keeps of what a host has freed, to see who reads it still, KiB.
const QUARANTINE_KIB: u64 = if cfg!(address_sanitizer) {
    256 << 10
} else {
    0
};

/// What the host's memory may have grown by since the warm-up, KiB.
const GROWTH_KIB: u64 = (16 << 10) + QUARANTINE_KIB;

/// What the host's descriptors and processes may be more than after the warm-up: cells that are being replaced.
const MORE: usize = 8;

/// How often a host that was left alone is looked at until it is at rest, and the pause between two looks.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Wrong answers that are printed; the others are counted.
const SHOWN: usize = 20;

/// How a soak goes.
#[derive(Debug, Clone)]
pub struct SoakOptions {
    /// The host program and its arguments.
    pub host: ProviderConfig,
    /// Until no more work is begun.
    pub duration: Duration,
    /// Between two lines.
    pub sample: Duration,
    /// Clients that work at the same time.
    pub workers: u64,
}

/// What was counted since the last line.
#[derive(Default)]
struct Counts {
    done: u64,
    killed: u64,
    wrong: u64,
    shown: Vec<String>,
    answers: Vec<Duration>,
    slowest: Option<(Duration, Work)>,
}

/// Soaks a host; gives what is wrong with it, which should be nothing.
///
/// # Errors
/// When the host cannot be had, or is lost.
///
/// # Panics
/// When `output` cannot be written.
pub async fn soak(
    options: &SoakOptions,
    output: &mut (dyn Write + Send),
) -> Result<Vec<String>, SessionError> {
    let provider = Arc::new(ProcessSessionProvider::new(options.host.clone()));
    let info = provider.probe().await?;
    let host = Watched(info.process_id.unwrap_or_default());
    let counts = Arc::new(Mutex::new(Counts::default()));
    line(
        output,
        "seconds,done,killed,wrong,resident_kib,descriptors,threads,processes,median_us,p99_us,worst_us,slowest,slowest_ms",
    );
    let begun = Instant::now();
    // One of each, so that whatever is made at its first use is there.
    work_until(&provider, host, &counts, 1, Stop::After(100)).await?;
    let warm = at_rest(host).await?;
    print(output, begun, warm, &counts);
    let mut wrong = Vec::new();
    let until = Instant::now() + options.duration;
    let work = work_until(&provider, host, &counts, options.workers, Stop::At(until));
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                done?;
                break;
            }
            () = tokio::time::sleep(options.sample) => {}
        }
        print(output, begun, read(host)?, &counts);
        wrong.append(&mut lock(&counts).shown);
    }
    let last = at_rest(host).await?;
    print(output, begun, last, &counts);
    wrong.append(&mut lock(&counts).shown);
    wrong.extend(differences(warm, last));
    provider.shutdown().await;
    Ok(wrong)
}

/// When the workers stop.
#[derive(Clone, Copy)]
enum Stop {
    At(Instant),
    After(u64),
}

async fn work_until(
    provider: &Arc<ProcessSessionProvider>,
    host: Watched,
    counts: &Arc<Mutex<Counts>>,
    workers: u64,
    stop: Stop,
) -> Result<(), SessionError> {
    let mut tasks = tokio::task::JoinSet::new();
    for seed in 1..=workers {
        let provider = Arc::clone(provider) as Arc<dyn SessionProvider>;
        let session = provider
            .open_session(SessionOptions::default(), Arc::new(Tools))
            .await?;
        let worker = Worker {
            session,
            provider,
            host,
        };
        let counts = Arc::clone(counts);
        tasks.spawn(async move {
            let mut chance = Chance(seed);
            for round in 0.. {
                let (over, work) = match stop {
                    Stop::At(until) => (Instant::now() >= until, chance.next()),
                    // Every kind has its turn within a hundred.
                    Stop::After(rounds) => (round >= rounds, round),
                };
                if over {
                    break;
                }
                let work = Work::chosen(work);
                let begun = Instant::now();
                let outcome = worker.work(work, chance.next()).await;
                lock(&counts).note(work, begun.elapsed(), outcome);
            }
            worker.session.shutdown().await
        });
    }
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok(done) => done?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    Ok(())
}

impl Counts {
    fn note(&mut self, work: Work, took: Duration, outcome: Outcome) {
        self.done += 1;
        if self.slowest.is_none_or(|(slowest, _)| took > slowest) {
            self.slowest = Some((took, work));
        }
        match outcome {
            Outcome::Right(took) => self.answers.extend(took),
            Outcome::Killed => self.killed += 1,
            Outcome::Wrong(what) => {
                self.wrong += 1;
                if self.shown.len() < SHOWN {
                    self.shown.push(what);
                }
            }
        }
    }
}

/// Numbers by chance, the same in each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // The generator splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

fn print(output: &mut (dyn Write + Send), begun: Instant, now: Reading, counts: &Mutex<Counts>) {
    let mut counts = lock(counts);
    let mut answers = std::mem::take(&mut counts.answers);
    answers.sort_unstable();
    let at = |part: usize| {
        let index = answers.len().saturating_sub(1) * part / 100;
        answers.get(index).map_or(0, Duration::as_micros)
    };
    let slowest = counts.slowest.take();
    let (kind, slowest) = slowest.map_or((String::new(), 0), |(took, work)| {
        (format!("{work:?}"), took.as_millis())
    });
    let Counts {
        done,
        killed,
        wrong,
        ..
    } = &*counts;
    let Reading {
        resident_kib,
        descriptors,
        threads,
        processes,
    } = now;
    let seconds = begun.elapsed().as_secs();
    line(
        output,
        &format!(
            "{seconds},{done},{killed},{wrong},{resident_kib},{descriptors},{threads},{processes},{},{},{},{kind},{slowest}",
            at(50),
            at(99),
            at(100)
        ),
    );
}

fn line(output: &mut (dyn Write + Send), text: &str) {
    writeln!(output, "{text}").expect("the output takes what is printed");
}

/// Waits until a host that is left alone is at rest, for a bounded time: its cells are replaced then.
async fn at_rest(host: Watched) -> Result<Reading, SessionError> {
    let mut last = read(host)?;
    for _ in 0..LOOKS {
        tokio::time::sleep(PAUSE).await;
        let now = read(host)?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last)
}

fn read(host: Watched) -> Result<Reading, SessionError> {
    host.read().map_err(|error| SessionError::RuntimeLost {
        cause: format!("Failed to read what the kernel says of the host: {error}"),
        side_effects: code_mode_api::SideEffects::Possible,
    })
}

/// In what a host that was soaked differs from one that was just warmed up.
fn differences(warm: Reading, last: Reading) -> Vec<String> {
    let mut found = Vec::new();
    if last.resident_kib > warm.resident_kib + GROWTH_KIB {
        found.push(format!(
            "the host's memory has grown from {} to {} KiB",
            warm.resident_kib, last.resident_kib
        ));
    }
    for (what, before, after) in [
        ("descriptors", warm.descriptors, last.descriptors),
        ("threads", warm.threads, last.threads),
        ("processes", warm.processes, last.processes),
    ] {
        if after > before + MORE {
            found.push(format!(
                "the host's {what} have grown from {before} to {after}"
            ));
        }
    }
    found
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // Nothing panics while the lock is held, so a poisoned state is still whole.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_work_has_its_turn_in_the_warm_up_and_a_kill_is_the_last() {
        let kinds: Vec<Work> = (0..100).map(Work::chosen).collect();
        for work in [
            Work::Short,
            Work::CallFlood,
            Work::HeapLimit,
            Work::Session,
            Work::Kill,
        ] {
            assert!(kinds.contains(&work), "{work:?}");
        }
        assert_eq!(kinds.last(), Some(&Work::Kill));
    }

    #[test]
    fn a_host_that_has_kept_what_it_should_have_given_back_is_found() {
        let warm = Reading {
            resident_kib: 10_000,
            descriptors: 20,
            threads: 5,
            processes: 6,
        };
        assert_eq!(differences(warm, warm), Vec::<String>::new());
        let grown = Reading {
            resident_kib: 10_001 + GROWTH_KIB,
            descriptors: 60,
            ..warm
        };
        assert_eq!(
            differences(warm, grown),
            [
                format!(
                    "the host's memory has grown from 10000 to {} KiB",
                    grown.resident_kib
                ),
                "the host's descriptors have grown from 20 to 60".to_owned()
            ]
        );
    }
}
