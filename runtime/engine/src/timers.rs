// SPDX-License-Identifier: Apache-2.0
//! The timers of one cell: one clock, no thread, nothing to do while idle.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// The longest delay, so that the clock can hold it: about 68 years.
const MAX_DELAY: Duration = Duration::from_secs(1 << 31);

/// Pending timers, ordered by due time and then by creation.
#[derive(Default)]
pub(crate) struct Timers {
    by_time: BTreeMap<(Instant, u64), v8::Global<v8::Function>>,
    due: HashMap<u64, Instant>,
    last: u64,
}

impl Timers {
    pub(crate) fn pending(&self) -> usize {
        self.due.len()
    }

    /// Adds a timer and gives its number; numbers start at 1 and are never used again.
    pub(crate) fn add(&mut self, delay: Duration, callback: v8::Global<v8::Function>) -> u64 {
        let now = Instant::now();
        let at = now.checked_add(delay.min(MAX_DELAY)).unwrap_or(now);
        self.last += 1;
        self.by_time.insert((at, self.last), callback);
        self.due.insert(self.last, at);
        self.last
    }

    /// Removes a timer, if it is pending.
    pub(crate) fn remove(&mut self, timer: u64) {
        if let Some(at) = self.due.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    /// The number of the newest timer.
    pub(crate) fn newest(&self) -> u64 {
        self.last
    }

    /// Takes the earliest timer that is due by `now` and not newer than `newest`.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        newest: u64,
    ) -> Option<v8::Global<v8::Function>> {
        let key = self
            .by_time
            .range(..=(now, u64::MAX))
            .map(|(key, _)| *key)
            .find(|(_, timer)| *timer <= newest)?;
        self.due.remove(&key.1);
        self.by_time.remove(&key)
    }
}

/// A delay that a script gives, in milliseconds: what is no positive number counts as 0.
pub(crate) fn delay(milliseconds: f64) -> Duration {
    if milliseconds > 0.0 {
        Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or(MAX_DELAY)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_DELAY, delay};
    use std::time::Duration;

    #[test]
    fn delays_that_are_no_positive_number_count_as_zero() {
        for milliseconds in [-5.0, -0.0, 0.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(delay(milliseconds), Duration::ZERO, "{milliseconds}");
        }
        assert_eq!(delay(1.5), Duration::from_micros(1_500));
        assert_eq!(delay(f64::INFINITY), MAX_DELAY);
    }
}
