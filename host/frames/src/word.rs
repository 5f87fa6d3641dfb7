// SPDX-License-Identifier: Apache-2.0
//! Outboxes that hold events which nobody passes on, and who sees to them.

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use code_mode_api::waist::Outbox;
use tokio::sync::Notify;

use crate::config::EVENTS_IN_A_ROW;
use crate::outgoing::Outgoing;

thread_local! {
    /// Whether this thread is asking a session for something, and looks for events itself after that.
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// Whose events wait.
pub(crate) trait Carrying: Send + Sync {
    /// A number that no other session of the connection has.
    fn number(&self) -> u64;

    /// Passes on what an outbox holds, at most so many events in a row, unless somebody does so
    /// already or there is no room.
    fn carry(self: Arc<Self>, outbox: &Arc<Outbox>, most: usize);
}

/// The outboxes about which somebody has left word, session by session. At most one entry for each.
#[derive(Default)]
pub(crate) struct Word {
    left: Mutex<Left>,
    notify: Notify,
}

type Entry = (Arc<dyn Carrying>, Arc<Outbox>);

#[derive(Default)]
struct Left {
    /// Sessions with an outbox here, in the order of their turns.
    turns: VecDeque<u64>,
    sessions: HashMap<u64, VecDeque<Entry>>,
    /// The outboxes that are here.
    outboxes: HashSet<u64>,
    closed: bool,
}

impl Left {
    fn next(&mut self) -> Option<Entry> {
        let number = self.turns.pop_front()?;
        let outboxes = self.sessions.get_mut(&number)?;
        let entry = outboxes.pop_front();
        if outboxes.is_empty() {
            self.sessions.remove(&number);
        } else {
            self.turns.push_back(number);
        }
        let entry = entry?;
        self.outboxes.remove(&entry.1.number());
        Some(entry)
    }
}

impl Word {
    /// Says that an outbox holds events.
    pub(crate) fn leave(&self, session: Arc<dyn Carrying>, outbox: &Arc<Outbox>) {
        {
            let mut left = self.lock();
            if left.closed || !left.outboxes.insert(outbox.number()) {
                return;
            }
            let number = session.number();
            let entry = (session, Arc::clone(outbox));
            let outboxes = left.sessions.entry(number).or_default();
            outboxes.push_back(entry);
            if outboxes.len() == 1 {
                left.turns.push_back(number);
            }
        }
        if !ASKING.get() {
            self.notify.notify_one();
        }
    }

    /// Ends the courier.
    pub(crate) fn close(&self) {
        let left = {
            let mut left = self.lock();
            let closed = Left {
                closed: true,
                ..Left::default()
            };
            std::mem::replace(&mut *left, closed)
        };
        // What holds a session must not meet the lock.
        drop(left);
        self.notify.notify_one();
    }

    /// Asks a session for something, and passes on what that brings about at once.
    pub(crate) fn asking(&self, outgoing: &Outgoing, ask: impl FnOnce()) {
        struct Asking;

        impl Drop for Asking {
            fn drop(&mut self) {
                ASKING.set(false);
            }
        }

        {
            let _asking = Asking;
            ASKING.set(true);
            ask();
        }
        // What others leave meanwhile is not this thread's.
        for _ in 0..self.len() {
            if !outgoing.has_room() {
                break;
            }
            let Some((session, outbox)) = self.next() else {
                return;
            };
            session.carry(&outbox, EVENTS_IN_A_ROW);
        }
        if self.len() > 0 {
            self.notify.notify_one();
        }
    }

    /// Passes on the events that were put by those who may not do so themselves, and those that found
    /// no room: session after session, until the connection is over.
    pub(crate) async fn carry_on(&self, outgoing: &Outgoing) {
        while !self.lock().closed {
            self.notify.notified().await;
            loop {
                outgoing.room().await;
                let Some((session, outbox)) = self.next() else {
                    break;
                };
                session.carry(&outbox, EVENTS_IN_A_ROW);
                // The reader shares the thread.
                tokio::task::consume_budget().await;
            }
        }
    }

    fn len(&self) -> usize {
        self.lock().outboxes.len()
    }

    /// Bytes of the events that wait in these outboxes.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let left = self.lock();
        let outboxes = left.sessions.values().flatten();
        outboxes
            .map(|(_, outbox)| outbox.untaken_bytes())
            .fold(0, usize::saturating_add)
    }

    fn next(&self) -> Option<Entry> {
        self.lock().next()
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use code_mode_api::CellId;
    use code_mode_api::waist::{Bell, Budget, Event, OutboxOwner, Ringer};

    use super::*;
    use crate::config::ConnectionLimits;

    struct NoBell;

    impl Bell for NoBell {
        fn ring(&self, _: &Arc<Outbox>, _: Ringer) {}
    }

    /// Notes whose turn it was.
    struct Session {
        number: u64,
        turns: Arc<Mutex<Vec<u64>>>,
    }

    impl Carrying for Session {
        fn number(&self) -> u64 {
            self.number
        }

        fn carry(self: Arc<Self>, outbox: &Arc<Outbox>, most: usize) {
            self.turns.lock().unwrap().push(self.number);
            let taking = outbox.take().unwrap();
            assert!(taking.take(most).count() > 0);
        }
    }

    fn outbox() -> Arc<Outbox> {
        let outbox = Outbox::new(
            OutboxOwner::Session,
            1 << 20,
            Arc::new(NoBell),
            Budget::new(1 << 20),
        );
        let cell_id = CellId::new("1");
        outbox.put(Event::CellClosed { cell_id }, Ringer::Helper);
        outbox
    }

    struct Fixture {
        word: Word,
        turns: Arc<Mutex<Vec<u64>>>,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                word: Word::default(),
                turns: Arc::default(),
            }
        }

        fn leave(&self, number: u64, outbox: &Arc<Outbox>) {
            let turns = Arc::clone(&self.turns);
            self.word.leave(Arc::new(Session { number, turns }), outbox);
        }
    }

    #[test]
    fn sessions_take_turns_however_many_of_their_cells_wait() {
        let fixture = Fixture::new();
        for _ in 0..3 {
            fixture.leave(1, &outbox());
        }
        fixture.leave(2, &outbox());
        let outgoing = Outgoing::new(&ConnectionLimits::default(), None);
        fixture
            .word
            .asking(&outgoing, || fixture.leave(3, &outbox()));
        assert_eq!(*fixture.turns.lock().unwrap(), [1, 2, 3, 1, 1]);
        assert_eq!(fixture.word.len(), 0);
    }

    #[test]
    fn an_outbox_waits_once_and_none_after_the_end() {
        let fixture = Fixture::new();
        let outbox = outbox();
        fixture.leave(1, &outbox);
        fixture.leave(1, &outbox);
        assert_eq!(fixture.word.len(), 1);
        assert_eq!(fixture.word.waiting_bytes(), outbox.untaken_bytes());
        fixture.word.close();
        fixture.leave(1, &outbox);
        assert_eq!(fixture.word.len(), 0);
    }
}
