// SPDX-License-Identifier: Apache-2.0
//! What a runtime counts of its cells, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use code_mode_api::LimitName;

use crate::shares::Pools;

/// The upper bounds of the classes that times are counted in; what takes longer than the last is in one more.
pub const TIME_CLASSES: [Duration; 10] = [
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// How a cell has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellEnd {
    /// Its script came to its end.
    Completed,
    /// Its script threw, or was no JavaScript.
    Failed,
    /// It has reached one of its limits.
    Limit,
    /// Somebody terminated it.
    Terminated,
    /// What it ran in was lost: a crash, a kill, a defect.
    Lost,
    /// It never had anything to run in.
    NeverRan,
}

impl CellEnd {
    /// Every way to end.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Failed,
        Self::Limit,
        Self::Terminated,
        Self::Lost,
        Self::NeverRan,
    ];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Limit => "limit",
            Self::Terminated => "terminated",
            Self::Lost => "lost",
            Self::NeverRan => "never-ran",
        }
    }
}

/// What a runtime has counted since it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Cells that run now, or wait for what they will run in.
    pub active_cells: usize,
    /// Bytes of events that no client has taken.
    pub event_bytes: usize,
    /// Bytes of tools' answers that no cell has had.
    pub answer_bytes: usize,
    /// Bytes of output that nobody has read.
    pub unread_bytes: usize,
    /// From the start of each cell until its script began.
    pub births: Times,
    /// From each tool call until its answer.
    pub tool_calls: Times,
    /// Cells that have ended, by how.
    pub ends: Vec<(CellEnd, u64)>,
    /// Sessions, cells and imports that were refused, by the bound that was reached; without the bounds that
    /// nobody has reached.
    pub refusals: Vec<(LimitName, u64)>,
}

/// How often something happened, and how long it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// How often it took no longer than each of [`TIME_CLASSES`] and longer than the one before, and last how
    /// often it took longer than all of them.
    pub counts: [u64; TIME_CLASSES.len() + 1],
    /// How long it took all together.
    pub total: Duration,
}

/// The counters behind [`Figures`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) births: Clock,
    pub(crate) tool_calls: Clock,
    ends: [AtomicU64; CellEnd::ALL.len()],
    refusals: [AtomicU64; LimitName::CODES.len()],
}

/// Counts times.
#[derive(Default)]
pub(crate) struct Clock {
    counts: [AtomicU64; TIME_CLASSES.len() + 1],
    /// Enough for 584 years.
    nanoseconds: AtomicU64,
}

impl Counters {
    /// A cell has ended.
    pub(crate) fn ended(&self, how: CellEnd) {
        add_one(CellEnd::ALL, &self.ends, how);
    }

    /// Something was refused for this bound.
    pub(crate) fn refused(&self, bound: LimitName) {
        add_one(bounds(), &self.refusals, bound);
    }

    pub(crate) fn figures(&self, pools: &Pools) -> Figures {
        Figures {
            active_cells: pools.cells.held(),
            event_bytes: pools.events.held(),
            answer_bytes: pools.answers.held(),
            unread_bytes: pools.unread.held(),
            births: self.births.times(),
            tool_calls: self.tool_calls.times(),
            ends: counted(CellEnd::ALL, &self.ends).collect(),
            refusals: counted(bounds(), &self.refusals)
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

/// Every bound, in the order of its counter.
fn bounds() -> impl Iterator<Item = LimitName> {
    LimitName::CODES.into_iter().map(|(_, bound)| bound)
}

/// Counts one more of a kind; there is a counter for each of the kinds, in their order.
fn add_one<K: PartialEq>(kinds: impl IntoIterator<Item = K>, counts: &[AtomicU64], kind: K) {
    let mut kinds = kinds.into_iter().zip(counts);
    if let Some((_, count)) = kinds.find(|(known, _)| *known == kind) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Each kind with what its counter says.
fn counted<K>(
    kinds: impl IntoIterator<Item = K>,
    counts: &[AtomicU64],
) -> impl Iterator<Item = (K, u64)> {
    let kinds = kinds.into_iter().zip(counts);
    kinds.map(|(kind, count)| (kind, count.load(Ordering::Relaxed)))
}

impl Clock {
    /// Something took so long.
    pub(crate) fn add(&self, time: Duration) {
        let class = TIME_CLASSES.partition_point(|bound| *bound < time);
        if let Some(count) = self.counts.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn times(&self) -> Times {
        Times {
            counts: std::array::from_fn(|class| {
                let count = self.counts.get(class);
                count.map_or(0, |count| count.load(Ordering::Relaxed))
            }),
            total: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use code_mode_api::waist::Budget;

    use super::*;
    use crate::config::RuntimeConfig;

    #[test]
    fn a_time_counts_in_the_first_class_that_holds_it() {
        let clock = Clock::default();
        for time in [
            Duration::ZERO,
            TIME_CLASSES[0],
            TIME_CLASSES[0] + Duration::from_nanos(1),
            Duration::from_secs(61),
        ] {
            clock.add(time);
        }
        let times = clock.times();
        assert_eq!(times.counts, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let micros = Duration::from_nanos(2 * 100_000 + 1);
        assert_eq!(times.total, Duration::from_secs(61) + micros);
    }

    #[test]
    fn ends_and_refusals_are_counted_by_kind() {
        let counters = Counters::default();
        counters.ended(CellEnd::Limit);
        counters.refused(LimitName::Sessions);
        counters.refused(LimitName::Sessions);
        let pools = Pools::new(&RuntimeConfig::default());
        let _held = Budget::within(&pools.unread, 10).try_hold(7);
        let figures = counters.figures(&pools);
        assert_eq!((figures.active_cells, figures.unread_bytes), (0, 7));
        assert_eq!(figures.refusals, [(LimitName::Sessions, 2)]);
        for (end, count) in figures.ends {
            assert_eq!(count, u64::from(end == CellEnd::Limit));
        }
    }
}
