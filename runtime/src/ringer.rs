// SPDX-License-Identifier: Apache-2.0
//! Who puts an event, and so whether a door may carry it on the spot.

use std::cell::Cell;

use code_mode_api::waist::Ringer;

thread_local! {
    /// Whether this thread is a cell's own. Such a thread serves one cell and ends with it.
    static IS_CELLS_OWN: Cell<bool> = const { Cell::new(false) };

    /// Whether a door is in the middle of an ask on this thread.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread is a cell's own, for as long as it lives.
pub(crate) fn is_a_cells_own() {
    IS_CELLS_OWN.set(true);
}

/// Acts for a door, which looks for events itself after that.
pub(crate) fn asking<T>(act: impl FnOnce() -> T) -> T {
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            ASKING.set(self.0);
        }
    }

    let _before = Before(ASKING.replace(true));
    act()
}

/// What this thread is for the events that it puts. Within a task that is no door's, it is the one that
/// reads a cell's process, or runs what a cell waits for: nobody else waits for such a task.
pub(crate) fn ringer() -> Ringer {
    if ASKING.get() {
        Ringer::Helper
    } else if IS_CELLS_OWN.get() {
        Ringer::Cell
    } else if tokio::task::try_id().is_some() {
        Ringer::Link
    } else {
        Ringer::Helper
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_a_helper_until_it_is_known_and_while_it_asks() {
        let on_its_own = |test: fn()| std::thread::spawn(test).join().unwrap();
        on_its_own(|| {
            assert_eq!(ringer(), Ringer::Helper);
            is_a_cells_own();
            assert_eq!(ringer(), Ringer::Cell);
            asking(|| {
                asking(|| ());
                assert_eq!(ringer(), Ringer::Helper);
            });
            assert_eq!(ringer(), Ringer::Cell);
        });
    }

    #[tokio::test]
    async fn a_task_that_asks_nothing_is_a_link() {
        tokio::spawn(async {
            assert_eq!(ringer(), Ringer::Link);
            assert_eq!(asking(ringer), Ringer::Helper);
        })
        .await
        .unwrap();
    }
}
