// SPDX-License-Identifier: Apache-2.0
//! Injected faults, with a supervisor and without one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use code_mode_api::{CellStatus, SessionError};
use code_mode_testsuite::{Call, Fixture, within};

use crate::faults::Fault;
use crate::watchdog::Watched;
use crate::{Runtime, RuntimeConfig, RuntimeFailure, Supervisor, limits};

fn runtime(config: RuntimeConfig, supervisor: Option<Arc<dyn Supervisor>>) -> Runtime {
    let handle = tokio::runtime::Handle::current();
    Runtime::new(config, handle, supervisor).expect("the runtime starts")
}

/// A supervisor that keeps what it is told.
#[derive(Default)]
struct Recording {
    failures: Mutex<Vec<RuntimeFailure>>,
}

impl Recording {
    /// All failures so far.
    fn failures(&self) -> Vec<RuntimeFailure> {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Supervisor for Recording {
    fn failed(&self, failure: RuntimeFailure) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(failure);
    }
}

const FAULTS: [Fault; 4] = [
    Fault::PanicInThread,
    Fault::PanicInHelper,
    Fault::VanishingThread,
    Fault::NoThread,
];

fn config(fault: Fault) -> RuntimeConfig {
    RuntimeConfig {
        fault: Some(fault),
        ..RuntimeConfig::default()
    }
}

fn is_expected(fault: Fault, failure: &RuntimeFailure) -> bool {
    match fault {
        Fault::PanicInThread | Fault::PanicInHelper => {
            matches!(failure, RuntimeFailure::ThreadPanicked { message, .. } if message == "a test wants it so")
        }
        Fault::VanishingThread => matches!(failure, RuntimeFailure::Vanished { .. }),
        Fault::NoThread => matches!(failure, RuntimeFailure::NoThread { .. }),
        Fault::DeafThread => matches!(failure, RuntimeFailure::Unstoppable { .. }),
        Fault::ImpossibleStep => matches!(failure, RuntimeFailure::ImpossibleTransition { .. }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_hears_of_each_failure_exactly_once() {
    for fault in FAULTS {
        let supervisor = Arc::new(Recording::default());
        let provider = runtime(config(fault), Some(Arc::clone(&supervisor) as _));
        let fixture = Fixture::on(Arc::new(provider)).await;
        let cell = fixture.start("text(1)").await;
        let response = within(cell.first_response).await;
        assert!(
            matches!(response, Err(SessionError::RuntimeLost { .. })),
            "{fault:?} {response:?}"
        );
        fixture
            .recorder
            .wait_for(|call| matches!(call, Call::Closed(_)))
            .await;
        fixture.end().await;
        let failures = supervisor.failures();
        assert!(
            matches!(failures.as_slice(), [failure] if is_expected(fault, failure)),
            "{fault:?} {failures:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_supervisor_the_cell_fails_and_the_session_goes_on() {
    for fault in FAULTS {
        let fixture = Fixture::on(Arc::new(runtime(config(fault), None))).await;
        for expected in ["1", "2"] {
            let cell = fixture.start("text(1)").await;
            assert_eq!(cell.cell_id.as_str(), expected);
            let response = within(cell.first_response).await;
            let Err(SessionError::RuntimeLost { cause, .. }) = &response else {
                panic!("{fault:?} {response:?}")
            };
            assert!(cause.contains("cell"), "{cause}");
            let again = fixture.wait(&cell.cell_id, std::time::Duration::ZERO).await;
            assert!(
                matches!(again, Err(SessionError::CellFinished { .. })),
                "{again:?}"
            );
        }
        fixture.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impossible_step_reaches_the_supervisor_and_changes_nothing() {
    let supervisor = Arc::new(Recording::default());
    let provider = runtime(
        config(Fault::ImpossibleStep),
        Some(Arc::clone(&supervisor) as _),
    );
    let fixture = Fixture::on(Arc::new(provider)).await;
    let response = fixture.run("text('goes on')").await;
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    fixture.end().await;
    let failures = supervisor.failures();
    assert!(
        matches!(failures.as_slice(), [failure] if is_expected(Fault::ImpossibleStep, failure)),
        "{failures:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_hears_of_a_script_that_does_not_stop() {
    let supervisor = Arc::new(Recording::default());
    let runtime = runtime(
        config(Fault::DeafThread),
        Some(Arc::clone(&supervisor) as _),
    );
    let session = runtime
        .open(None, Arc::new(PanickingDelegate))
        .expect("a session opens");
    let admitted = session
        .admit(Fixture::request("text('never')"))
        .expect("it is admitted");
    let cell = Arc::clone(admitted.cell());
    let (sender, yielded) = tokio::sync::oneshot::channel();
    admitted.start(Box::new(|response| {
        sender.send(response).expect("the test waits");
    }));
    let response = within(yielded).await.expect("an answer");
    let status = response.expect("it is at work").status;
    assert_eq!(status, CellStatus::Yielded);

    let (sender, terminated) = tokio::sync::oneshot::channel();
    let not_told = Instant::now();
    session
        .terminate(
            &cell.id,
            Box::new(|response| {
                sender.send(response).expect("the test waits");
            }),
        )
        .expect("it is told to stop");
    // The watchdog looks again and again, of which the last time counts.
    let too_soon = not_told + limits::STOP_GRACE - limits::WATCHDOG_TICK;
    let next = Arc::clone(&cell).check(too_soon);
    assert_eq!(next, Some(too_soon + limits::WATCHDOG_TICK));
    assert!(!cell.is_given_up(), "it was told too soon");
    Arc::clone(&cell).check(Instant::now() + limits::STOP_GRACE);
    let response = within(terminated).await.expect("an answer");
    let response = response.expect("it is terminated");
    assert_eq!(response.status, CellStatus::Terminated);
    assert_eq!(response.content_items, []);
    within(session.shutdown()).await;
    let failures = supervisor.failures();
    assert!(
        matches!(failures.as_slice(), [failure] if is_expected(Fault::DeafThread, failure)),
        "{failures:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_observer_is_a_failure_and_the_cell_is_closed_all_the_same() {
    let supervisor = Arc::new(Recording::default());
    let provider = runtime(RuntimeConfig::default(), Some(Arc::clone(&supervisor) as _));
    let fixture = Fixture::on(Arc::new(provider.clone())).await;
    let session = provider
        .open(None, Arc::new(PanickingDelegate))
        .expect("a session opens");
    let cell = session
        .admit(Fixture::request("await tools.echo(1)"))
        .expect("it is admitted");
    let (sender, response) = tokio::sync::oneshot::channel();
    cell.start(Box::new(move |response| {
        sender.send(response).expect("the test waits");
        panic!("an observer panics");
    }));
    let response = within(response)
        .await
        .expect("an answer")
        .expect("a response");
    let CellStatus::Completed {
        error_text: Some(error),
    } = response.status
    else {
        panic!("{:?}", response.status)
    };
    assert!(error.starts_with("Error: the delegate panicked"), "{error}");
    within(session.shutdown()).await;
    fixture.end().await;
    let messages: Vec<String> = supervisor
        .failures()
        .into_iter()
        .map(|failure| match failure {
            RuntimeFailure::CallbackPanicked { message, .. } => message,
            other => other.to_string(),
        })
        .collect();
    assert_eq!(messages, ["a delegate panics", "an observer panics"]);
}

/// A delegate whose futures panic.
struct PanickingDelegate;

impl code_mode_api::SessionDelegate for PanickingDelegate {
    fn invoke_tool(
        &self,
        _invocation: code_mode_api::ToolInvocation,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<code_mode_api::RawJson, code_mode_api::ToolError>>
    {
        Box::pin(async { panic!("a delegate panics") })
    }

    fn notify(
        &self,
        _notification: code_mode_api::Notification,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<(), code_mode_api::ToolError>> {
        Box::pin(async { panic!("a delegate panics") })
    }
}

/// A delegate that lets a cell wait for room until it is told, or panics instead.
struct Narrow {
    waits: tokio::sync::mpsc::UnboundedSender<()>,
    /// `None` for the panic.
    room: Option<Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl code_mode_api::SessionDelegate for Narrow {
    fn make_room(&self, _cell_id: &code_mode_api::CellId, _bytes: usize) {
        self.waits.send(()).expect("the test waits");
        let room = self.room.as_ref().expect("a delegate panics");
        let room = room.lock().unwrap_or_else(PoisonError::into_inner);
        room.recv().expect("the test gives room");
    }

    fn invoke_tool(
        &self,
        invocation: code_mode_api::ToolInvocation,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<code_mode_api::RawJson, code_mode_api::ToolError>>
    {
        Box::pin(async { Ok(invocation.input) })
    }

    fn notify(
        &self,
        _notification: code_mode_api::Notification,
        _cancel: code_mode_api::CancellationSignal,
    ) -> code_mode_api::BoxFuture<'static, Result<(), code_mode_api::ToolError>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_waits_for_its_embedder_does_not_count_as_unstoppable() {
    let supervisor = Arc::new(Recording::default());
    let runtime = runtime(RuntimeConfig::default(), Some(Arc::clone(&supervisor) as _));
    let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let (room, rooms) = std::sync::mpsc::channel();
    let delegate = Narrow {
        waits,
        room: Some(Mutex::new(rooms)),
    };
    let session = runtime
        .open(None, Arc::new(delegate))
        .expect("a session opens");
    let admitted = session
        .admit(Fixture::request("await tools.echo(1)"))
        .expect("it is admitted");
    let cell = Arc::clone(admitted.cell());
    admitted.start(Box::new(|_| {}));
    within(waiting.recv()).await.expect("the cell waits");
    let (sender, terminated) = tokio::sync::oneshot::channel();
    session
        .terminate(
            &cell.id,
            Box::new(move |response| {
                // The test is over when nobody listens.
                let _ = sender.send(response);
            }),
        )
        .expect("it is terminated");
    Arc::clone(&cell).check(Instant::now() + 2 * limits::STOP_GRACE);
    room.send(()).expect("the cell waits");
    let response = within(terminated).await.expect("an answer");
    let status = response.expect("it is terminated").status;
    assert_eq!(status, CellStatus::Terminated);
    within(session.shutdown()).await;
    assert_eq!(supervisor.failures(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_while_the_embedder_makes_room_is_a_failure_and_the_cell_goes_on() {
    let supervisor = Arc::new(Recording::default());
    let provider = runtime(RuntimeConfig::default(), Some(Arc::clone(&supervisor) as _));
    let (waits, _waiting) = tokio::sync::mpsc::unbounded_channel();
    let session = provider
        .open(None, Arc::new(Narrow { waits, room: None }))
        .expect("a session opens");
    let cell = session
        .admit(Fixture::request("text(await tools.echo(1))"))
        .expect("it is admitted");
    let (sender, response) = tokio::sync::oneshot::channel();
    cell.start(Box::new(move |response| {
        sender.send(response).expect("the test waits");
    }));
    let response = within(response)
        .await
        .expect("an answer")
        .expect("a response");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    within(session.shutdown()).await;
    let failures = supervisor.failures();
    assert!(
        matches!(failures.as_slice(), [RuntimeFailure::CallbackPanicked { message, .. }] if message == "a delegate panics"),
        "{failures:?}"
    );
}
