//! Injected faults, with a supervisor and without one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{CellStatus, SessionError};
use code_mode_testsuite::{Call, Fixture, within};

use crate::faults::Fault;
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
        Fault::VanishingThread => matches!(failure, RuntimeFailure::ThreadVanished { .. }),
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
    let provider = runtime(
        config(Fault::DeafThread),
        Some(Arc::clone(&supervisor) as _),
    );
    let fixture = Fixture::on(Arc::new(provider)).await;
    let mut request = Fixture::request("text('never')");
    request.limits.wall_time = Some(Duration::from_millis(50));
    let started = Instant::now();
    let cell = fixture.execute(request).await.expect("it is admitted");
    let response = within(cell.first_response).await.expect("the cell answers");
    assert!(
        started.elapsed() >= limits::STOP_GRACE,
        "it was told too soon"
    );
    assert_eq!(response.content_items, []);
    fixture.end().await;
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
