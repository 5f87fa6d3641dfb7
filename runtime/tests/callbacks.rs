// SPDX-License-Identifier: Apache-2.0
//! The synchronous interface that a host builds on, with cells on threads.

#[path = "cases/callbacks.rs"]
mod cases;
mod support;

const FORKED: bool = false;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, ToolError,
    ToolInvocation,
};
use code_mode_runtime::RuntimeConfig;
use code_mode_runtime::limits::CALLBACKS_AT_ONCE;
use code_mode_testsuite::{Fixture, within};
use tokio::sync::Notify;

/// Holds a script up before each call until the test lets it go on, and keeps on which thread it is
/// called.
struct Flooded {
    asks: mpsc::Sender<()>,
    may_go: Mutex<mpsc::Receiver<()>>,
    called_on: Mutex<Vec<ThreadId>>,
    all_called: Notify,
}

/// Calls of the script.
const FLOOD: usize = 4 * CALLBACKS_AT_ONCE;

impl SessionDelegate for Flooded {
    fn make_room(&self, _cell_id: &CellId, _bytes: usize) {
        self.asks.send(()).expect("the test listens");
        let may_go = self.may_go.lock().expect("the lock is whole");
        may_go.recv().expect("the test answers");
    }

    fn invoke_tool(
        &self,
        _invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let mut called_on = self.called_on.lock().expect("the lock is whole");
        called_on.push(std::thread::current().id());
        if called_on.len() == FLOOD {
            self.all_called.notify_one();
        }
        Box::pin(std::future::pending())
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
async fn a_flood_of_calls_holds_up_no_thread_that_happens_to_deliver() {
    let (asks, asked) = mpsc::channel();
    let (go, may_go) = mpsc::channel();
    let delegate = Arc::new(Flooded {
        asks,
        may_go: Mutex::new(may_go),
        called_on: Mutex::default(),
        all_called: Notify::new(),
    });
    let runtime = support::runtime(RuntimeConfig::default(), None);
    let session = runtime
        .open(None, Arc::clone(&delegate) as _)
        .expect("a session opens");
    let source =
        format!("for (let n = 0; n < {FLOOD}; n++) tools.echo(n); await new Promise(() => {{}})");
    let cell = session
        .admit(Fixture::request(&source))
        .expect("it is admitted");
    let id = cell.id().clone();
    let (first, rest) = mpsc::channel::<mpsc::Receiver<()>>();
    let still_go = go.clone();
    let observation = cell.start(Box::new(move |_| {
        // While this thread delivers, the script's own only adds.
        let asked = rest.recv().expect("the test has heard of the second call");
        for _ in 2..FLOOD {
            still_go.send(()).expect("the script goes on");
            asked.recv().expect("the script calls again");
        }
        still_go.send(()).expect("the script goes on");
    }));
    // At the second call the script's own thread is through with the first.
    asked.recv().expect("the script calls");
    go.send(()).expect("the script waits");
    asked.recv().expect("the script calls again");
    first.send(asked).expect("the observer waits");
    session.detach(&id, observation);
    within(delegate.all_called.notified()).await;
    let called_on = delegate
        .called_on
        .lock()
        .expect("the lock is whole")
        .clone();
    let here = std::thread::current().id();
    let called_here = called_on.iter().filter(|on| **on == here).count();
    assert!(called_here <= CALLBACKS_AT_ONCE, "{called_here}");
    within(session.shutdown()).await;
}
