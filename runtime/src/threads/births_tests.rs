// SPDX-License-Identifier: Apache-2.0
use std::sync::mpsc;
use std::time::{Duration, Instant};

use code_mode_api::{CellId, CellResponse, CellStatus, ContentItem, SessionError, SideEffects};
use code_mode_testsuite::{Fixture, NoTools};
use pretty_assertions::assert_eq;

use super::*;
use crate::faults::Fault;
use crate::{Observer, Runtime, RuntimeConfig, Session};

/// How long anything may take that is waited for here.
const GUARD: Duration = Duration::from_secs(60);

type Answer = mpsc::Receiver<Result<CellResponse, SessionError>>;

fn observer() -> (Observer, Answer) {
    let (sender, answer) = mpsc::channel();
    // A test that has failed already waits for no answer.
    (
        Box::new(move |response| drop(sender.send(response))),
        answer,
    )
}

/// The status and the output of a cell that answers.
fn response(answer: &Answer) -> (CellStatus, Vec<ContentItem>) {
    let response = answer.recv_timeout(GUARD).expect("it answers in time");
    let response = response.expect("it is a response");
    (response.status, response.content_items)
}

/// A runtime without ready isolates, whose turns the test has all taken.
struct Held {
    runtime: Runtime,
    session: Session,
    births: Arc<Births>,
    turns: Vec<Birth>,
}

impl Held {
    fn new(fault: Option<Fault>) -> Self {
        let config = RuntimeConfig {
            ready_isolates: 0,
            fault,
            ..RuntimeConfig::default()
        };
        let runtime = Runtime::new(config, tokio::runtime::Handle::current(), None)
            .expect("there are threads");
        let births = runtime.core.backend.births();
        births.lock().making = births.most;
        Self {
            session: runtime.open(None, Arc::new(NoTools)).expect("it opens"),
            runtime,
            turns: (0..births.most)
                .map(|_| Birth(Arc::clone(&births)))
                .collect(),
            births,
        }
    }

    /// Starts a cell, which has to wait.
    fn start(&self, source: &str) -> (CellId, Answer) {
        let request = Fixture::request(source);
        let cell = self.session.admit(request).expect("it is admitted");
        let id = cell.id().clone();
        let (observer, answer) = observer();
        cell.start(observer);
        (id, answer)
    }

    /// Slots that are taken, and seats that are free.
    fn places(&self) -> (usize, usize) {
        let seats = &self.runtime.core.shared.seats;
        (self.runtime.figures().active_cells, seats.free())
    }

    fn waiting(&self) -> usize {
        self.births.lock().waiting.len()
    }

    /// Waits until so many isolates are in the making, the test's own turns included.
    fn until_making(&self, number: usize) {
        let begun = Instant::now();
        while self.births.lock().making != number {
            assert!(begun.elapsed() < GUARD, "a turn was not given back");
            std::thread::yield_now();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_over_the_bound_wait_and_have_one_turn_after_the_other() {
    let mut held = Held::new(None);
    assert!(held.births.most >= BIRTHS_PER_PROCESSOR);
    let answers: Vec<_> = (0..3 * held.births.most)
        .map(|number| held.start(&format!("text('cell {number}')")).1)
        .collect();
    assert_eq!(held.waiting(), answers.len());

    // One turn is enough for them all: it goes from cell to cell.
    drop(held.turns.pop());
    for (number, answer) in answers.iter().enumerate() {
        let completed = CellStatus::Completed { error_text: None };
        let output = vec![ContentItem::Text(format!("cell {number}"))];
        assert_eq!(response(answer), (completed, output));
    }
    held.until_making(held.turns.len());
    assert_eq!(held.waiting(), 0);
    held.session.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_gets_no_thread_gives_its_turn_to_the_next() {
    let mut held = Held::new(Some(Fault::NoThread));
    let (_, all) = held.places();
    let answers = [held.start("text(1)").1, held.start("text(2)").1];
    drop(held.turns.pop());
    for answer in &answers {
        let answer = answer.recv_timeout(GUARD).expect("it is told");
        assert!(
            matches!(answer, Err(SessionError::RuntimeLost { .. })),
            "{answer:?}"
        );
    }
    held.until_making(held.turns.len());
    assert_eq!(held.places(), (0, all));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_lost_on_its_way_ends_its_cell_and_gives_its_places_back() {
    for panics in [false, true] {
        let held = Held::new(None);
        let (_, all) = held.places();
        let (cell, first) = held.start("text('it runs')");
        assert_eq!(held.places(), (1, all - 1));
        let job = held.births.lock().waiting.pop_front();
        let lost = std::thread::spawn(move || {
            let _job = job.expect("it waits for its turn");
            assert!(!panics, "a test wants it so");
        });
        assert_eq!(lost.join().is_err(), panics);
        let answer = first.recv_timeout(GUARD).expect("it is told");
        let error = answer.expect_err("it has not run");
        assert_eq!(error.side_effects(), SideEffects::None);
        let why = if panics { "vanished" } else { "dropped" };
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(held.places(), (0, all));
        let finished = held.session.observe(&cell, None, observer().0);
        assert_eq!(finished, Err(SessionError::CellFinished { cell_id: cell }));
        held.session.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_dropped_gives_all_places_back_once_its_cells_had_their_turn() {
    let Held {
        runtime,
        session,
        births,
        turns,
    } = Held::new(None);
    let all = runtime.core.shared.seats.free();
    let admitted = |source| session.admit(Fixture::request(source)).expect("admitted");
    let unstarted = admitted("text('it is never started')");
    let (observer, answer) = observer();
    admitted("for (;;);").start(observer);
    drop((session, unstarted));
    drop(turns);
    assert_eq!(response(&answer), (CellStatus::Terminated, Vec::new()));
    let begun = Instant::now();
    while (
        runtime.figures().active_cells,
        runtime.core.shared.seats.free(),
    ) != (0, all)
    {
        assert!(begun.elapsed() < GUARD, "a place was not given back");
        std::thread::yield_now();
    }
    drop(births);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_ended_only_when_the_last_word_about_its_cells_was_said() {
    let mut held = Held::new(None);
    let (_, all) = held.places();
    let (cell, first) = held.start("yield_control(); text('kept')");
    drop(held.turns.pop());
    assert_eq!(response(&first), (CellStatus::Yielded, Vec::new()));
    let begun = Instant::now();
    // Its thread is gone, and its result still there.
    while held.places() != (0, all) {
        assert!(begun.elapsed() < GUARD, "the cell does not end");
        std::thread::yield_now();
    }
    let (entered, has_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let session = held.session.clone();
    let observing = std::thread::spawn(move || {
        let observer: Observer = Box::new(move |response| {
            entered.send(response.is_ok()).expect("the test waits");
            may_go_on.recv().expect("the test goes on");
        });
        session
            .observe(&cell, None, observer)
            .expect("it has a result");
    });
    assert_eq!(has_entered.recv_timeout(GUARD), Ok(true));
    let (done, is_done) = mpsc::channel();
    held.session.begin_shutdown(Box::new(move || {
        done.send(()).expect("the test waits");
    }));
    assert!(is_done.try_recv().is_err(), "an observer is just told");
    go_on.send(()).expect("it waits");
    is_done.recv_timeout(GUARD).expect("nothing is left to say");
    observing.join().expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_is_terminated_while_it_waits_never_runs() {
    let mut held = Held::new(None);
    let (cell, first) = held.start("text('it runs'); for (;;);");
    let (observer, last) = observer();
    held.session
        .terminate(&cell, observer)
        .expect("it has not ended");
    drop(held.turns.pop());
    for answer in [first, last] {
        assert_eq!(response(&answer), (CellStatus::Terminated, Vec::new()));
    }
    held.until_making(held.turns.len());
}
