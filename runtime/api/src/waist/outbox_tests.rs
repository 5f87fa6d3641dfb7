// SPDX-License-Identifier: Apache-2.0
use std::sync::Mutex;
use std::sync::mpsc;
use std::task::Waker;

use super::*;
use crate::waist::MINIMUM_EVENT_BYTES;

/// Notes who rang.
#[derive(Default)]
struct Rings(Mutex<Vec<Ringer>>);

impl Bell for Rings {
    fn ring(&self, _: &Arc<Outbox>, by: Ringer) {
        self.0.lock().expect("no test panics here").push(by);
    }
}

struct Fixture {
    rings: Arc<Rings>,
    budget: Arc<Budget>,
    outbox: Arc<Outbox>,
}

impl Fixture {
    fn new(capacity: usize, budget: usize) -> Self {
        let rings = Arc::new(Rings::default());
        let budget = Budget::new(budget);
        let cell = OutboxOwner::Cell(CellId::new("1"));
        let outbox = Outbox::new(
            cell,
            capacity,
            Arc::clone(&rings) as Arc<dyn Bell>,
            Arc::clone(&budget),
        );
        Self {
            rings,
            budget,
            outbox,
        }
    }

    fn rings(&self) -> Vec<Ringer> {
        std::mem::take(&mut self.rings.0.lock().expect("no test panics here"))
    }
}

fn closed() -> Event {
    Event::CellClosed {
        cell_id: CellId::new("1"),
    }
}

#[test]
fn events_come_out_in_the_order_in_which_they_were_put() {
    let fixture = Fixture::new(1 << 20, 1 << 20);
    for call in 1..=3 {
        let call = crate::waist::CallId(call);
        fixture
            .outbox
            .put(Event::CallCancelled { call }, Ringer::Cell);
    }
    let taking = fixture.outbox.take().expect("there are events");
    let calls: Vec<u64> = taking
        .map(|taken| match taken.event {
            Event::CallCancelled { call } => call.0,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(calls, [1, 2, 3]);
}

#[test]
fn one_taker_at_a_time_sees_what_is_put_meanwhile_and_nobody_rings() {
    let fixture = Fixture::new(1 << 20, 1 << 20);
    assert!(fixture.outbox.take().is_none(), "it is empty");
    fixture.outbox.put(closed(), Ringer::Helper);
    assert_eq!(fixture.rings(), [Ringer::Helper]);
    let mut taking = fixture.outbox.take().expect("there is an event");
    assert!(fixture.outbox.take().is_none(), "somebody takes");
    assert!(taking.next().is_some());
    fixture.outbox.put(closed(), Ringer::Cell);
    assert!(fixture.rings().is_empty());
    assert!(taking.next().is_some());
    assert!(taking.next().is_none());
}

#[test]
fn what_a_taker_leaves_behind_rings_again() {
    let fixture = Fixture::new(1 << 20, 1 << 20);
    fixture.outbox.put(closed(), Ringer::Cell);
    drop(fixture.outbox.take());
    assert_eq!(fixture.rings(), [Ringer::Cell, Ringer::Helper]);
    assert!(fixture.outbox.take().is_some());
}

#[test]
fn an_empty_outbox_has_room_for_one_event_of_any_size() {
    let fixture = Fixture::new(1, 1);
    let elsewhere = fixture.budget.hold(1 << 20);
    assert_eq!(fixture.outbox.wait_for_room(1 << 30), Ok(()));
    drop(elsewhere);
    fixture.outbox.put(closed(), Ringer::Cell);
    let mut context = Context::from_waker(Waker::noop());
    assert!(fixture.outbox.poll_room(1, &mut context).is_pending());
}

#[test]
fn an_event_counts_until_it_is_passed_on_and_not_only_until_it_is_taken() {
    let fixture = Fixture::new(1, 1 << 20);
    fixture.outbox.put(closed(), Ringer::Cell);
    let taken = fixture.outbox.take().and_then(|mut taking| taking.next());
    let mut context = Context::from_waker(Waker::noop());
    assert!(fixture.outbox.poll_room(1, &mut context).is_pending());
    assert_eq!(fixture.budget.held(), MINIMUM_EVENT_BYTES);
    drop(taken);
    assert!(fixture.outbox.poll_room(1, &mut context).is_ready());
    assert_eq!(fixture.budget.held(), 0);
}

#[test]
fn a_full_budget_of_the_session_holds_back_a_cell_that_has_spoken() {
    let fixture = Fixture::new(1 << 20, MINIMUM_EVENT_BYTES);
    fixture.outbox.put(closed(), Ringer::Cell);
    let mut context = Context::from_waker(Waker::noop());
    assert!(fixture.outbox.poll_room(1, &mut context).is_pending());
    assert!(fixture.outbox.poll_room(0, &mut context).is_ready());
}

#[test]
fn a_thread_that_waits_for_room_goes_on_when_there_is_some_or_it_is_stopped() {
    for stop in [false, true] {
        let fixture = Fixture::new(1, 1);
        fixture.outbox.put(closed(), Ringer::Cell);
        let outbox = Arc::clone(&fixture.outbox);
        let (sender, outcome) = mpsc::channel();
        let waiter = std::thread::spawn(move || sender.send(outbox.wait_for_room(1)));
        if stop {
            fixture.outbox.stop();
            assert_eq!(outcome.recv(), Ok(Err(Stopped)));
        } else {
            drop(fixture.outbox.take().and_then(|mut taking| taking.next()));
            assert_eq!(outcome.recv(), Ok(Ok(())));
        }
        waiter.join().expect("it does not panic").expect("is heard");
    }
}

#[test]
fn bytes_wait_until_their_event_is_taken_and_count_until_it_is_passed_on() {
    let fixture = Fixture::new(1 << 20, 1 << 20);
    fixture.outbox.put(closed(), Ringer::Cell);
    assert_eq!(fixture.outbox.untaken_bytes(), MINIMUM_EVENT_BYTES);
    let taken = fixture.outbox.take().and_then(|mut taking| taking.next());
    assert_eq!(fixture.outbox.untaken_bytes(), 0);
    assert_eq!(fixture.budget.held(), MINIMUM_EVENT_BYTES);
    drop(taken);
    assert_eq!(fixture.budget.held(), 0);
}
