// SPDX-License-Identifier: Apache-2.0
//! The runtime below the waist: the order of events, and who waits for a door that does not take them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::runtime;
use code_mode_api::waist::{
    Answer, Ask, AskId, Bell, Event, Outbox, OutboxOwner, Ringer, Session, Sessions,
};
use code_mode_api::{
    CellId, CellState, CellStatus, ExecuteRequest, RawJson, SessionError, SessionOptions,
    ToolDefinition, ToolKind, ToolName, WaitRequest,
};
use code_mode_runtime::{CELL_OUTBOX_BYTES, RuntimeConfig, RuntimeFailure, Supervisor};
use pretty_assertions::assert_eq;
use tokio::sync::mpsc;

/// Tells the test which outbox has events.
struct Ring(mpsc::UnboundedSender<Arc<Outbox>>);

impl Bell for Ring {
    fn ring(&self, outbox: &Arc<Outbox>, _: Ringer) {
        // The test may be over.
        let _ = self.0.send(Arc::clone(outbox));
    }
}

#[derive(Default)]
struct Failures(Mutex<Vec<RuntimeFailure>>);

impl Supervisor for Failures {
    fn failed(&self, failure: RuntimeFailure) {
        self.0.lock().expect("no test panics here").push(failure);
    }
}

/// A door that takes events when the test asks for them.
struct Door {
    session: Arc<dyn Session>,
    rung: mpsc::UnboundedReceiver<Arc<Outbox>>,
    taken: VecDeque<Event>,
    failures: Arc<Failures>,
}

impl Door {
    fn open() -> Self {
        let failures = Arc::new(Failures::default());
        let supervisor = Arc::clone(&failures) as Arc<dyn Supervisor>;
        let runtime = runtime(RuntimeConfig::default(), Some(supervisor));
        let (ring, rung) = mpsc::unbounded_channel();
        let sessions: &dyn Sessions = &runtime;
        let session = sessions
            .open(SessionOptions::default(), Arc::new(Ring(ring)))
            .expect("it opens");
        Self {
            session,
            rung,
            taken: VecDeque::new(),
            failures,
        }
    }

    fn ask(&self, id: u64, ask: Ask) {
        self.session.ask(AskId(id), ask);
    }

    fn execute(&self, id: u64, source: &str, yield_time: Duration) {
        let mut request = ExecuteRequest::new(source);
        request.yield_time = Some(yield_time);
        request.tools = Arc::from([ToolDefinition {
            name: "a".to_owned(),
            tool_name: ToolName {
                name: "a".to_owned(),
                namespace: None,
            },
            description: String::new(),
            kind: ToolKind::Function,
            input_schema: None,
            output_schema: None,
        }]);
        self.ask(id, Ask::Execute(request));
    }

    fn wait(&self, id: u64, cell: &str) {
        let request = WaitRequest {
            cell_id: CellId::new(cell),
            yield_time: Some(LONG),
        };
        self.ask(id, Ask::Wait(request));
    }

    async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.taken.pop_front() {
                return event;
            }
            let outbox = self.rung.recv().await.expect("the session lives");
            if let Some(taking) = outbox.take() {
                self.taken.extend(taking.map(|taken| taken.event));
            }
        }
    }

    /// The next event in a word or two, and answers it if it asks for one.
    async fn word(&mut self) -> String {
        match self.event().await {
            Event::Started { ask, cell_id } => format!("started {} {cell_id}", ask.0),
            Event::Call { call, .. } => {
                self.session.answer(call, Ok(json("7")));
                "call".to_owned()
            }
            Event::Notify { call, .. } => {
                self.session.answer(call, Ok(json("null")));
                "notify".to_owned()
            }
            Event::CallCancelled { .. } => "cancelled".to_owned(),
            Event::Observed { ask, response } => match response.status {
                CellStatus::Yielded => format!("yielded {}", ask.0),
                CellStatus::Terminated => format!("terminated {}", ask.0),
                CellStatus::Completed { error_text } => {
                    format!("completed {} {}", ask.0, error_text.unwrap_or_default())
                }
            },
            Event::CellClosed { cell_id } => format!("closed {cell_id}"),
            Event::Answered { ask, result } => match result {
                Ok(Answer::Done) => format!("done {}", ask.0),
                Ok(Answer::Store(values)) => format!("store {} {:?}", ask.0, values.keys()),
                Ok(Answer::Cells(cells)) => {
                    let cells: Vec<String> = cells
                        .iter()
                        .map(|cell| {
                            format!(
                                "{}{}",
                                cell.cell_id,
                                if cell.state == CellState::Ended {
                                    "!"
                                } else {
                                    ""
                                }
                            )
                        })
                        .collect();
                    format!("cells {} {}", ask.0, cells.join(" "))
                }
                Ok(other) => format!("{other:?}"),
                Err(error) => format!("error {} {error}", ask.0),
            },
            other => format!("{other:?}"),
        }
    }

    async fn words<const N: usize>(&mut self) -> [String; N] {
        let mut words = std::array::from_fn(|_| String::new());
        for word in &mut words {
            *word = self.word().await;
        }
        words
    }

    /// The outbox of the one cell, once its thread waits for room in it.
    async fn full_outbox(&mut self, bytes: usize) -> Arc<Outbox> {
        let outbox = loop {
            let outbox = self.rung.recv().await.expect("the session lives");
            if matches!(outbox.owner(), OutboxOwner::Cell(_)) {
                break outbox;
            }
        };
        while outbox.has_room_for(bytes) {
            tokio::task::yield_now().await;
        }
        outbox
    }

    fn failures(&self) -> Vec<RuntimeFailure> {
        self.failures.0.lock().expect("no test panics here").clone()
    }
}

const LONG: Duration = Duration::from_secs(600);

/// Notifies for ever, with a quarter of what an outbox holds each time.
const FLOOD: &str = "const long = 'x'.repeat(1 << 20); for (;;) notify(long);";

fn json(text: &str) -> RawJson {
    serde_json::value::RawValue::from_string(text.to_owned()).expect("is JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn events_come_in_the_order_in_which_they_happened() {
    let mut door = Door::open();
    door.execute(
        1,
        "notify('n'); text(await tools.a(1)); tools.a(2); tools.a(3)",
        LONG,
    );
    let words = door.words().await;
    assert_eq!(words, ["started 1 1", "notify", "call"]);
    // The last two calls are not awaited: they are answered or cancelled, and the result comes after.
    let mut rest = Vec::new();
    while rest
        .last()
        .is_none_or(|word: &String| !word.starts_with("completed"))
    {
        rest.push(door.word().await);
    }
    assert_eq!(rest.pop(), Some("completed 1 ".to_owned()));
    assert!(
        rest.iter()
            .all(|word| word == "call" || word == "cancelled"),
        "{rest:?}"
    );
    assert_eq!(door.word().await, "closed 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cell_is_closed_when_its_result_has_been_read() {
    let mut door = Door::open();
    door.execute(1, "await tools.a(); store('k', 1)", Duration::ZERO);
    let mut words = door.words::<3>().await;
    words.sort();
    assert_eq!(words, ["call", "started 1 1", "yielded 1"]);
    // The list says when the cell has ended.
    let mut ask = 2;
    while {
        door.ask(ask, Ask::ListCells);
        door.word().await != format!("cells {ask} 1!")
    } {
        ask += 1;
    }
    door.wait(100, "1");
    assert_eq!(door.words().await, ["completed 100 ", "closed 1"]);
    door.wait(101, "1");
    let finished = SessionError::CellFinished {
        cell_id: CellId::new("1"),
    };
    assert_eq!(door.word().await, format!("error 101 {finished}"));
    door.ask(102, Ask::ExportStore);
    assert_eq!(door.word().await, "store 102 [\"k\"]");
    let values = [("l".to_owned(), json("2"))].into_iter().collect();
    door.ask(103, Ask::ImportStore(values));
    assert_eq!(door.word().await, "done 103");
    door.execute(104, "text(load('l'))", LONG);
    let words = door.words().await;
    assert_eq!(words, ["started 104 2", "completed 104 ", "closed 2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wait_is_taken_back_and_another_one_made_to_yield() {
    let mut door = Door::open();
    door.execute(
        1,
        "await new Promise(() => setTimeout(() => {}, 1e6))",
        LONG,
    );
    assert_eq!(door.word().await, "started 1 1");
    door.wait(2, "1");
    assert!(
        door.word()
            .await
            .starts_with("error 2 exec cell 1 is already being observed")
    );
    door.ask(3, Ask::Yield { ask: AskId(1) });
    assert_eq!(door.word().await, "yielded 1");
    door.wait(4, "1");
    door.session.withdraw(AskId(4));
    assert_eq!(door.word().await, "error 4 the operation was cancelled");
    door.session.withdraw(AskId(4));
    door.ask(5, Ask::Yield { ask: AskId(4) });
    door.ask(
        6,
        Ask::Terminate {
            cell_id: CellId::new("1"),
        },
    );
    assert_eq!(door.words().await, ["terminated 6", "closed 1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_shutdown_closes_every_cell_and_is_answered_last() {
    let mut door = Door::open();
    door.execute(1, "for (;;) {}", Duration::ZERO);
    assert_eq!(door.words().await, ["started 1 1", "yielded 1"]);
    door.ask(2, Ask::Shutdown);
    let mut words = door.words::<2>().await;
    words.sort();
    assert_eq!(words, ["closed 1", "done 2"]);
    door.execute(3, "1", LONG);
    assert!(door.word().await.starts_with("error 3 session"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cell_whose_events_nobody_takes_waits_until_it_is_terminated() {
    let mut door = Door::open();
    door.execute(1, FLOOD, LONG);
    let outbox = door.full_outbox(1 << 20).await;
    door.ask(
        2,
        Ask::Terminate {
            cell_id: CellId::new("1"),
        },
    );
    let mut notified = 0;
    let mut taken = Vec::new();
    while taken
        .last()
        .is_none_or(|word: &String| !word.starts_with("closed"))
    {
        if let Some(taking) = outbox.take() {
            door.taken.extend(taking.map(|one| one.event));
        }
        let word = door.word().await;
        notified += usize::from(word == "notify");
        taken.push(word);
    }
    // It spoke until the outbox was full, and no more when it was told to stop.
    assert!(notified <= CELL_OUTBOX_BYTES / (1 << 20), "{notified}");
    assert!(taken.contains(&"terminated 2".to_owned()), "{taken:?}");
    assert_eq!(door.failures(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_cell_that_waits_for_room_reaches_its_limits_like_any_other() {
    let mut door = Door::open();
    let mut request = ExecuteRequest::new(FLOOD);
    request.limits.wall_time = Some(Duration::from_secs(3));
    request.yield_time = Some(LONG);
    door.ask(1, Ask::Execute(request));
    door.full_outbox(1 << 20).await;
    let outcome = loop {
        let word = door.word().await;
        if word.starts_with("completed") {
            break word;
        }
    };
    assert!(outcome.contains("wall time"), "{outcome}");
    assert_eq!(door.word().await, "closed 1");
    assert_eq!(door.failures(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_that_is_dropped_lets_go_of_a_cell_that_waits_for_room() {
    let mut door = Door::open();
    door.execute(1, FLOOD, LONG);
    let outbox = door.full_outbox(1 << 20).await;
    let Door {
        session,
        mut rung,
        failures,
        ..
    } = door;
    drop(session);
    drop(outbox);
    // The bell is dropped with the last that could ring it: the session's cells have ended.
    while rung.recv().await.is_some() {}
    assert_eq!(*failures.0.lock().expect("no test panics here"), []);
}
