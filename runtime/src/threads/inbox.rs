// SPDX-License-Identifier: Apache-2.0
//! What other threads tell a cell's V8 thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::waist::Held;
use code_mode_engine::ToolAnswer;

/// Answers in the order of their arrival, and a bell. Bounded by the cell's open tool calls.
///
/// A thread that sleeps takes tens of microseconds to wake, more than a fast tool takes to answer.
/// So the V8 thread stays awake for a short time before it sleeps, unless the last wait took more
/// than twice as long, and gives way to any other thread meanwhile.
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    bell: Condvar,
    /// How long the thread stays awake.
    spin: Duration,
    /// Whether there may be something in `state`; what the thread looks at while it is awake.
    news: AtomicBool,
    /// Whether the last wait was short. Only the V8 thread reads and writes it.
    fast: AtomicBool,
}

#[derive(Default)]
struct InboxState {
    answers: VecDeque<ToolAnswer>,
    /// What the answers count for.
    held: Vec<Held>,
    rung: bool,
    /// The V8 thread sleeps and has to be woken.
    asleep: bool,
    /// The V8 thread has ended, and nobody takes anything any more.
    closed: bool,
}

impl Inbox {
    /// An inbox whose thread stays awake for so long before it sleeps.
    pub(crate) fn new(spin: Duration) -> Self {
        Self {
            state: Mutex::default(),
            bell: Condvar::new(),
            spin,
            news: AtomicBool::new(false),
            fast: AtomicBool::new(true),
        }
    }

    /// Delivers an answer, which counts for `held` until it is taken, and wakes the V8 thread.
    pub(crate) fn answer(&self, answer: ToolAnswer, held: Option<Held>) {
        let mut late = None;
        self.tell(|state| {
            if state.closed {
                late = Some((answer, held));
                return;
            }
            state.answers.push_back(answer);
            state.held.extend(held);
        });
        // What an answer counts for is given back without the lock.
        drop(late);
    }

    /// Drops what was not taken, and whatever comes from now on: the V8 thread has ended.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let answers = std::mem::take(&mut state.answers);
        let held = std::mem::take(&mut state.held);
        drop(state);
        drop((answers, held));
    }

    /// Wakes the V8 thread so that it looks at the cell's state.
    pub(crate) fn ring(&self) {
        self.tell(|state| state.rung = true);
    }

    fn tell(&self, change: impl FnOnce(&mut InboxState)) {
        let mut state = self.lock();
        change(&mut state);
        self.news.store(true, Ordering::Release);
        let asleep = state.asleep;
        drop(state);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// All answers that have arrived. Waits until there is one, the bell rings or `until` has
    /// passed; without `until` the wait has no end of its own. Only for the cell's V8 thread.
    pub(crate) fn take(&self, until: Option<Instant>) -> VecDeque<ToolAnswer> {
        let begun = Instant::now();
        if self.fast.load(Ordering::Relaxed) {
            self.stay_awake(begun, until);
        }
        let mut state = self.lock();
        while !state.rung && state.answers.is_empty() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            state.asleep = true;
            state = match left {
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    let woken = self.bell.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.bell.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        state.asleep = false;
        state.rung = false;
        self.news.store(false, Ordering::Relaxed);
        let answers = std::mem::take(&mut state.answers);
        let held = std::mem::take(&mut state.held);
        drop(state);
        drop(held);
        self.fast
            .store(begun.elapsed() <= 2 * self.spin, Ordering::Relaxed);
        answers
    }

    fn stay_awake(&self, begun: Instant, until: Option<Instant>) {
        while !self.news.load(Ordering::Acquire) {
            let now = Instant::now();
            if now.duration_since(begun) >= self.spin || until.is_some_and(|until| now >= until) {
                return;
            }
            std::thread::yield_now();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use code_mode_api::ToolError;

    use super::*;
    use crate::limits::DEFAULT_ANSWER_SPIN as SPIN;

    fn answer(call: u64) -> ToolAnswer {
        ToolAnswer {
            call,
            result: Err(ToolError::new("no tool")),
        }
    }

    #[test]
    fn answers_come_in_order_and_a_ring_ends_the_wait() {
        let inbox = Inbox::new(SPIN);
        inbox.answer(answer(2), None);
        inbox.answer(answer(1), None);
        let calls: Vec<u64> = inbox.take(None).iter().map(|answer| answer.call).collect();
        assert_eq!(calls, [2, 1]);
        inbox.ring();
        assert!(inbox.take(None).is_empty());
        assert!(inbox.take(Some(Instant::now())).is_empty());
    }

    #[test]
    fn whoever_waits_awake_or_asleep_gets_every_answer() {
        const ANSWERS: u64 = 10_000;
        let inbox = Arc::new(Inbox::new(SPIN));
        let waiting = Arc::clone(&inbox);
        let waiter = std::thread::spawn(move || {
            let mut calls = Vec::new();
            while calls.len() < ANSWERS as usize {
                calls.extend(waiting.take(None).into_iter().map(|answer| answer.call));
                // Every other wait begins as if the last one had been long.
                waiting.fast.store(calls.len() % 2 == 0, Ordering::Relaxed);
            }
            calls
        });
        (0..ANSWERS).for_each(|call| inbox.answer(answer(call), None));
        let calls = waiter.join().expect("the waiter gets them all");
        assert!(calls.into_iter().eq(0..ANSWERS));
    }

    #[test]
    fn after_a_long_wait_the_thread_sleeps_at_once() {
        let inbox = Inbox::new(SPIN);
        let until = Instant::now() + 2 * SPIN + Duration::from_millis(1);
        assert!(inbox.take(Some(until)).is_empty());
        assert!(!inbox.fast.load(Ordering::Relaxed));
        inbox.ring();
        assert!(inbox.take(None).is_empty());
        assert!(inbox.fast.load(Ordering::Relaxed));
    }

    #[test]
    fn a_thread_that_is_not_to_stay_awake_sleeps_from_its_first_wait() {
        let inbox = Arc::new(Inbox::new(Duration::ZERO));
        let waiting = Arc::clone(&inbox);
        let waiter = std::thread::spawn(move || waiting.take(None));
        // It sleeps for as long as it is not woken; a yield lets it get there.
        while !inbox.lock().asleep {
            std::thread::yield_now();
        }
        inbox.answer(answer(1), None);
        assert_eq!(waiter.join().expect("it is woken").len(), 1);
        assert!(!inbox.fast.load(Ordering::Relaxed));
    }
}
