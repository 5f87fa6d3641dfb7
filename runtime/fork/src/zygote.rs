// SPDX-License-Identifier: Apache-2.0
//! The zygote: a process with one thread and one isolate ready, which is forked for each cell.
//!
//! No client's script ever runs in it. What it has in memory when it is forked is shared by all its
//! children until they write to it, so after its preparation it is kept still. Preparing all of it takes longer than
//! all else that a host does at its start, so the first child is forked before.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use code_mode_engine::ReadyIsolate;
use code_mode_engine::platform::{self, Helpers};

use crate::cell;
use crate::channel;
use crate::confine::Cage;
use crate::control::{self, Report, Setup};
use crate::huge_text;
use crate::life::{self, Forked};
use crate::memory::{self, HAS_SHADOW};
use crate::starter::{CONTROL, WANTED_LOCALE, WANTED_TIME_ZONE};
use crate::warm_up;

/// What the kernel's order of killing adds for a zygote, and for a cell, beside their host.
const ZYGOTE_SCORE: &str = "500";
const CELL_SCORE: &str = "1000";

/// How long nobody must have asked a new zygote for a child before it moves its program to huge pages. That
/// takes as long as several births, which the first cells of a host are not to wait for.
const QUIET_BEFORE_MOVE: Duration = Duration::from_millis(100);

/// Whether it moves at all. All of the program is read for that, and between its variables a build with the address
/// sanitizer has gaps that nobody may read.
const IS_TO_MOVE: bool = !HAS_SHADOW;

/// The children that a zygote bears before it does so although it is asked for more.
const BIRTHS_BEFORE_MOVE: u32 = 32;

/// The children that a zygote bears before it has run the scripts that warm it up: the first cell of a host is there by
/// then, or comes before the scripts have ended.
const BIRTHS_BEFORE_WARM_UP: u32 = 1;

/// The zygote's own program: prepares an isolate, then bears a child for each order, until the host
/// closes the channel.
pub(crate) fn main() -> ! {
    // SAFETY: the starter has put this descriptor here, and nothing else in this process uses it.
    let control = unsafe { OwnedFd::from_raw_fd(CONTROL) };
    let host = std::env::args().nth(1).and_then(|host| host.parse().ok());
    let Some(host) = host else { life::end(2) };
    life::go_with_the_host(host);
    life::leave_signals_to_the_host();
    life::lead_a_group();
    life::set_name(c"cm-zygote");
    life::be_killed_sooner(ZYGOTE_SCORE);
    let setup = match channel::receive(control.as_fd()) {
        Ok(Some(message)) => Setup::decode(&message.bytes),
        _ => None,
    };
    // A host that says nothing is gone.
    let Some(setup) = setup else { life::end(2) };
    match prepare(&setup) {
        Ok((isolate, cage)) => {
            tell(&control, &Report::Ready(cage.lacking().join("; ")), &[]);
            serve(&control, &setup, isolate, &cage)
        }
        Err(reason) => {
            tell(&control, &Report::Failed(reason), &[]);
            life::end(1);
        }
    }
}

fn prepare(setup: &Setup) -> Result<(ReadyIsolate, Cage), String> {
    memory::keep_what_is_freed();
    let cage = Cage::new(setup)?;
    platform::set_up(Helpers::None, setup.jit)?;
    platform::set_last_words(cell::leave_last_words);
    let mut isolate = ReadyIsolate::new(setup.heap_bytes);
    isolate.compile_ahead();
    warm_up::read_files(&mut isolate)?;
    for (wanted, check) in [
        (WANTED_TIME_ZONE, warm_up::TIME_ZONE_CHECK),
        (WANTED_LOCALE, warm_up::LOCALE_CHECK),
    ] {
        if let Ok(wanted) = std::env::var(wanted) {
            warm_up::check(&mut isolate, check, &wanted)?;
        }
    }
    let threads = std::fs::read_dir("/proc/self/task")
        .map_err(|error| format!("Failed to count the threads of the zygote: {error}"))?
        .count();
    if threads != 1 {
        return Err(format!("a zygote must have one thread and has {threads}"));
    }
    cage.lock_zygote_in()?;
    Ok((isolate, cage))
}

fn serve(control: &OwnedFd, setup: &Setup, mut isolate: ReadyIsolate, cage: &Cage) -> ! {
    let mut born = 0_u32;
    let (mut is_warm, mut is_moved) = (false, false);
    loop {
        if IS_TO_MOVE
            && is_warm
            && !is_moved
            && (born >= BIRTHS_BEFORE_MOVE || channel::is_quiet(control.as_fd(), QUIET_BEFORE_MOVE))
        {
            is_moved = true;
            // SAFETY: this process has one thread, as was checked.
            let moved = match unsafe { huge_text::move_program() } {
                Ok(bytes) => format!("{bytes} bytes of the program are on huge pages"),
                Err(error) => format!("the program is not on huge pages: {error}"),
            };
            tell(control, &Report::Noted(moved), &[]);
        }
        let rehearses = match channel::receive(control.as_fd()) {
            Ok(Some(message)) if message.bytes == control::BEAR => true,
            Ok(Some(message)) if message.bytes == control::BEAR_AT_ONCE => false,
            // The host has closed its end. Its cells go on without their zygote.
            _ => life::end(0),
        };
        if !is_warm && born >= BIRTHS_BEFORE_WARM_UP {
            warm(control, &mut isolate);
            is_warm = true;
        }
        let (ours, theirs) = match channel::stream_pair() {
            Ok(pair) => pair,
            Err(error) => {
                let failed = format!("Failed to make the stream of a cell: {error}");
                tell(control, &Report::Failed(failed), &[]);
                continue;
            }
        };
        // SAFETY: this process has one thread, as was checked; `live` does not return.
        match unsafe { life::fork_sibling() } {
            Ok(Forked::Child) => live(setup, isolate, cage, theirs, rehearses && is_warm),
            Ok(Forked::Parent { pid, descriptor }) => {
                drop(theirs);
                let descriptors = [ours.as_fd(), descriptor.as_fd()];
                tell(control, &Report::Born(pid), &descriptors);
                born = born.saturating_add(1);
            }
            Err(error) => {
                let failed = format!("Failed to fork a cell: {error}");
                tell(control, &Report::Failed(failed), &[]);
            }
        }
    }
}

/// Runs the scripts of the zygote's own. One that fails would fail in each cell as well, so it ends the zygote.
fn warm(control: &OwnedFd, isolate: &mut ReadyIsolate) {
    if let Err(reason) = warm_up::zygote(isolate) {
        tell(control, &Report::Failed(reason), &[]);
        life::end(1);
    }
}

/// The life of a child: shut out of files and other processes, it rehearses its part if there is time; then,
/// alone with its stream and locked in, it waits for its one script.
fn live(
    setup: &Setup,
    mut isolate: ReadyIsolate,
    cage: &Cage,
    stream: OwnedFd,
    rehearses: bool,
) -> ! {
    life::go_with_the_host(setup.host);
    life::set_name(c"cm-cell");
    life::be_killed_sooner(CELL_SCORE);
    // The first two parts need descriptors, the last one has no use for any but the stream.
    let rehearsed = cage.shut_out().and_then(|()| match rehearses {
        true => warm_up::cell(&mut isolate),
        false => Ok(()),
    });
    let stream = match cell::keep_only(stream, cage) {
        Ok(stream) => stream,
        Err(_) => life::end(1),
    };
    match rehearsed.and_then(|()| cage.lock_in()) {
        Ok(()) => cell::run(isolate, stream),
        Err(reason) => cell::refuse(&reason),
    }
}

fn tell(control: &OwnedFd, report: &Report, with: &[std::os::fd::BorrowedFd<'_>]) {
    // A host that is gone is found out by the next receive.
    let _ = channel::send(control.as_fd(), &report.encode(), with);
}
