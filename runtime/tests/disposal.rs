// SPDX-License-Identifier: Apache-2.0
//! The bound on threads of cells that have ended; alone in its process, since it counts V8 threads.

mod support;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use code_mode_api::{LimitName, SessionError};
use code_mode_runtime::{AdmittedCell, Runtime, RuntimeConfig, Session, limits};
use code_mode_testsuite::{Fixture, NoTools};
use support::runtime;

const FORKED: bool = false;

/// How long anything may take that is waited for here.
const GUARD: Duration = Duration::from_secs(60);

fn admit(session: &Session, source: &str) -> Result<AdmittedCell, SessionError> {
    session.admit(Fixture::request(source))
}

/// Looks again and again until there is something to see.
async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < GUARD, "what was waited for never came");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_are_refused_while_too_many_that_ended_are_being_disposed_of() {
    assert_eq!(limits::max_cell_threads(2), 2 + limits::MIN_DISPOSED_CELLS);
    assert_eq!(limits::max_cell_threads(128), 256);
    // While the keeper is held up it makes no isolates, so all that are needed have to be ready.
    let seats = limits::max_cell_threads(1);
    let config = RuntimeConfig {
        max_active_cells: 1,
        ready_isolates: seats + 1,
        ..RuntimeConfig::default()
    };
    let ready_isolates = config.ready_isolates;
    let runtime = runtime(config, None);
    let session = runtime.open(None, Arc::new(NoTools)).expect("it opens");
    until(|| (Runtime::v8_threads() == ready_isolates).then_some(())).await;

    // The keeper joins threads one after the other; an observer that does not return holds it up.
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let held = admit(&session, "for (;;);").expect("the first cell is admitted");
    let held_id = held.id().clone();
    held.start(Box::new(|_| {}));
    let hold = move |_| {
        entered.send(()).expect("the test waits for this");
        // An error means that the test has failed already.
        let _ = released.recv_timeout(GUARD);
    };
    session
        .terminate(&held_id, Box::new(hold))
        .expect("it can be terminated");
    has_entered.recv_timeout(GUARD).expect("it is terminated");

    // The thread of that cell was joined before the observer was told, so its seat is free.
    for _ in 0..seats {
        let (answer, answered) = mpsc::channel();
        let ended = admit(&session, "text(1)").expect("an ended cell makes room for another");
        ended.start(Box::new(move |response| {
            answer.send(response).expect("the test waits for this");
        }));
        let response = answered.recv_timeout(GUARD).expect("it answers");
        assert!(response.is_ok(), "{response:?}");
    }

    let refused = admit(&session, "text(2)").err();
    let Some(SessionError::Limit {
        limit: LimitName::ActiveCells,
        maximum: 1,
        detail,
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(detail, "ended cells are still being disposed of; try again");

    release.send(()).expect("the observer waits for this");
    let cell = until(|| admit(&session, "text(3)").ok()).await;
    drop(cell);
    session.shutdown().await;
}
