// SPDX-License-Identifier: Apache-2.0
//! When the driver waits for the host awake.

use std::time::Duration;

use tokio::time::Instant;

/// How long the driver waits awake for what a script does after a tool's answer (50 µs), unless that
/// last took more than twice as long.
///
/// A thread that sleeps takes tens of microseconds to wake, as long as all the rest of a call to a
/// tool that answers at once. A script whose tools are slow never keeps the driver awake for longer
/// than this, and only after its first answer.
pub(super) const AWAKE: Duration = Duration::from_micros(50);

/// What the driver knows about the time that scripts take from an answer to their next message.
#[derive(Debug)]
pub(super) struct AfterAnswer {
    /// When the last open call was answered, if nothing was heard of the host since.
    answered: Option<Instant>,
    /// Whether a wait for what follows that answer is still to come.
    waits: bool,
    /// Whether it took not too long the last time.
    fast: bool,
}

impl AfterAnswer {
    pub(super) fn new() -> Self {
        Self {
            answered: None,
            waits: false,
            fast: true,
        }
    }

    /// The answer to the only open call is ready.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        self.waits = true;
    }

    /// The host has said something.
    pub(super) fn heard(&mut self, now: impl FnOnce() -> Instant) {
        self.waits = false;
        if let Some(answered) = self.answered.take() {
            self.fast = now().duration_since(answered) <= 2 * AWAKE;
        }
    }

    /// Whether the wait that begins now should begin awake; true once for each answer at most.
    pub(super) fn begin_wait(&mut self) -> bool {
        std::mem::take(&mut self.waits) && self.fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wait_after_each_answer_begins_awake_while_the_host_is_fast() {
        let mut after = AfterAnswer::new();
        let start = Instant::now();
        assert!(!after.begin_wait(), "nothing was answered yet");
        after.answered(start);
        assert!(after.begin_wait());
        assert!(!after.begin_wait(), "one wait for one answer");
        after.heard(|| start + 2 * AWAKE);
        after.answered(start);
        assert!(after.begin_wait(), "the host was fast");
        after.heard(|| start + 2 * AWAKE + Duration::from_nanos(1));
        after.answered(start);
        assert!(!after.begin_wait(), "the host was slow");
        after.heard(|| start + AWAKE);
        after.answered(start);
        assert!(after.begin_wait(), "the host is fast again");
    }

    #[test]
    fn what_the_host_says_before_the_wait_takes_its_place() {
        let mut after = AfterAnswer::new();
        let start = Instant::now();
        after.answered(start);
        after.heard(|| start);
        assert!(!after.begin_wait());
        after.heard(|| unreachable!("nothing was answered, so the time is not asked"));
    }
}
