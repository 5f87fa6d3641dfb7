// SPDX-License-Identifier: Apache-2.0
//! A simulated host and simulated callers play against the whole client, from the provider down to
//! the frames: in memory, in virtual time, and the same way each time for one seed.
//!
//! Each seed checks that every call ends, that output is neither lost nor given twice, that a host
//! which keeps to the contract is never accused, and that nothing is left at the end: no host, no
//! delegate future, no open cell, no reference to the delegate.
//! `CODE_MODE_SEED=N` replays one seed; `CODE_MODE_SEEDS=N` plays so many.

mod breach;
mod delegate;
mod fault;
mod host;
mod puppet;
mod rng;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CellId, CellResponse, CellStatus, CodeModeSession, ContentItem, ExecuteRequest,
    ReadOutputRequest, SessionDelegate, SessionError, SessionOptions, SessionProvider, WaitRequest,
};
use tokio::time::timeout;

use crate::CANCEL_GRACE;
use crate::config::{Deadlines, Isolation, ProviderConfig};
use crate::hosts::Launcher;
use crate::process::{Link, SpawnError};
use crate::provider::ProcessSessionProvider;
use delegate::Delegate;
use fault::{FAULTS, Fault};
use host::Counters;
use rng::Rng;

/// Seeds of an ordinary run.
const SEEDS: u64 = 10_000;
/// Virtual time after which a call counts as hung; every deadline is far below it.
const HUNG: Duration = Duration::from_secs(3600);
/// Real time that a thread of the machine has for a moment's work.
const REAL_GUARD: Duration = Duration::from_secs(30);

struct SimulatedLauncher {
    rng: Mutex<Rng>,
    fault: Option<Fault>,
    counters: Arc<Counters>,
}

impl Launcher for SimulatedLauncher {
    fn launch(&self) -> BoxFuture<'_, Result<Link, SpawnError>> {
        let (rng, faulty) = {
            let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
            (Rng::new(rng.next()), rng.percent(70))
        };
        let link = host::launch(rng, self.fault.filter(|_| faulty), &self.counters);
        Box::pin(async move { Ok(link) })
    }
}

fn config(rng: &mut Rng) -> ProviderConfig {
    let mut config = ProviderConfig::new("simulated");
    if rng.percent(30) {
        config.isolation = Isolation::PerSession;
    }
    config.keep_spare = rng.percent(20);
    config.deadlines = Deadlines {
        startup: Duration::from_secs(2),
        shutdown: Duration::from_secs(1),
        call: Duration::from_secs(5),
        write: Duration::from_secs(3),
    };
    if rng.percent(30) {
        config.limits.max_calls = 1;
        config.limits.max_outgoing_bytes = 1;
    }
    if rng.percent(10) {
        config.limits.max_delegate_calls = 1;
    }
    config
}

/// One caller: does a few things with a session, impatiently.
struct Caller {
    session: Arc<dyn CodeModeSession>,
    rng: Rng,
    /// Whether a host that keeps to the contract serves this session.
    honest: bool,
    seed: u64,
}

impl Caller {
    async fn run(mut self) {
        for _ in 0..1 + self.rng.below(3) {
            match self.rng.below(13) {
                0 => {
                    let result = self.ends(self.session.export_store()).await;
                    self.judge(result.err());
                }
                1 => {
                    let result = self.ends(self.session.import_store(BTreeMap::new())).await;
                    self.judge(result.err());
                }
                12 => {
                    let result = self.ends(self.session.list_cells()).await;
                    self.judge(result.err());
                }
                2 => {
                    // Nobody has this cell, and nobody may start a host for it.
                    let result = self.ends(self.session.terminate(CellId::new("9.9"))).await;
                    self.judge(result.err());
                }
                3 => {
                    let impatience = Duration::from_micros(self.rng.below(4000));
                    let execute = self.session.execute(ExecuteRequest::new("dropped"));
                    // The cell must be ended by the client itself if it has started.
                    drop(timeout(impatience, execute).await);
                }
                _ => self.follow_a_cell().await,
            }
        }
        if self.rng.percent(10) {
            let result = self.ends(self.session.shutdown()).await;
            self.judge(result.err());
        }
    }

    async fn follow_a_cell(&mut self) {
        let request = ExecuteRequest::new("follow");
        let started = match self.ends(self.session.execute(request)).await {
            Ok(started) => started,
            Err(error) => return self.judge(Some(error)),
        };
        let cell_id = started.cell_id;
        let mut texts = Texts::default();
        let mut first = Some(started.first_response);
        loop {
            let patient = self.rng.percent(60);
            let observation: BoxFuture<'_, _> = match first.take() {
                Some(first) => first,
                None if self.rng.percent(10) => self.session.terminate(cell_id.clone()),
                None => {
                    let yield_time = Some(Duration::from_millis(self.rng.below(20)));
                    self.session.wait(WaitRequest {
                        cell_id: cell_id.clone(),
                        yield_time,
                    })
                }
            };
            let response = if patient {
                ends(self.seed, observation).await
            } else {
                let impatience = Duration::from_micros(self.rng.below(4000));
                match timeout(impatience, observation).await {
                    Ok(response) => response,
                    // Dropped; what it would have got must come with the next one.
                    Err(_) => continue,
                }
            };
            match response {
                Ok(response) => {
                    texts.take(self.seed, &response);
                    if self.rng.percent(10) {
                        let request = ReadOutputRequest {
                            cell_id: cell_id.clone(),
                            offset: 0,
                            max_bytes: 1,
                        };
                        let read = self.ends(self.session.read_output(request)).await;
                        self.judge(read.err());
                    }
                    if response.status != CellStatus::Yielded {
                        return;
                    }
                }
                Err(error) => return self.judge(Some(error)),
            }
        }
    }

    async fn ends<T>(&self, call: impl Future<Output = T>) -> T {
        ends(self.seed, call).await
    }

    /// An honest host is never accused, so no error may speak of a loss; except where the other
    /// caller has shut the session down, and its own host with it.
    fn judge(&self, error: Option<SessionError>) {
        let Some(error) = error else { return };
        let lost = matches!(
            error,
            SessionError::RuntimeLost { .. }
                | SessionError::StartFailed { .. }
                | SessionError::CellLost { .. }
        );
        let lost = lost
            && !error
                .to_string()
                .contains("its owner was dropped or shut down");
        assert!(
            !(self.honest && lost),
            "seed {}: an honest host was lost: {error}",
            self.seed
        );
    }
}

async fn ends<T>(seed: u64, call: impl Future<Output = T>) -> T {
    match timeout(HUNG, call).await {
        Ok(value) => value,
        Err(_) => panic!("seed {seed}: a call hangs"),
    }
}

/// The numbered texts of one cell.
#[derive(Default)]
struct Texts {
    next: u64,
}

impl Texts {
    fn take(&mut self, seed: u64, response: &CellResponse) {
        for item in &response.content_items {
            let expected = ContentItem::Text(self.next.to_string());
            assert_eq!(*item, expected, "seed {seed}: output lost or given twice");
            self.next += 1;
        }
    }
}

async fn play(seed: u64) -> Option<Fault> {
    let mut rng = Rng::new(seed);
    let fault = rng.percent(70).then(|| FAULTS[rng.index(FAULTS.len())]);
    let counters = Arc::<Counters>::default();
    let launcher = SimulatedLauncher {
        rng: Mutex::new(Rng::new(rng.next())),
        fault,
        counters: Arc::clone(&counters),
    };
    let config = Arc::new(config(&mut rng));
    let provider = ProcessSessionProvider::with_launcher(config, Box::new(launcher));
    let delegate = Delegate::new(Rng::new(rng.next()));
    // The provider goes first, in some runs: the calls of its sessions end all the same.
    let abrupt = rng.percent(15);
    let honest = fault.is_none() && !abrupt;
    let mut callers = Vec::new();
    for _ in 0..1 + rng.below(2) {
        let session = provider
            .open_session(
                SessionOptions {
                    cuts_output: rng.percent(50),
                    ..SessionOptions::default()
                },
                Arc::clone(&delegate) as Arc<dyn SessionDelegate>,
            )
            .await
            .expect("there is room");
        for _ in 0..1 + rng.below(2) {
            let session = Arc::clone(&session);
            let rng = Rng::new(rng.next());
            callers.push(tokio::spawn(
                Caller {
                    session,
                    rng,
                    honest,
                    seed,
                }
                .run(),
            ));
        }
    }
    if abrupt {
        tokio::time::sleep(Duration::from_micros(rng.below(5000))).await;
    } else {
        join(seed, &mut callers).await;
    }
    ends(seed, provider.shutdown()).await;
    drop(provider);
    join(seed, &mut callers).await;
    // The futures of cancelled calls have their grace.
    tokio::time::sleep(2 * CANCEL_GRACE).await;
    // A thread of the machine, not of the simulation, drops the delegate.
    let begun = std::time::Instant::now();
    while Arc::strong_count(&delegate) > 1 && begun.elapsed() < REAL_GUARD {
        std::thread::yield_now();
    }
    let complaints = delegate.complaints_at_end();
    assert!(complaints.is_empty(), "seed {seed}: {complaints:?}");
    let live = counters.live_hosts.load(Ordering::Relaxed);
    assert_eq!(live, 0, "seed {seed}: hosts are left");
    assert_eq!(
        Arc::strong_count(&delegate),
        1,
        "seed {seed}: the delegate is still held"
    );
    let unnoticed = counters.unnoticed.load(Ordering::Relaxed);
    assert_eq!(unnoticed, 0, "seed {seed}: {fault:?} was not noticed");
    fault.filter(|_| counters.acted.load(Ordering::Relaxed))
}

async fn join(seed: u64, callers: &mut Vec<tokio::task::JoinHandle<()>>) {
    for caller in callers.drain(..) {
        caller
            .await
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

fn play_in_virtual_time(seed: u64) -> Option<Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(play(seed))
}

fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number"))
}

#[test]
fn no_call_hangs_and_nothing_leaks_whatever_the_host_does() {
    if let Some(seed) = number_from_environment("CODE_MODE_SEED") {
        play_in_virtual_time(seed);
        return;
    }
    let seeds = number_from_environment("CODE_MODE_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    let acted = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let acted = &acted;
            scope.spawn(move || {
                for seed in (thread..seeds).step_by(threads as usize) {
                    let played = std::panic::catch_unwind(|| play_in_virtual_time(seed));
                    let Ok(fault) = played else {
                        panic!("seed {seed} failed; replay it with CODE_MODE_SEED={seed}");
                    };
                    let mut acted = acted.lock().unwrap_or_else(PoisonError::into_inner);
                    acted.extend(fault);
                }
            });
        }
    });
    let acted = acted.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<_> = FAULTS
        .iter()
        .filter(|fault| !acted.contains(fault))
        .collect();
    assert!(
        seeds < SEEDS || missing.is_empty(),
        "no seed has acted out {missing:?}"
    );
}
