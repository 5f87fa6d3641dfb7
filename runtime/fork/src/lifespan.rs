// SPDX-License-Identifier: Apache-2.0
//! How long a zygote bears children.

use std::time::Duration;

/// Children that one zygote bears before it is replaced: all have its address layout and the seeds of
/// its hash tables.
pub const BIRTHS_OF_A_ZYGOTE: u64 = 10_000;

/// How old a zygote gets before it is replaced, for the same reason.
pub const AGE_OF_A_ZYGOTE: Duration = Duration::from_secs(3_600);

/// Children of one zygote that die of something else than a limit or a termination before it is
/// replaced: if an attack needs luck with the address layout, it has only so many tries at one.
pub const ABNORMAL_DEATHS_OF_A_ZYGOTE: u64 = 8;

/// The bounds of a zygote's life: where the first of them is reached, another takes its place. Children that
/// run do not notice, and those that were asked for are still born.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifespan {
    /// Children that it bears; by default [`BIRTHS_OF_A_ZYGOTE`].
    pub births: u64,
    /// Its age; by default [`AGE_OF_A_ZYGOTE`].
    pub age: Duration,
    /// Children that die of something else than a limit or a termination; by default
    /// [`ABNORMAL_DEATHS_OF_A_ZYGOTE`].
    pub abnormal_deaths: u64,
}

impl Default for Lifespan {
    fn default() -> Self {
        Self {
            births: BIRTHS_OF_A_ZYGOTE,
            age: AGE_OF_A_ZYGOTE,
            abnormal_deaths: ABNORMAL_DEATHS_OF_A_ZYGOTE,
        }
    }
}

impl Lifespan {
    /// Whether a zygote of which this is known is to be replaced.
    pub(crate) fn is_over(&self, births: u64, age: Duration, abnormal_deaths: u64) -> bool {
        births >= self.births || age >= self.age || abnormal_deaths >= self.abnormal_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zygote_lives_for_ten_thousand_births_an_hour_or_eight_abnormal_deaths() {
        let usual = Lifespan::default();
        let second = Duration::from_secs(1);
        let almost = (9_999, 3_600 * second - Duration::from_nanos(1), 7);
        assert!(!usual.is_over(almost.0, almost.1, almost.2));
        assert!(usual.is_over(10_000, Duration::ZERO, 0));
        assert!(usual.is_over(0, 3_600 * second, 0));
        assert!(usual.is_over(0, Duration::ZERO, 8));
    }
}
