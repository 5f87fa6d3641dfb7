// SPDX-License-Identifier: Apache-2.0
//! Bounds on bytes that wait in a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit. Small frames cost one permit each, so a budget of bytes bounds their number too.
const UNIT_BYTES: usize = 1024;

/// A budget of bytes; who wants more than is left waits, in order of arrival.
#[derive(Debug, Clone)]
pub(super) struct ByteBudget {
    semaphore: Arc<Semaphore>,
    units: u32,
}

/// A part of a [`ByteBudget`] or of a [`ByteCount`], given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
    _counted: Option<Counted>,
}

/// Counts bytes for which nobody waits.
#[derive(Debug, Default)]
pub(super) struct ByteCount(Arc<AtomicUsize>);

#[derive(Debug)]
struct Counted {
    count: Arc<AtomicUsize>,
    bytes: usize,
}

impl ByteCount {
    /// Counts so many bytes until the share is dropped.
    pub(super) fn count(&self, bytes: usize) -> Share {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Share {
            _permit: None,
            _counted: Some(Counted {
                count: Arc::clone(&self.0),
                bytes,
            }),
        }
    }

    /// The bytes that are counted now.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl ByteBudget {
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Self {
            semaphore: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Waits for room for so many bytes. More than the whole budget costs all of it, so that one
    /// large frame gets through alone.
    pub(super) async fn acquire(&self, bytes: usize) -> Share {
        let wanted = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let wanted = wanted.clamp(1, self.units);
        // Fails only on a closed semaphore, and nothing closes this one.
        Share {
            _permit: Arc::clone(&self.semaphore)
                .acquire_many_owned(wanted)
                .await
                .ok(),
            _counted: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_holds_the_next_back_until_a_share_is_given_up() {
        let budget = ByteBudget::new(4 * UNIT_BYTES);
        let large = budget.acquire(3 * UNIT_BYTES).await;
        let _small = budget.acquire(1).await;
        let second = Duration::from_secs(1);
        assert!(timeout(second, budget.acquire(1)).await.is_err());
        drop(large);
        assert!(timeout(second, budget.acquire(1)).await.is_ok());
    }

    #[tokio::test]
    async fn more_than_the_whole_budget_goes_through_alone() {
        let budget = ByteBudget::new(2 * UNIT_BYTES);
        let _all = budget.acquire(usize::MAX).await;
        assert_eq!(budget.semaphore.available_permits(), 0);
    }
}
