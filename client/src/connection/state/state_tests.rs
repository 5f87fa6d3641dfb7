// SPDX-License-Identifier: Apache-2.0
//! The table of calls and the bounds of a connection, one input at a time.

use std::sync::atomic::AtomicI64;

use code_mode_api::{
    CellId, CellResponse, CellStatus, CellTimings, ContentItem, Notification, SessionId,
    SideEffects, ToolInvocation, ToolKind, ToolName,
};
use code_mode_protocol::{
    DelegateRequest, DelegateRequestId, ErrorCode, OperationValue, WaitOutcome, WireError,
};
use code_mode_testsuite::NoTools;
use pretty_assertions::assert_eq;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::super::inputs::{Frame, Handover, Inputs, Observed, OpenSession};
use super::super::ticket::Ticket;
use super::delegate_calls::MAX_REMEMBERED_IDS;
use super::parked::{MAX_PARKED_BYTES, MAX_PARKED_RESPONSES};
use super::*;
use crate::config::{ConnectionLimits, Deadlines};
use crate::delegate::Delegate;
use crate::messages;
use crate::place::Place;
use crate::sent::SentExecutes;

struct Fixture {
    state: ConnectionState,
    now: Instant,
    inputs: Inputs,
    queue: mpsc::UnboundedReceiver<Input>,
    slots: Arc<Semaphore>,
    next: i64,
}

type Answered<T> = oneshot::Receiver<Result<T, CallError>>;

impl Fixture {
    /// A connection with one open session, `s`.
    fn new() -> Self {
        Self::with_limits(ConnectionLimits::default())
    }

    fn with_limits(limits: ConnectionLimits) -> Self {
        let (inputs, queue) = mpsc::unbounded_channel();
        let now = Instant::now();
        let ids = Arc::new(AtomicI64::new(1_000_000));
        let state = ConnectionState::new(limits, Deadlines::default(), inputs.clone(), ids, now);
        let slots = Arc::new(Semaphore::new(10_000));
        let mut fixture = Self {
            state,
            now,
            inputs,
            queue,
            slots,
            next: 1,
        };
        fixture.input(Input::Greeted(AgreedCapabilities::none()));
        let session = OpenSession {
            wire_id: Arc::from("s"),
            id: SessionId::new("s").expect("not empty"),
            generation: 1,
            delegate: Delegate::new(Arc::new(NoTools)),
            cuts_output: false,
            place: Place::for_test(),
        };
        let (reply, mut answer) = oneshot::channel();
        let id = fixture.request(|_| Operation::Open { session, reply });
        let session_id = SessionId::new("s").expect("not empty");
        fixture
            .answer(id, OperationValue::SessionReady { session_id })
            .expect("opened");
        assert_eq!(answer.try_recv(), Ok(Ok(())));
        fixture
    }

    fn host(&mut self, message: HostMessage) -> Result<(), String> {
        let input = Input::Host(message);
        self.state
            .handle(input, self.now)
            .map(drop)
            .map_err(|failure| failure.to_string())
    }

    fn answer(&mut self, id: RequestId, answer: OperationValue) -> Result<(), String> {
        self.host(HostMessage::OperationResponse {
            id,
            result: Ok(answer),
        })
    }

    fn refuse(&mut self, id: RequestId) -> Result<(), String> {
        let error = WireError::new("no");
        self.host(HostMessage::OperationResponse {
            id,
            result: Err(error),
        })
    }

    fn input(&mut self, input: Input) {
        self.state.handle(input, self.now).expect("no failure");
    }

    /// Takes in what tickets have sent.
    fn take_queued(&mut self) {
        while let Ok(input) = self.queue.try_recv() {
            self.input(input);
        }
    }

    fn request(&mut self, operation: impl FnOnce(RequestId) -> Operation) -> RequestId {
        let id = RequestId::new(self.next);
        self.next += 1;
        let bytes = messages::cancel_frame(id).expect("a frame");
        let frame = Frame {
            bytes,
            request: Some(id),
            _share: None,
        };
        let slot = Arc::clone(&self.slots).try_acquire_owned().expect("a slot");
        self.input(Input::Request(Request {
            id,
            operation: operation(id),
            frame,
            slot,
        }));
        id
    }

    fn execute(&mut self) -> (RequestId, Ticket<Handover, Inputs>) {
        let (reply, answer) = oneshot::channel();
        let id = self.request(|_| Operation::Execute {
            session: Arc::from("s"),
            exec_call_id: Arc::from("call"),
            yield_time: Duration::from_secs(10),
            reply,
        });
        (id, Ticket::new(id, answer, self.inputs.clone()))
    }

    /// A started cell whose caller has it.
    fn start(&mut self, cell: &str) -> (RequestId, Ticket<Observed, Inputs>) {
        let (reply, mut answer) = oneshot::channel();
        let id = self.request(|_| Operation::Execute {
            session: Arc::from("s"),
            exec_call_id: Arc::from("call"),
            yield_time: Duration::from_secs(10),
            reply,
        });
        self.answer(id, started(cell)).expect("started");
        let handover = answer.try_recv().expect("answered").expect("started");
        (id, handover.first)
    }

    fn wait(&mut self, cell: &str) -> (RequestId, Answered<Observed>) {
        let (reply, answer) = oneshot::channel();
        let id = self.request(|_| Operation::Wait {
            session: Arc::from("s"),
            cell: Arc::from(cell),
            yield_time: Duration::from_secs(1),
            reply,
        });
        (id, answer)
    }

    fn initial(&mut self, id: RequestId, response: CellResponse) -> Result<(), String> {
        self.host(HostMessage::ExecuteInitialResponse {
            id,
            result: Ok(response),
        })
    }

    fn close_cell(&mut self, cell: &str) -> Result<(), String> {
        self.host(HostMessage::CellClosed {
            session_id: SessionId::new("s").expect("not empty"),
            cell_id: CellId::new(cell),
        })
    }

    fn tool(&mut self, id: i64, cell: &str, input: &str) -> Result<(), String> {
        let invocation = ToolInvocation {
            session_id: SessionId::new("s").expect("not empty"),
            cell_id: CellId::new(cell),
            call_id: format!("tool-{id}"),
            exec_call_id: String::new(),
            tool_name: ToolName {
                name: "t".to_owned(),
                namespace: None,
            },
            tool_kind: ToolKind::Function,
            input: RawValue::from_string(input.to_owned()).expect("JSON"),
        };
        self.host(HostMessage::DelegateRequest {
            id: DelegateRequestId::new(id),
            request: DelegateRequest::ToolInvoke { invocation },
        })
    }

    fn cancel(&mut self, id: i64) -> Result<(), String> {
        let id = DelegateRequestId::new(id);
        self.host(HostMessage::DelegateCancel { id })
    }

    /// What the frames say that were made since the last look, without their callers' requests.
    fn own_frames(&mut self) -> Vec<String> {
        let frames = std::mem::take(&mut self.state.outbox);
        frames
            .iter()
            .filter(|frame| frame.request.is_none_or(|id| id.get() >= 1_000_000))
            .map(|frame| String::from_utf8_lossy(frame.bytes.payload()).into_owned())
            .collect()
    }

    fn pass(&mut self, time: Duration) -> Result<(), String> {
        self.now += time;
        self.state
            .expire(self.now)
            .map_err(|failure| failure.to_string())
    }

    fn cells(&self) -> usize {
        self.state.sessions["s"].cells.len()
    }
}

fn response(cell: &str, status: CellStatus, texts: &[&str]) -> CellResponse {
    CellResponse {
        cell_id: CellId::new(cell),
        status,
        content_items: texts
            .iter()
            .map(|text| ContentItem::Text((*text).to_owned()))
            .collect(),
        timings: CellTimings::default(),
        state_lost: None,
    }
}

fn started(cell: &str) -> OperationValue {
    OperationValue::ExecutionStarted {
        cell_id: CellId::new(cell),
    }
}

fn live(response: CellResponse) -> OperationValue {
    OperationValue::WaitCompleted {
        outcome: WaitOutcome::LiveCell(response),
    }
}

fn missing(cell: &str) -> OperationValue {
    OperationValue::WaitCompleted {
        outcome: WaitOutcome::MissingCell(done(cell, &[])),
    }
}

fn done(cell: &str, texts: &[&str]) -> CellResponse {
    response(cell, CellStatus::Completed { error_text: None }, texts)
}

fn yielded(cell: &str, texts: &[&str]) -> CellResponse {
    response(cell, CellStatus::Yielded, texts)
}

fn got(answer: &mut Answered<Observed>) -> Result<CellResponse, CallError> {
    answer
        .try_recv()
        .expect("answered")
        .map(|observed| observed.response)
}

#[test]
fn a_host_that_drains_is_left_only_by_a_session_that_has_no_cell_there() {
    let code = ErrorCode::new(crate::HOST_DRAINING).expect("a code");
    let refusal = || WireError::new("no").with_details(code.clone(), SideEffects::None);
    let mut fixture = Fixture::new();
    let (first, _observer) = fixture.start("1");
    let refused = |fixture: &mut Fixture| {
        let (reply, mut answer) = oneshot::channel();
        let id = fixture.request(|_| Operation::Execute {
            session: Arc::from("s"),
            exec_call_id: Arc::from("call"),
            yield_time: Duration::from_secs(10),
            reply,
        });
        let result = Err(refusal());
        let told = fixture.host(HostMessage::OperationResponse { id, result });
        told.expect("valid");
        answer.try_recv().expect("answered").expect_err("refused")
    };
    assert_eq!(refused(&mut fixture), CallError::Host(refusal()));
    fixture.initial(first, done("1", &[])).expect("valid");
    fixture.close_cell("1").expect("valid");
    assert_eq!(refused(&mut fixture), CallError::Draining(refusal()));
}

#[test]
fn a_cell_is_forgotten_when_its_result_is_delivered_and_it_is_closed() {
    let mut fixture = Fixture::new();
    let (id, _first) = fixture.start("1");
    fixture.initial(id, done("1", &["a"])).expect("valid");
    assert_eq!(fixture.cells(), 1);
    fixture.close_cell("1").expect("valid");
    assert_eq!(fixture.cells(), 0);
    assert_eq!(
        fixture.slots.available_permits(),
        10_000,
        "every call slot is given back"
    );
}

#[test]
fn an_execute_that_is_dropped_is_cancelled_and_its_cell_terminated_if_it_started_anyway() {
    let mut fixture = Fixture::new();
    let (id, ticket) = fixture.execute();
    drop(ticket);
    fixture.take_queued();
    assert_eq!(
        fixture.own_frames(),
        [format!(r#"{{"type":"operation/cancel","id":{id}}}"#)]
    );
    fixture.answer(id, started("1")).expect("valid");
    let frames = fixture.own_frames();
    assert!(
        frames[0].contains("session/terminate") && frames.len() == 1,
        "{frames:?}"
    );
}

#[test]
fn a_started_cell_that_nobody_takes_is_terminated() {
    let mut fixture = Fixture::new();
    let (id, ticket) = fixture.execute();
    fixture.answer(id, started("1")).expect("valid");
    assert_eq!(fixture.own_frames(), [""; 0]);
    // The answer lies in the ticket, but its owner goes without looking.
    drop(ticket);
    fixture.take_queued();
    assert!(fixture.own_frames()[0].contains("session/terminate"));
    fixture
        .tool(9, "1", "null")
        .expect("the host cannot know yet");
    assert!(fixture.own_frames()[0].contains("nobody waits for this cell"));
}

#[test]
fn the_first_response_that_nobody_took_is_given_to_the_next_wait() {
    let mut fixture = Fixture::new();
    let (id, first) = fixture.start("1");
    drop(first);
    fixture.take_queued();
    fixture.initial(id, yielded("1", &["a"])).expect("valid");
    let (_, mut answer) = fixture.wait("1");
    assert_eq!(got(&mut answer), Ok(yielded("1", &["a"])));
}

#[test]
fn a_response_that_arrived_but_was_not_taken_is_given_to_the_next_wait() {
    let mut fixture = Fixture::new();
    let (id, first) = fixture.start("1");
    fixture.initial(id, done("1", &["a"])).expect("valid");
    fixture.close_cell("1").expect("valid");
    drop(first);
    fixture.take_queued();
    let (_, mut answer) = fixture.wait("1");
    assert_eq!(got(&mut answer), Ok(done("1", &["a"])));
    assert_eq!(fixture.cells(), 0);
}

#[test]
fn a_wait_behind_an_abandoned_first_observation_takes_it_over() {
    let mut fixture = Fixture::new();
    let (id, first) = fixture.start("1");
    drop(first);
    fixture.take_queued();
    let (_, mut answer) = fixture.wait("1");
    fixture.initial(id, done("1", &["a"])).expect("valid");
    assert_eq!(got(&mut answer), Ok(done("1", &["a"])));
}

#[test]
fn a_wait_behind_an_abandoned_first_observation_yields_in_its_own_time() {
    let mut fixture = Fixture::new();
    let (_, first) = fixture.start("1");
    drop(first);
    fixture.take_queued();
    let (_, mut answer) = fixture.wait("1");
    fixture.pass(Duration::from_secs(1)).expect("no failure");
    assert_eq!(got(&mut answer), Ok(yielded("1", &[])));
}

#[test]
fn a_wait_goes_out_when_the_abandoned_one_before_it_is_cancelled() {
    let mut fixture = Fixture::new();
    let (id, _first) = fixture.start("1");
    fixture.initial(id, yielded("1", &[])).expect("valid");
    let (abandoned, answer) = fixture.wait("1");
    drop(answer);
    fixture.input(Input::Gone(abandoned));
    fixture.state.outbox.clear();
    let (second, mut answer) = fixture.wait("1");
    assert!(
        fixture.state.outbox.is_empty(),
        "the second waits for the first"
    );
    fixture.refuse(abandoned).expect("valid");
    assert_eq!(fixture.state.outbox[0].request, Some(second));
    fixture
        .answer(second, live(done("1", &["a"])))
        .expect("valid");
    assert_eq!(got(&mut answer), Ok(done("1", &["a"])));
}

#[test]
fn a_wait_of_little_time_behind_a_cancelled_one_is_asked_of_the_host_all_the_same() {
    let mut fixture = Fixture::new();
    let (id, _first) = fixture.start("1");
    fixture.initial(id, yielded("1", &[])).expect("valid");
    let (abandoned, answer) = fixture.wait("1");
    drop(answer);
    fixture.input(Input::Gone(abandoned));
    let (second, mut answer) = fixture.wait("1");
    // Longer than the second wait's own time.
    fixture.pass(Duration::from_secs(1)).expect("no failure");
    fixture.refuse(abandoned).expect("valid");
    fixture
        .answer(second, live(yielded("1", &["a"])))
        .expect("valid");
    assert_eq!(got(&mut answer), Ok(yielded("1", &["a"])));
}

#[test]
fn output_that_crosses_a_cancelled_wait_is_not_lost() {
    let mut fixture = Fixture::new();
    let (id, _first) = fixture.start("1");
    fixture.initial(id, yielded("1", &[])).expect("valid");
    let (abandoned, answer) = fixture.wait("1");
    drop(answer);
    fixture.input(Input::Gone(abandoned));
    fixture
        .answer(abandoned, live(yielded("1", &["a"])))
        .expect("valid");
    let (_, mut answer) = fixture.wait("1");
    assert_eq!(got(&mut answer), Ok(yielded("1", &["a"])));
}

#[test]
fn a_terminate_gets_the_output_that_nobody_took_as_well() {
    let mut fixture = Fixture::new();
    let (id, first) = fixture.start("1");
    drop(first);
    fixture.take_queued();
    fixture.initial(id, yielded("1", &["a"])).expect("valid");
    let (reply, mut answer) = oneshot::channel();
    let (session, cell) = (Arc::from("s"), Arc::from("1"));
    let id = fixture.request(|_| Operation::Terminate {
        session,
        cell,
        reply,
    });
    let ended = response("1", CellStatus::Terminated, &["b"]);
    fixture.answer(id, live(ended)).expect("valid");
    assert_eq!(
        got(&mut answer),
        Ok(response("1", CellStatus::Terminated, &["a", "b"]))
    );
}

#[test]
fn a_second_observer_is_refused() {
    let mut fixture = Fixture::new();
    let (_, _first) = fixture.start("1");
    let (_, mut answer) = fixture.wait("1");
    assert_eq!(got(&mut answer), Err(CallError::BusyObserver));
}

#[test]
fn a_finished_cell_is_told_from_one_that_never_was() {
    let mut fixture = Fixture::new();
    let (id, _first) = fixture.start("1");
    fixture.initial(id, done("1", &[])).expect("valid");
    fixture.close_cell("1").expect("valid");
    for (cell, expected) in [
        ("1", CallError::CellFinished),
        ("2", CallError::MissingCell),
    ] {
        let (id, mut answer) = fixture.wait(cell);
        fixture.answer(id, missing(cell)).expect("valid");
        assert_eq!(got(&mut answer), Err(expected));
    }
}

#[test]
fn unread_responses_are_kept_within_their_number() {
    let mut fixture = Fixture::new();
    for number in 1..=MAX_PARKED_RESPONSES + 1 {
        let cell = number.to_string();
        let (id, first) = fixture.start(&cell);
        fixture.initial(id, done(&cell, &["a"])).expect("valid");
        fixture.close_cell(&cell).expect("valid");
        drop(first);
        fixture.take_queued();
    }
    assert_eq!(fixture.cells(), MAX_PARKED_RESPONSES);
    let (id, mut answer) = fixture.wait("1");
    fixture.answer(id, missing("1")).expect("valid");
    assert_eq!(got(&mut answer), Err(CallError::CellFinished));
    let (_, mut answer) = fixture.wait("2");
    assert_eq!(got(&mut answer), Ok(done("2", &["a"])));
}

#[test]
fn unread_responses_are_kept_within_their_bytes() {
    let mut fixture = Fixture::new();
    let half = "x".repeat(MAX_PARKED_BYTES / 2 + 1);
    for cell in ["1", "2"] {
        let (id, first) = fixture.start(cell);
        drop(first);
        fixture.take_queued();
        fixture.initial(id, done(cell, &[&half])).expect("valid");
        fixture.close_cell(cell).expect("valid");
    }
    assert_eq!(fixture.cells(), 1, "the older one made room");
}

#[test]
fn more_delegate_calls_than_the_bound_are_answered_with_its_name() {
    let limits = ConnectionLimits {
        max_delegate_calls: 2,
        ..ConnectionLimits::default()
    };
    let mut fixture = Fixture::with_limits(limits);
    let (_, _first) = fixture.start("1");
    for id in 1..=3 {
        fixture.tool(id, "1", "null").expect("valid");
    }
    assert_eq!(fixture.state.effects.len(), 2);
    let frames = fixture.own_frames();
    assert!(
        frames[0].contains("limit of 2 open tool calls"),
        "{frames:?}"
    );
}

#[test]
fn more_bytes_of_inputs_than_the_bound_are_answered_with_its_name() {
    let limits = ConnectionLimits {
        max_delegate_bytes: 9,
        ..ConnectionLimits::default()
    };
    let mut fixture = Fixture::with_limits(limits);
    let (_, _first) = fixture.start("1");
    fixture.tool(1, "1", r#""12345""#).expect("valid");
    fixture.tool(2, "1", r#""12345""#).expect("valid");
    assert_eq!(fixture.state.effects.len(), 1);
    assert!(fixture.own_frames()[0].contains("limit of 9 bytes"));
}

#[test]
fn an_answer_that_crosses_a_cancellation_is_not_sent() {
    let mut fixture = Fixture::new();
    let (_, _first) = fixture.start("1");
    fixture.tool(5, "1", "null").expect("valid");
    let Some(Effect::Tool { key, cancel, .. }) = fixture.state.effects.pop_front() else {
        panic!("a tool call");
    };
    fixture.cancel(5).expect("valid");
    assert!(cancel.is_cancelled());
    fixture.state.outbox.clear();
    let bytes = messages::delegate_error_frame(DelegateRequestId::new(5), "late").expect("a frame");
    fixture.input(Input::DelegateDone {
        key,
        frame: Frame {
            bytes,
            request: None,
            _share: None,
        },
    });
    assert!(fixture.state.outbox.is_empty());
    fixture.cancel(5).expect("crossed an answer");
}

#[test]
fn delegate_ids_are_remembered_within_their_bound() {
    let mut fixture = Fixture::new();
    let (_, _first) = fixture.start("1");
    for id in 0..=i64::try_from(MAX_REMEMBERED_IDS).expect("a small number") {
        fixture.tool(id, "1", "null").expect("valid");
        fixture.cancel(id).expect("valid");
    }
    fixture
        .tool(0, "1", "null")
        .expect("forgotten, so it cannot be refused");
    assert!(fixture.tool(1000, "1", "null").is_err(), "remembered");
}

#[test]
fn every_violation_is_refused() {
    type Violation = fn(&mut Fixture) -> Result<(), String>;
    let cases: [(&str, Violation); 14] = [
        ("which is not in flight", |f| {
            f.answer(RequestId::new(77), OperationValue::StoreImported {})
        }),
        ("which is not in flight", |f| {
            f.initial(RequestId::new(77), done("1", &[]))
        }),
        ("wrong kind", |f| {
            let (id, _ticket) = f.execute();
            f.answer(id, OperationValue::StoreImported {})
        }),
        ("second response", |f| {
            let (id, _first) = f.start("1");
            f.answer(id, started("1"))
        }),
        ("before execution/started", |f| {
            let (id, _ticket) = f.execute();
            f.initial(id, done("1", &[]))
        }),
        ("the cell id 1 of session s twice", |f| {
            let (id, _first) = f.start("1");
            f.initial(id, done("1", &[]))?;
            f.close_cell("1")?;
            let (id, _ticket) = f.execute();
            f.answer(id, started("1"))
        }),
        ("which is no number", |f| {
            let (id, _ticket) = f.execute();
            f.answer(id, started("one"))
        }),
        ("about cell 2 to a request about cell 1", |f| {
            let (id, _first) = f.start("1");
            f.initial(id, done("2", &[]))
        }),
        ("which does not live", |f| f.tool(1, "1", "null")),
        ("which does not live", |f| {
            let (id, _first) = f.start("1");
            f.initial(id, done("1", &[]))?;
            f.close_cell("1")?;
            let notification = Notification {
                session_id: SessionId::new("s").expect("not empty"),
                cell_id: CellId::new("1"),
                exec_call_id: String::new(),
                text: "late".to_owned(),
            };
            f.host(HostMessage::DelegateRequest {
                id: DelegateRequestId::new(1),
                request: DelegateRequest::NotificationSend { notification },
            })
        }),
        ("which does not live", |f| f.close_cell("1")),
        ("before the initial response", |f| {
            let (_, _first) = f.start("1");
            f.close_cell("1")
        }),
        ("while calls of cell 1 are open", |f| {
            let (id, _first) = f.start("1");
            f.tool(1, "1", "null")?;
            f.initial(id, done("1", &[]))?;
            f.close_cell("1")
        }),
        ("the delegate request id 1 twice", |f| {
            let (_, _first) = f.start("1");
            f.tool(1, "1", "null")?;
            f.cancel(1)?;
            f.tool(1, "1", "null")
        }),
    ];
    for (expected, violate) in cases {
        let error = violate(&mut Fixture::new()).expect_err(expected);
        assert!(error.contains(expected), "{error:?} must say {expected:?}");
    }
}

#[test]
fn a_failure_tells_what_may_have_happened() {
    let mut fixture = Fixture::new();
    let (_, mut first) = {
        let (id, first) = fixture.start("1");
        (id, first)
    };
    let (_, sent) = fixture.execute();
    fixture.state.outbox.clear();
    let (_, unsent) = fixture.execute();
    fixture.state.fail("it burned");
    let lost = |side_effects| CallError::Lost {
        cause: "it burned".to_owned(),
        side_effects,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        assert_eq!((&mut first).await.err(), Some(lost(SideEffects::Possible)));
        assert_eq!(sent.await.err(), Some(lost(SideEffects::Possible)));
        assert_eq!(unsent.await.err(), Some(lost(SideEffects::None)));
    });
    let closed = |effect: &Effect| matches!(effect, Effect::CellClosed { .. });
    assert!(fixture.state.effects.iter().all(closed) && fixture.state.effects.len() == 1);
    assert_eq!(fixture.slots.available_permits(), 10_000);
}

#[test]
fn of_executes_that_have_not_left_a_connector_nothing_has_run() {
    let mut fixture = Fixture::new();
    let sent = SentExecutes::default();
    fixture.state.sent = Some(sent.clone());
    let (id, left) = fixture.execute();
    assert!(sent.send(id.get()));
    let (id, taken_back) = fixture.execute();
    assert!(sent.send(id.get()));
    sent.take_back(id.get());
    let (id, kept) = fixture.execute();
    fixture.state.outbox.clear();
    fixture.state.fail("it burned");
    assert!(
        !sent.send(id.get()),
        "the caller is told that it has not run"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for (ticket, side_effects) in [
            (left, SideEffects::Possible),
            (taken_back, SideEffects::None),
            (kept, SideEffects::None),
        ] {
            let cause = "it burned".to_owned();
            let lost = CallError::Lost {
                cause,
                side_effects,
            };
            assert_eq!(ticket.await.err(), Some(lost));
        }
    });
}

#[test]
fn a_call_that_is_not_answered_in_time_fails_the_connection() {
    let mut fixture = Fixture::new();
    let (_, _ticket) = fixture.execute();
    let almost = Deadlines::default().call - Duration::from_millis(1);
    fixture.pass(almost).expect("still in time");
    let error = fixture
        .pass(Duration::from_millis(1))
        .expect_err("too late");
    assert_eq!(
        error,
        "the host has not answered session/execute within 60000 ms"
    );
}

#[test]
fn an_observation_may_last_its_yield_time_and_a_call_deadline() {
    let mut fixture = Fixture::new();
    let (_, _first) = fixture.start("1");
    fixture
        .pass(Deadlines::default().call + Duration::from_secs(9))
        .expect("still in time");
    assert!(fixture.pass(Duration::from_secs(1)).is_err());
}

#[path = "again_tests.rs"]
mod again_tests;
