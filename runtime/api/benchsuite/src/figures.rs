// SPDX-License-Identifier: Apache-2.0
//! Figures of a series of samples.

use std::time::Duration;

/// Mean and percentiles of a series of times, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// How many samples there are; at least 1.
    pub count: usize,
    /// The arithmetic mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// What 95 of 100 samples do not exceed.
    pub p95: f64,
    /// What 99 of 100 samples do not exceed.
    pub p99: f64,
}

impl Figures {
    /// The figures of these samples; `None` when there are none.
    ///
    /// A percentile is one of the samples: the smallest that so many of a hundred do not exceed.
    pub fn of(samples: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let micros = |sample: Duration| sample.as_secs_f64() * 1e6;
        let mut sorted: Vec<f64> = samples.into_iter().map(micros).collect();
        sorted.sort_by(f64::total_cmp);
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            sorted.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            count: sorted.len(),
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            p50: percentile(50)?,
            p95: percentile(95)?,
            p99: percentile(99)?,
        })
    }

    /// How many of them fit into a second at the median.
    pub fn per_second(&self) -> f64 {
        1e6 / self.p50
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Option<Figures> {
        Figures::of(micros.into_iter().map(Duration::from_micros))
    }

    #[test]
    fn no_samples_have_no_figures() {
        assert_eq!(of([]), None);
    }

    #[test]
    fn one_sample_is_every_figure() {
        let figures = of([7]).unwrap();
        assert_eq!(figures.count, 1);
        for figure in [figures.mean, figures.p50, figures.p95, figures.p99] {
            assert_eq!(figure, 7.0);
        }
    }

    #[test]
    fn percentiles_of_a_hundred_samples_are_their_ranks_in_any_order() {
        let figures = of((1..=100).rev()).unwrap();
        assert_eq!(figures.count, 100);
        assert_eq!(figures.mean, 50.5);
        assert_eq!([figures.p50, figures.p95, figures.p99], [50.0, 95.0, 99.0]);
    }

    #[test]
    fn percentiles_of_few_samples_round_up() {
        let figures = of([10, 20, 30, 40]).unwrap();
        assert_eq!([figures.p50, figures.p95, figures.p99], [20.0, 40.0, 40.0]);
        assert_eq!(of([10, 20, 30]).unwrap().p50, 20.0);
    }

    #[test]
    fn the_rate_is_that_of_the_median() {
        assert_eq!(of([100, 250, 900]).unwrap().per_second(), 4000.0);
    }
}
