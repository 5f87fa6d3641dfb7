//! Cells from start to end: the wire contract's section *Order and life cycle* without the wire.

use std::time::Duration;

use code_mode_api::{CellId, CellStatus, SessionError};
use pretty_assertions::assert_eq;

use crate::fixture::{Call, Fixture, MakeProvider, PATIENCE, texts_of, within};

const AT_ONCE: Duration = Duration::ZERO;

/// Ids are "1", "2", … per session.
pub async fn cells_are_numbered_from_one(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for expected in ["1", "2", "3"] {
        assert_eq!(fixture.run("text(1)").await.cell_id.as_str(), expected);
    }
    fixture.end().await;
}

/// A cell that takes longer than its yield time gives what has come so far, and runs on.
pub async fn a_cell_yields_after_its_time(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let mut request = Fixture::request("text('first'); await tools.gate(); text('second')");
    request.yield_time = Some(Duration::from_millis(300));
    let cell = fixture
        .execute(request)
        .await
        .expect("the script is admitted");
    let cell_id = cell.cell_id.clone();
    let response = within(cell.first_response).await.expect("the cell yields");
    assert_eq!(response.status, CellStatus::Yielded);
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    let second = fixture
        .wait(&cell_id, AT_ONCE)
        .await
        .expect("the cell yields again");
    assert_eq!(second.status, CellStatus::Yielded);
    fixture.recorder.open_gate();
    let last = fixture
        .wait(&cell_id, PATIENCE)
        .await
        .expect("the cell ends");
    assert_eq!(last.status, CellStatus::Completed { error_text: None });
    let texts: Vec<String> = [response, second, last].iter().flat_map(texts_of).collect();
    assert_eq!(texts, ["first", "second"]);
    fixture.end().await;
}

/// `yield_control` gives the observer what has come, and the script runs on.
pub async fn yield_control_hands_out_what_has_come(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let cell = fixture
        .start("text('a'); yield_control(); text('b'); await tools.gate(); text('c')")
        .await;
    let cell_id = cell.cell_id.clone();
    let response = within(cell.first_response).await.expect("the cell yields");
    assert_eq!(
        (&response.status, texts_of(&response)),
        (&CellStatus::Yielded, vec!["a".to_owned()])
    );
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    fixture.recorder.open_gate();
    let last = fixture
        .wait(&cell_id, PATIENCE)
        .await
        .expect("the cell ends");
    assert_eq!(texts_of(&last), ["b", "c"]);
    fixture.end().await;
}

/// A cell that ends while nobody observes it keeps its result for one wait.
pub async fn an_unobserved_result_is_kept_for_one_wait(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let cell = fixture
        .start("yield_control(); notify('ending'); text('kept')")
        .await;
    let cell_id = cell.cell_id.clone();
    within(cell.first_response).await.expect("the cell yields");
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Notification(_)))
        .await;
    let response = fixture
        .wait(&cell_id, PATIENCE)
        .await
        .expect("the result was kept");
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(texts_of(&response), ["kept"]);
    let again = fixture.wait(&cell_id, AT_ONCE).await;
    assert_eq!(again, Err(SessionError::CellFinished { cell_id }));
    fixture.end().await;
}

/// A cell that never was is missing; one whose result was delivered has finished.
pub async fn unknown_and_finished_cells_are_told_apart(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let done = fixture.run("text(1)").await.cell_id;
    for id in ["2", "0", "01", "", "x", "99999999999999999999999"] {
        let cell_id = CellId::new(id);
        let missing = Err(SessionError::MissingCell {
            cell_id: cell_id.clone(),
        });
        assert_eq!(fixture.wait(&cell_id, AT_ONCE).await, missing);
        assert_eq!(fixture.terminate(&cell_id).await, missing);
    }
    let finished = Err(SessionError::CellFinished {
        cell_id: done.clone(),
    });
    assert_eq!(fixture.wait(&done, AT_ONCE).await, finished);
    assert_eq!(fixture.terminate(&done).await, finished);
    fixture.end().await;
}

/// A second observer is refused, and the first one is not disturbed.
pub async fn only_one_observer_at_a_time(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let cell = fixture.start("await tools.gate(); text('end')").await;
    let cell_id = cell.cell_id.clone();
    let busy = fixture.wait(&cell_id, AT_ONCE).await;
    assert_eq!(busy, Err(SessionError::BusyObserver { cell_id }));
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    fixture.recorder.open_gate();
    let response = within(cell.first_response)
        .await
        .expect("the first observer gets the result");
    assert_eq!(texts_of(&response), ["end"]);
    fixture.end().await;
}

/// Dropping the future of an observation frees its place and leaves the cell alone.
pub async fn a_dropped_wait_frees_the_place_of_the_observer(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let cell = fixture.start("await tools.gate(); text('end')").await;
    let cell_id = cell.cell_id.clone();
    drop(cell);
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    fixture.recorder.open_gate();
    // A process on the other side may learn of the drop a little later than it hears of the wait.
    let response = within(async {
        loop {
            match fixture.wait(&cell_id, PATIENCE).await {
                Err(SessionError::BusyObserver { .. }) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    });
    let response = response.await.expect("the cell ends");
    assert_eq!(texts_of(&response), ["end"]);
    fixture.end().await;
}

/// A script that computes for ever ends, its output so far is delivered, and the cell is gone.
pub async fn terminate_ends_a_spinning_cell(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let cell = fixture
        .start("text('so far'); yield_control(); for (;;);")
        .await;
    let cell_id = cell.cell_id.clone();
    within(cell.first_response).await.expect("the cell yields");
    let response = fixture
        .terminate(&cell_id)
        .await
        .expect("the cell is terminated");
    assert_eq!(response.status, CellStatus::Terminated);
    let finished = Err(SessionError::CellFinished {
        cell_id: cell_id.clone(),
    });
    assert_eq!(fixture.wait(&cell_id, AT_ONCE).await, finished);
    assert_eq!(
        fixture.texts("text('the session goes on')").await,
        ["the session goes on"]
    );
    fixture.end().await;
}

/// Whoever observes a cell that is terminated gets `Terminated` too, and open calls are cancelled.
pub async fn terminate_ends_a_waiting_cell_and_its_observer(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let cell = fixture.start("text('out'); await tools.hang()").await;
    let cell_id = cell.cell_id.clone();
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    let response = fixture
        .terminate(&cell_id)
        .await
        .expect("the cell is terminated");
    let observed = within(cell.first_response)
        .await
        .expect("the observer is answered");
    assert_eq!(response.status, CellStatus::Terminated);
    assert_eq!(observed.status, CellStatus::Terminated);
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Closed(_)))
        .await;
    let calls = fixture.recorder.calls();
    assert_eq!(
        calls.get(1..),
        Some(
            [
                Call::Dropped("tool-1".to_owned()),
                Call::Closed("1".to_owned())
            ]
            .as_slice()
        )
    );
    fixture.end().await;
}

/// Termination works wherever a script can be busy.
pub async fn terminate_ends_every_kind_of_busy_cell(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for busy in [
        "for (;;) { try { for (;;); } catch {} finally { continue } }",
        "/^(a+)+$/.test('a'.repeat(40) + 'b')",
        "[3, 2, 1].sort(() => { for (;;); })",
        "const f = () => Promise.resolve().then(f); await f();",
        "text({ toJSON() { for (;;); } })",
        "await tools.echo({ get a() { for (;;); } })",
        "JSON.parse('[1]', () => { for (;;); })",
        "for (;;) new Array(1000).fill(1);",
        "const f = () => setTimeout(f, 0); f(); await new Promise(() => {});",
        "setTimeout(() => { for (;;); }, 0); await new Promise(() => {});",
        "await new Promise(() => {});",
        "await import('@openai/code_mode'); eval('for (;;);')",
    ] {
        let cell = fixture.start(&format!("yield_control(); {busy}")).await;
        let cell_id = cell.cell_id.clone();
        within(cell.first_response).await.expect("the cell yields");
        let response = fixture
            .terminate(&cell_id)
            .await
            .expect("the cell is terminated");
        assert_eq!(response.status, CellStatus::Terminated, "{busy}");
    }
    fixture.end().await;
}

/// After its end a session refuses everything; its provider goes on.
pub async fn a_shut_down_session_refuses_everything(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    within(fixture.session.shutdown())
        .await
        .expect("the session shuts down");
    within(fixture.session.shutdown())
        .await
        .expect("a second shutdown resolves too");
    let refused = fixture.execute(Fixture::request("text(1)")).await.err();
    assert!(
        matches!(refused, Some(SessionError::ShutDown { .. })),
        "{refused:?}"
    );
    let refused = within(fixture.session.export_store()).await.err();
    assert!(
        matches!(refused, Some(SessionError::ShutDown { .. })),
        "{refused:?}"
    );
    let other = fixture.another().await;
    assert_eq!(other.texts("text('other')").await, ["other"]);
    other.end().await;
}

/// Shutting a session down ends its cells, and their observers hear of it.
pub async fn shutdown_ends_running_cells(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let spinning = fixture.start("for (;;);").await;
    let waiting = fixture.start("await tools.hang()").await;
    within(fixture.session.shutdown())
        .await
        .expect("the session shuts down");
    for cell in [spinning, waiting] {
        let response = within(cell.first_response)
            .await
            .expect("the observer is answered");
        assert_eq!(response.status, CellStatus::Terminated);
    }
}

/// A request's own limits hold.
pub async fn a_request_lowers_limits(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let mut request = Fixture::request("for (let i = 0; ; i++) text(i)");
    request.limits.output_items = Some(3);
    let cell = fixture
        .execute(request)
        .await
        .expect("the script is admitted");
    let response = within(cell.first_response).await.expect("the cell answers");
    assert_eq!(texts_of(&response), ["0", "1", "2"]);
    let CellStatus::Completed {
        error_text: Some(error),
    } = response.status
    else {
        panic!("{:?}", response.status)
    };
    assert!(error.contains("limit of 3 output items"), "{error}");
    fixture.end().await;
}
