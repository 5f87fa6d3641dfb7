// SPDX-License-Identifier: Apache-2.0
//! The growing pause between restarts of a host that does not stay up.

use std::time::Duration;

use tokio::time::Instant;

/// The pause before the second restart in a row (100 ms); each further one doubles it.
pub const FIRST_RESTART_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between restarts (10 s).
pub const MAX_RESTART_PAUSE: Duration = Duration::from_secs(10);
/// A host that stayed up for this long (10 s) was sound: the next restart comes without a pause.
pub const STABLE_AFTER: Duration = Duration::from_secs(10);

/// How often in a row hosts have failed, and when the next may be started.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// When the next host may be started; `None` is at once.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// Takes note that a host could not be started, or that one that started at `ready` was lost.
    pub(crate) fn failed(&mut self, ready: Option<Instant>, now: Instant) {
        if ready.is_some_and(|ready| now.duration_since(ready) >= STABLE_AFTER) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.not_before = pause(self.failures).map(|pause| now + pause);
    }
}

/// The pause after this many failures in a row. The first costs nothing, so that a host that was
/// killed once is replaced at once.
fn pause(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?;
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    Some(
        FIRST_RESTART_PAUSE
            .saturating_mul(factor)
            .min(MAX_RESTART_PAUSE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_its_bound() {
        let pauses: Vec<_> = (1..=10)
            .map(|n| pause(n).map_or(0, |p| p.as_millis()))
            .collect();
        assert_eq!(
            pauses,
            [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(pause(u32::MAX), Some(MAX_RESTART_PAUSE));
    }

    #[test]
    fn a_host_that_stayed_up_is_replaced_at_once() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        backoff.failed(None, start);
        backoff.failed(None, start);
        assert_eq!(backoff.not_before(), Some(start + FIRST_RESTART_PAUSE));
        backoff.failed(Some(start), start + STABLE_AFTER);
        assert_eq!(backoff.not_before(), None);
    }

    #[test]
    fn a_host_that_falls_soon_after_its_start_counts_as_failed() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        for _ in 0..3 {
            backoff.failed(Some(start), start);
        }
        assert_eq!(backoff.not_before(), Some(start + 2 * FIRST_RESTART_PAUSE));
    }
}
