// SPDX-License-Identifier: Apache-2.0
//! The nursery: has zygotes started and replaced, and children born ahead of need and at need.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use code_mode_engine::platform::Jit;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use crate::channel::{self, Message};
use crate::control::{self, Confinement, Report, Setup};
use crate::life::{self, Process};
use crate::lifespan::Lifespan;
use crate::link::{Child, Link, Losses};
use crate::starter::Starter;
use crate::watch::watched;

/// Children that a zygote has been asked for and has not borne yet, at one time. More wait here.
pub const ORDERED_BIRTHS: usize = 32;

/// How long a zygote may take to be ready.
pub const ZYGOTE_DEADLINE: Duration = Duration::from_secs(10);

/// How long a cell waits for its process before it fails with the cause.
pub const BIRTH_DEADLINE: Duration = Duration::from_secs(8);

/// The pause after a zygote that failed to start, and after each further one twice as long.
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts to start a zygote.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a nursery is to do.
#[derive(Debug, Clone)]
pub struct NurseryConfig {
    /// The bound of V8's heap, bytes: what the operator lets a cell have.
    pub heap_bytes: u64,
    /// What a cell's process may have of memory that is its own, bytes.
    pub data_bytes: u64,
    /// Children that are kept ready ahead of need.
    pub ready: usize,
    /// How cells are confined.
    pub confinement: Confinement,
    /// Whether V8 makes machine code of scripts.
    pub jit: Jit,
    /// When a zygote is replaced.
    pub lifespan: Lifespan,
}

/// Why there is no process for a cell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BirthError {
    /// None was born in time.
    #[error("no process for the cell was born within {} s: {cause}", BIRTH_DEADLINE.as_secs())]
    Deadline {
        /// What went wrong last.
        cause: String,
    },
    /// The nursery is being closed.
    #[error("no more processes are born: the runtime ends")]
    Closed,
}

/// Bears the processes of one runtime's cells.
#[derive(Debug)]
pub struct Nursery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    starter: Arc<Starter>,
    config: NurseryConfig,
    state: Mutex<Brood>,
    /// Rung when the task that keeps a zygote should look around.
    bell: Notify,
    /// The confinement's gaps were told.
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct Brood {
    /// The zygote that bears children now.
    zygote: Option<Arc<Zygote>>,
    /// Children that wait for a cell, the oldest in front.
    ready: VecDeque<Child>,
    /// Cells that wait for a child, the oldest in front. Bounded by the active cells.
    waiting: VecDeque<oneshot::Sender<Child>>,
    /// Why there is no zygote, or what went wrong last.
    trouble: Option<String>,
    closed: bool,
}

#[derive(Debug)]
struct Zygote {
    control: AsyncFd<OwnedFd>,
    process: Process,
    started: Instant,
    lifespan: Lifespan,
    numbers: Mutex<Numbers>,
    losses: Losses,
    /// Rung when it is to be looked at.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Children asked for and not yet born.
    ordered: usize,
    born: u64,
    retired: bool,
}

impl Nursery {
    /// Starts the first zygote in the background, on this runtime.
    pub fn new(starter: Arc<Starter>, config: NurseryConfig, handle: &Handle) -> Self {
        let shared = Arc::new(Shared {
            starter,
            config,
            state: Mutex::default(),
            bell: Notify::new(),
            told: AtomicBool::new(false),
        });
        handle.spawn(keep_a_zygote(Arc::clone(&shared)));
        Self { shared }
    }

    /// A child that is ready, if there is one.
    pub fn take(&self) -> Option<Child> {
        let (child, left, dead) = {
            let mut state = self.shared.lock();
            let mut dead = Vec::new();
            let child = loop {
                match state.ready.pop_front() {
                    Some(child) if child.is_waiting() => break Some(child),
                    // To drop it may take a moment, so that is done without the lock.
                    Some(child) => dead.push(child),
                    None => break None,
                }
            };
            (child, state.ready.len(), dead)
        };
        drop(dead);
        // A cell that is short is over before its successor is born, and is not slowed down by that.
        if left < self.shared.config.ready.div_ceil(2) {
            self.refill();
        }
        child
    }

    /// Waits for a child that is born for this call.
    ///
    /// # Errors
    /// [`BirthError`], with the cause.
    pub async fn birth(&self) -> Result<Child, BirthError> {
        let (sender, child) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.closed {
                return Err(BirthError::Closed);
            }
            state.waiting.push_back(sender);
        }
        self.refill();
        match tokio::time::timeout(BIRTH_DEADLINE, child).await {
            Ok(Ok(child)) => Ok(child),
            Ok(Err(_)) => Err(BirthError::Closed),
            Err(_) => Err(BirthError::Deadline {
                cause: self
                    .trouble()
                    .unwrap_or_else(|| "the machine is too busy".to_owned()),
            }),
        }
    }

    /// Has children born until as many are ready as there should be.
    pub fn refill(&self) {
        self.shared.refill();
    }

    /// Takes note of a child that has died of something else than a limit or a termination. It counts
    /// against the zygote that bore it, which may not be the one that bears now.
    pub fn died_abnormally(&self, child: &Link) {
        child.losses.add();
        self.shared.bell.notify_one();
    }

    /// What goes wrong with births at the moment, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.shared.lock().trouble.clone()
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        let (ready, waiting, zygote) = {
            let mut state = self.shared.lock();
            state.closed = true;
            (
                std::mem::take(&mut state.ready),
                std::mem::take(&mut state.waiting),
                state.zygote.take(),
            )
        };
        drop(waiting);
        drop(ready);
        if let Some(zygote) = zygote {
            zygote.retire();
        }
        self.shared.bell.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Brood> {
        // Nothing panics while the lock is held except a failed allocation, after which the state is
        // still whole: every change is a single assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders as many children as are missing.
    fn refill(&self) {
        let state = self.lock();
        let Some(zygote) = state.zygote.as_ref() else {
            return;
        };
        // Those who have given up need none.
        let waiting = state
            .waiting
            .iter()
            .filter(|waiting| !waiting.is_closed())
            .count();
        let wanted = (waiting + self.config.ready).saturating_sub(state.ready.len());
        zygote.order(wanted, waiting);
    }

    /// Gives a child to the cell that has waited for the longest, or keeps it ready.
    fn receive(&self, child: Child) {
        let mut child = child;
        loop {
            let mut state = self.lock();
            match state.waiting.pop_front() {
                Some(waiting) => {
                    drop(state);
                    match waiting.send(child) {
                        Ok(()) => return,
                        Err(back) => child = back,
                    }
                }
                None if state.closed || state.ready.len() >= self.config.ready => {
                    drop(state);
                    drop(child);
                    return;
                }
                None => {
                    state.ready.push_back(child);
                    return;
                }
            }
        }
    }

    fn trouble(&self, cause: String) {
        tracing::warn!(cause, "processes for cells cannot be had");
        self.lock().trouble = Some(cause);
    }

    /// Starts a zygote and waits until it is ready.
    async fn start_zygote(&self) -> io::Result<Arc<Zygote>> {
        let (ours, theirs) = channel::pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let setup = Setup {
            host: std::process::id(),
            heap_bytes: self.config.heap_bytes,
            data_bytes: self.config.data_bytes,
            confinement: self.config.confinement,
            jit: self.config.jit,
        };
        channel::send(ours.as_fd(), &setup.encode(), &[])?;
        self.starter.order(theirs.as_fd())?;
        drop(theirs);
        let control = watched(ours, Interest::READABLE)?;
        let readied = tokio::time::timeout(ZYGOTE_DEADLINE, readied(&control)).await;
        let (process, lacking) = readied.map_err(|_| {
            io::Error::other(format!(
                "the zygote was not ready within {} s",
                ZYGOTE_DEADLINE.as_secs()
            ))
        })??;
        if !lacking.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(lacking, "cells run without all of their confinement");
        }
        Ok(Arc::new(Zygote {
            control,
            process,
            started: Instant::now(),
            lifespan: self.config.lifespan,
            numbers: Mutex::default(),
            losses: Losses::default(),
            bell: Notify::new(),
        }))
    }
}

/// Waits until a zygote has been started and is ready: gives its process, and what its confinement
/// lacks.
async fn readied(control: &AsyncFd<OwnedFd>) -> io::Result<(Process, String)> {
    let mut process = None;
    let mut lacking = None;
    loop {
        if let Some(lacking) = &lacking
            && let Some(process) = process.take()
        {
            return Ok((process, String::clone(lacking)));
        }
        let Some((report, descriptors)) = next_report(control).await? else {
            let how = match &process {
                Some(process) => Process::reap(process).await?.to_string(),
                None => "before it was started".to_owned(),
            };
            return Err(io::Error::other(format!("the zygote ended: {how}")));
        };
        match report {
            Report::Started(pid) => {
                let mut descriptors = descriptors.into_iter();
                process = descriptors.next().map(|fd| Process::new(pid, fd));
            }
            Report::Ready(what) => lacking = Some(what),
            Report::Born(_) => return Err(io::Error::other("the zygote bears unasked")),
            Report::Noted(what) => tracing::debug!(what, "a zygote says"),
            Report::Failed(reason) => {
                if let Some(process) = &process {
                    process.reap().await?;
                }
                return Err(io::Error::other(reason));
            }
        }
    }
}

/// The next report that comes over a control channel; `None` at its end.
async fn next_report(control: &AsyncFd<OwnedFd>) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
    let received = control
        .async_io(Interest::READABLE, |control| {
            channel::receive(control.as_fd())
        })
        .await;
    match received {
        Ok(Some(Message { bytes, descriptors })) => {
            let report = Report::decode(&bytes);
            let report = report.ok_or_else(|| io::Error::other("a report that is none"))?;
            Ok(Some((report, descriptors)))
        }
        Ok(None) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

impl Zygote {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that so many children are ordered; for the first of them, cells wait.
    fn order(&self, wanted: usize, waiting: usize) {
        let mut numbers = self.lock();
        while numbers.ordered < wanted.min(ORDERED_BIRTHS) && !numbers.retired {
            let order = if numbers.ordered < waiting {
                control::BEAR_AT_ONCE
            } else {
                control::BEAR
            };
            // A zygote that is gone is found out by the task that serves it.
            if channel::send(self.control.get_ref().as_fd(), order, &[]).is_err() {
                return;
            }
            numbers.ordered += 1;
        }
    }

    /// Has the zygote end once it has borne what was ordered.
    fn retire(&self) {
        self.lock().retired = true;
        self.bell.notify_one();
    }

    fn is_worn(&self) -> bool {
        let births = self.lock().born;
        self.lifespan
            .is_over(births, self.started.elapsed(), self.losses.count())
    }

    fn is_done(&self) -> bool {
        let numbers = self.lock();
        numbers.retired && numbers.ordered == 0
    }
}

/// Keeps one zygote at work, and has another take its place in time.
async fn keep_a_zygote(shared: Arc<Shared>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if shared.lock().closed {
            return;
        }
        match shared.start_zygote().await {
            Ok(zygote) => {
                pause = FIRST_PAUSE;
                let former = {
                    let mut state = shared.lock();
                    if state.closed {
                        zygote.retire();
                    }
                    state.trouble = None;
                    state.zygote.replace(Arc::clone(&zygote))
                };
                if let Some(former) = former {
                    former.retire();
                }
                let served = tokio::spawn(serve(Arc::clone(&shared), Arc::clone(&zygote)));
                shared.refill();
                until_replaced(&shared, &zygote, served).await;
            }
            Err(error) => {
                shared.trouble(format!("Failed to start a zygote: {error}"));
                tokio::time::sleep(pause).await;
                pause = longer(pause);
            }
        }
    }
}

/// The pause after one attempt more that has failed.
fn longer(pause: Duration) -> Duration {
    (2 * pause).min(LONGEST_PAUSE)
}

/// Resolves when another zygote is needed.
async fn until_replaced(shared: &Shared, zygote: &Zygote, mut served: tokio::task::JoinHandle<()>) {
    loop {
        let age = zygote.lifespan.age.saturating_sub(zygote.started.elapsed());
        tokio::select! {
            _ = &mut served => return,
            () = shared.bell.notified() => {}
            () = tokio::time::sleep(age) => {}
        }
        if shared.lock().closed || zygote.is_worn() {
            return;
        }
    }
}

/// Takes what a zygote bears, until it is done or gone; then reaps it.
async fn serve(shared: Arc<Shared>, zygote: Arc<Zygote>) {
    let trouble = loop {
        if zygote.is_done() {
            break None;
        }
        let report = tokio::select! {
            report = next_report(&zygote.control) => report,
            () = zygote.bell.notified() => continue,
        };
        match report {
            Ok(Some((Report::Born(pid), descriptors))) => {
                {
                    let mut numbers = zygote.lock();
                    numbers.ordered = numbers.ordered.saturating_sub(1);
                    numbers.born += 1;
                }
                let mut descriptors = descriptors.into_iter();
                if let (Some(stream), Some(process)) = (descriptors.next(), descriptors.next()) {
                    let process = Process::new(pid, process);
                    shared.receive(Child::new(stream, process, zygote.losses.clone()));
                }
                if zygote.is_worn() {
                    shared.bell.notify_one();
                }
                shared.refill();
            }
            Ok(Some((Report::Failed(reason), _))) => {
                {
                    let mut numbers = zygote.lock();
                    numbers.ordered = numbers.ordered.saturating_sub(1);
                }
                shared.trouble(reason);
                // Whatever is short, asking at once again would make it shorter.
                tokio::time::sleep(FIRST_PAUSE).await;
                shared.refill();
            }
            Ok(Some((Report::Noted(what), _))) => tracing::debug!(what, "a zygote says"),
            Ok(Some((Report::Started(_) | Report::Ready(_), _))) => {}
            Ok(None) => break Some("the zygote ended".to_owned()),
            Err(error) => break Some(format!("Failed to hear from the zygote: {error}")),
        }
    };
    if let Some(trouble) = &trouble {
        let mut state = shared.lock();
        if state
            .zygote
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, &zygote))
        {
            state.zygote = None;
            state.trouble = Some(trouble.clone());
        }
    }
    if trouble.is_some() {
        tokio::spawn(life::reap_strays(zygote.process.pid()));
    }
    // Its channel may stay open for as long as somebody holds it; it ends all the same.
    zygote.process.kill();
    match zygote.process.reap().await {
        Ok(exit) => match trouble {
            Some(trouble) => tracing::warn!(trouble, %exit, "a zygote is replaced"),
            None => tracing::debug!(%exit, "a zygote has been replaced"),
        },
        Err(error) => tracing::warn!(%error, "a zygote was not reaped"),
    }
}

#[cfg(test)]
#[path = "nursery_tests.rs"]
mod tests;
