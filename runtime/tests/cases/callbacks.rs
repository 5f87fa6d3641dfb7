// SPDX-License-Identifier: Apache-2.0
//! The synchronous interface that a host builds on: admission, observers, their order.

use std::sync::{Arc, Mutex};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, CellState, CellStatus, CodeModeSession, Notification,
    RawJson, SessionDelegate, SessionError, SessionId, SessionOptions, SessionProvider,
    SideEffects, ToolError, ToolInvocation, WaitRequest,
};
use code_mode_runtime::{Observer, Runtime, RuntimeConfig, Session, limits};
use code_mode_testsuite::{Fixture, within};
use pretty_assertions::assert_eq;
use tokio::sync::mpsc;

use crate::support::runtime;

/// Sends a word for everything that the runtime calls, in the order of the calls.
#[derive(Clone)]
struct Log(mpsc::UnboundedSender<String>);

impl Log {
    fn say(&self, word: impl Into<String>) {
        // The test is over when nobody listens.
        let _ = self.0.send(word.into());
    }

    fn observer(&self, name: &'static str) -> Observer {
        let log = self.clone();
        Box::new(move |response| {
            log.say(match response {
                Ok(response) => match response.status {
                    CellStatus::Completed { .. } => format!("{name} completed"),
                    CellStatus::Terminated => format!("{name} terminated"),
                    CellStatus::Yielded => format!("{name} yielded"),
                },
                Err(error) => format!("{name} error: {error}"),
            });
        })
    }
}

struct SayDropped(Log, String);

impl Drop for SayDropped {
    fn drop(&mut self) {
        self.0.say(format!("{} dropped", self.1));
    }
}

impl SessionDelegate for Log {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        self.say(invocation.call_id.clone());
        let dropped = SayDropped(self.clone(), invocation.call_id);
        Box::pin(async move {
            let _dropped = dropped;
            cancel.cancelled().await;
            std::future::pending().await
        })
    }

    fn notify(
        &self,
        notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        self.say(notification.text);
        let log = self.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            log.say("delivered");
            Ok(())
        })
    }

    fn cell_closed(&self, _session_id: &SessionId, cell_id: &CellId) {
        self.say(format!("{cell_id} closed"));
    }
}

fn session() -> (Runtime, Session, Log, mpsc::UnboundedReceiver<String>) {
    let (sender, words) = mpsc::unbounded_channel();
    let log = Log(sender);
    let runtime = runtime(RuntimeConfig::default(), None);
    let session = runtime
        .open(None, Arc::new(log.clone()))
        .expect("a session opens");
    (runtime, session, log, words)
}

async fn next(words: &mut mpsc::UnboundedReceiver<String>, count: usize) -> Vec<String> {
    let mut next = Vec::new();
    for _ in 0..count {
        next.push(within(words.recv()).await.expect("another word"));
    }
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedder_is_called_in_the_order_in_which_things_happened() {
    let (_runtime, session, log, mut words) = session();
    let source = "tools.echo(); notify('n'); yield_control(); tools.echo(); notify('m')";
    let cell = session
        .admit(Fixture::request(source))
        .expect("it is admitted");
    cell.start(log.observer("first"));
    let mut said = next(&mut words, 9).await;
    // Deliveries are the delegate's own futures and may come any time before the end.
    said.retain(|word| word != "delivered");
    assert_eq!(
        said,
        [
            "tool-1",
            "n",
            "first yielded",
            "tool-2",
            "m",
            "tool-1 dropped",
            "tool-2 dropped",
        ]
    );
    let observed = session.observe(&CellId::new("1"), None, log.observer("second"));
    assert!(observed.is_ok(), "{observed:?}");
    assert_eq!(next(&mut words, 2).await, ["second completed", "1 closed"]);
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_observer_is_called_after_cancellations_and_before_the_close() {
    let (_runtime, session, log, mut words) = session();
    let cell = session
        .admit(Fixture::request("tools.echo(); notify('n')"))
        .expect("admitted");
    cell.start(log.observer("first"));
    let said = next(&mut words, 6).await;
    let expected = [
        "tool-1",
        "n",
        "tool-1 dropped",
        "delivered",
        "first completed",
        "1 closed",
    ];
    let mut sorted = (said.clone(), expected.map(str::to_owned).to_vec());
    sorted.0.sort();
    sorted.1.sort();
    assert_eq!(sorted.0, sorted.1);
    let place = |word: &str| said.iter().position(|said| said == word);
    assert!(
        place("tool-1 dropped") < place("first completed"),
        "{said:?}"
    );
    assert!(place("delivered") < place("first completed"), "{said:?}");
    assert_eq!(said.last().map(String::as_str), Some("1 closed"));
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_observer_is_told_so_and_the_cell_lives_on() {
    let (_runtime, session, log, mut words) = session();
    let cell = session
        .admit(Fixture::request("await tools.echo()"))
        .expect("it is admitted");
    let id = cell.id().clone();
    let observation = cell.start(log.observer("first"));
    assert_eq!(next(&mut words, 1).await, ["tool-1"]);
    session.detach(&id, observation);
    let cancelled = SessionError::Cancelled {
        side_effects: SideEffects::Possible,
    };
    assert_eq!(
        next(&mut words, 1).await,
        [format!("first error: {cancelled}")]
    );
    // A second detach finds nothing, and does not take another observer's place.
    let second = session.observe(&id, None, log.observer("second"));
    assert!(second.is_ok(), "{second:?}");
    session.detach(&id, observation);
    let busy = session.observe(&id, None, log.observer("third"));
    assert_eq!(
        busy,
        Err(SessionError::BusyObserver {
            cell_id: id.clone()
        })
    );
    session
        .terminate(&id, log.observer("terminate"))
        .expect("it is terminated");
    let said = next(&mut words, 4).await;
    assert_eq!(
        said,
        [
            "tool-1 dropped",
            "terminate terminated",
            "second terminated",
            "1 closed"
        ]
    );
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_cell_that_is_dropped_gives_everything_back() {
    let config = RuntimeConfig {
        max_active_cells: 1,
        ..RuntimeConfig::default()
    };
    let (sender, mut words) = mpsc::unbounded_channel();
    let log = Log(sender);
    let runtime = runtime(config, None);
    let session = runtime
        .open(None, Arc::new(log.clone()))
        .expect("a session opens");
    // More than there are seats, too.
    let admitted = limits::max_cell_threads(1) + 1;
    for expected in 1..=admitted {
        let cell = session
            .admit(Fixture::request("text(1)"))
            .expect("the slot is free");
        assert_eq!(cell.id().as_str(), expected.to_string());
        drop(cell);
    }
    let next_id = CellId::new((admitted + 1).to_string());
    let missing = session.observe(&next_id, None, log.observer("missing"));
    assert_eq!(
        missing,
        Err(SessionError::MissingCell {
            cell_id: next_id.clone()
        })
    );
    let cell = session
        .admit(Fixture::request("text(1)"))
        .expect("the slot is free");
    cell.start(log.observer("first"));
    let closed = format!("{next_id} closed");
    assert_eq!(
        next(&mut words, 2).await,
        ["first completed", closed.as_str()]
    );
    within(session.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_is_closed_once_when_its_result_was_handed_out_or_its_session_ends() {
    let (runtime, session, log, mut words) = session();
    for _ in 1..=2 {
        let source = "yield_control(); text('kept')";
        let cell = session
            .admit(Fixture::request(source))
            .expect("it is admitted");
        cell.start(log.observer("first"));
        assert_eq!(next(&mut words, 1).await, ["first yielded"]);
    }
    let have_ended = || {
        let mut cells = session.list_cells().expect("it is open").into_iter();
        cells.all(|cell| cell.state == CellState::Ended)
    };
    within(async {
        while !have_ended() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(words.try_recv().is_err(), "their results are still to come");
    let observed = session.observe(&CellId::new("1"), None, log.observer("late"));
    assert!(observed.is_ok(), "{observed:?}");
    assert_eq!(next(&mut words, 2).await, ["late completed", "1 closed"]);
    within(session.shutdown()).await;
    // By then it was said.
    assert_eq!(words.try_recv().as_deref(), Ok("2 closed"));
    // Nobody says any more when all are gone who could.
    drop((session, runtime, log));
    assert_eq!(within(words.recv()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_calls_back_when_the_last_thread_has_ended() {
    let (_runtime, session, log, mut words) = session();
    let admitted = session
        .admit(Fixture::request("for (;;);"))
        .expect("it is admitted");
    let done = Arc::new(Mutex::new(0));
    for _ in 0..2 {
        let (done, log) = (Arc::clone(&done), log.clone());
        session.begin_shutdown(Box::new(move || {
            *done.lock().expect("the lock is whole") += 1;
            log.say("shut down");
        }));
    }
    assert_eq!(
        *done.lock().expect("the lock is whole"),
        0,
        "an admitted cell holds it back"
    );
    admitted.start(log.observer("first"));
    let said = next(&mut words, 4).await;
    assert_eq!(
        said,
        ["first terminated", "1 closed", "shut down", "shut down"]
    );
    let refused = session.admit(Fixture::request("text(1)")).err();
    assert!(
        matches!(refused, Some(SessionError::ShutDown { .. })),
        "{refused:?}"
    );
}

async fn open(log: &Log, runtime: &Runtime) -> Arc<dyn CodeModeSession> {
    let delegate = Arc::new(log.clone());
    SessionProvider::open_session(runtime, SessionOptions::default(), delegate)
        .await
        .expect("a session opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yield_whose_future_is_dropped_unread_comes_to_the_next_observer() {
    let (runtime, _, log, mut words) = session();
    let session = open(&log, &runtime).await;
    let source = "text('a'); yield_control(); notify('yielded'); await new Promise(() => {})";
    let started = session.execute(Fixture::request(source)).await;
    let cell = started.expect("it is started");
    assert_eq!(next(&mut words, 1).await, ["yielded"]);
    drop(cell.first_response);
    let request = WaitRequest {
        cell_id: cell.cell_id.clone(),
        yield_time: None,
    };
    let response = within(session.wait(request)).await.expect("a response");
    assert_eq!(response.status, CellStatus::Yielded);
    assert_eq!(code_mode_testsuite::texts_of(&response), ["a"]);
    within(session.shutdown()).await.expect("it shuts down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_future_is_dropped_unread_comes_to_the_next_observer_and_to_no_other() {
    let (runtime, _, log, mut words) = session();
    let session = open(&log, &runtime).await;
    let wait = |cell_id: &CellId| {
        session.wait(WaitRequest {
            cell_id: cell_id.clone(),
            yield_time: None,
        })
    };
    let started = session.execute(Fixture::request("text('a')")).await;
    let cell = started.expect("it is started");
    assert_eq!(next(&mut words, 1).await, ["1 closed"]);
    drop(cell.first_response);
    let response = within(wait(&cell.cell_id)).await.expect("a response");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(code_mode_testsuite::texts_of(&response), ["a"]);
    let finished = within(wait(&cell.cell_id)).await;
    assert_eq!(
        finished,
        Err(SessionError::CellFinished {
            cell_id: cell.cell_id
        })
    );
    within(session.shutdown()).await.expect("it shuts down");
}

/// A log whose tools hold up whoever polls them, and so all that happens to their cell, until they are let go on.
struct Holding {
    log: Log,
    go_on: Arc<Mutex<std::sync::mpsc::Receiver<()>>>,
}

impl SessionDelegate for Holding {
    fn invoke_tool(
        &self,
        _invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let (log, go_on) = (self.log.clone(), Arc::clone(&self.go_on));
        Box::pin(async move {
            log.say("held");
            let told = go_on.lock().expect("no test panics here").recv();
            told.expect("the test lets it go on");
            std::future::pending().await
        })
    }

    fn notify(
        &self,
        notification: Notification,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        self.log.notify(notification, cancel)
    }

    fn cell_closed(&self, session_id: &SessionId, cell_id: &CellId) {
        self.log.cell_closed(session_id, cell_id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_termination_whose_future_is_dropped_unread_comes_to_the_next_observer() {
    let (runtime, _, log, mut words) = session();
    let (let_go, go_on) = std::sync::mpsc::channel();
    let delegate = Arc::new(Holding {
        log,
        go_on: Arc::new(Mutex::new(go_on)),
    });
    let session = SessionProvider::open_session(&runtime, SessionOptions::default(), delegate);
    let session = session.await.expect("a session opens");
    let source = "text('a'); tools.echo(); await new Promise(() => {})";
    let started = session.execute(Fixture::request(source)).await;
    let cell = started.expect("it is started");
    assert_eq!(next(&mut words, 1).await, ["held"]);
    let mut terminated = session.terminate(cell.cell_id.clone());
    std::future::poll_fn(|context| {
        let polled = terminated.as_mut().poll(context);
        assert!(polled.is_pending(), "its end cannot have been told yet");
        std::task::Poll::Ready(())
    })
    .await;
    let_go.send(()).expect("somebody is held up");
    assert_eq!(next(&mut words, 1).await, ["1 closed"]);
    drop((terminated, cell.first_response));
    let request = WaitRequest {
        cell_id: cell.cell_id,
        yield_time: None,
    };
    let response = within(session.wait(request)).await.expect("a response");
    assert_eq!(response.status, CellStatus::Terminated);
    assert_eq!(code_mode_testsuite::texts_of(&response), ["a"]);
    within(session.shutdown()).await.expect("it shuts down");
}

/// A log that keeps whoever tells it of a stop, and with it all that is told after that, until it is let go on.
struct Stuck {
    log: Log,
    go_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl SessionDelegate for Stuck {
    fn cell_stopping(&self, _cell_id: &CellId) {
        self.log.say("stopping");
        let told = self.go_on.lock().expect("no test panics here").recv();
        told.expect("the test lets it go on");
    }

    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        self.log.invoke_tool(invocation, cancel)
    }

    fn notify(
        &self,
        notification: Notification,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        self.log.notify(notification, cancel)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_future_is_dropped_while_it_is_told_comes_to_the_next_observer() {
    let (runtime, _, log, mut words) = session();
    let (let_go, go_on) = std::sync::mpsc::channel();
    let delegate = Arc::new(Stuck {
        log,
        go_on: Mutex::new(go_on),
    });
    let session = runtime.open(None, delegate).expect("a session opens");
    let source = "text('a'); notify('runs'); await new Promise(() => {})";
    let started = CodeModeSession::execute(&session, Fixture::request(source)).await;
    let cell = started.expect("it is started");
    assert_eq!(next(&mut words, 2).await, ["runs", "delivered"]);
    let (other, id) = (session.clone(), cell.cell_id.clone());
    let terminating = std::thread::spawn(move || other.terminate(&id, Box::new(|_| {})));
    assert_eq!(next(&mut words, 1).await, ["stopping"]);
    let handed_out = async {
        while !session.list_cells().expect("it is open").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    within(handed_out).await;
    drop(cell.first_response);
    let request = WaitRequest {
        cell_id: cell.cell_id,
        yield_time: None,
    };
    let mut waiting = CodeModeSession::wait(&session, request);
    std::future::poll_fn(|context| {
        let polled = waiting.as_mut().poll(context);
        assert!(polled.is_pending(), "{polled:?} while it is being told");
        std::task::Poll::Ready(())
    })
    .await;
    let_go.send(()).expect("somebody is kept");
    let response = within(waiting).await.expect("a response");
    assert_eq!(response.status, CellStatus::Terminated);
    assert_eq!(code_mode_testsuite::texts_of(&response), ["a"]);
    terminating
        .join()
        .expect("no panic")
        .expect("it is terminated");
    within(CodeModeSession::shutdown(&session))
        .await
        .expect("it shuts down");
}

/// Says on which thread it is called.
struct Threads(Log);

impl Threads {
    fn say(log: &Log, what: &str) {
        let thread = std::thread::current();
        log.say(format!("{what} on {}", thread.name().unwrap_or_default()));
    }
}

impl SessionDelegate for Threads {
    fn cell_stopping(&self, _cell_id: &CellId) {
        Self::say(&self.0, "stopping");
    }

    fn invoke_tool(
        &self,
        _invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        Box::pin(std::future::pending())
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_runs_no_code_of_the_embedder() {
    let (sender, mut words) = mpsc::unbounded_channel();
    let log = Log(sender);
    let mut config = RuntimeConfig::default();
    config.cell_limits.wall_time = Some(std::time::Duration::from_millis(200));
    let runtime = runtime(config, None);
    let session = runtime
        .open(None, Arc::new(Threads(log.clone())))
        .expect("a session opens");
    let mut request = Fixture::request("await new Promise(() => {})");
    request.yield_time = Some(std::time::Duration::from_millis(1));
    let cell = session.admit(request).expect("it is admitted");
    let observed = log.clone();
    cell.start(Box::new(move |_| Threads::say(&observed, "observed")));
    let said = next(&mut words, 2).await;
    assert!(
        said.iter().all(|word| !word.contains("watchdog")),
        "{said:?}"
    );
    let kinds: Vec<_> = said
        .iter()
        .filter_map(|word| word.split(' ').next())
        .collect();
    assert_eq!(kinds, ["observed", "stopping"]);
    within(session.shutdown()).await;
}

/// Answers a call only after its future was polled ten times, waking itself in between: within the
/// poll, and several times from threads of nobody.
struct Restless;

impl SessionDelegate for Restless {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let mut polls = 0;
        Box::pin(async move {
            std::future::poll_fn(move |context| {
                polls += 1;
                if polls == 10 {
                    return std::task::Poll::Ready(());
                }
                let waker = context.waker().clone();
                if polls % 2 == 1 {
                    waker.wake_by_ref();
                }
                std::thread::spawn(move || {
                    waker.wake_by_ref();
                    waker.wake();
                });
                std::task::Poll::Pending
            })
            .await;
            Ok(invocation.input)
        })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_is_polled_again_whoever_wakes_it_and_whenever() {
    let runtime = runtime(RuntimeConfig::default(), None);
    let session = runtime
        .open(None, Arc::new(Restless))
        .expect("a session opens");
    let source = "
        for (let n = 0; n < 20; n++) await tools.echo(n);
        text((await Promise.all(Array.from({ length: 20 }, (_, n) => tools.echo(n)))).length);
    ";
    let (sender, mut ended) = mpsc::unbounded_channel();
    let cell = session
        .admit(Fixture::request(source))
        .expect("it is admitted");
    cell.start(Box::new(move |response| {
        // The test is over when nobody listens.
        let _ = sender.send(response);
    }));
    let response = within(ended.recv())
        .await
        .expect("an answer")
        .expect("the cell ends");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(code_mode_testsuite::texts_of(&response), ["20"]);
    within(session.shutdown()).await;
}
