// SPDX-License-Identifier: Apache-2.0
//! Of the life of cells and sessions, what only the traits of Rust can say; the rest is data
//! (`cases/life_cycle.json`).

use pretty_assertions::assert_eq;

use code_mode_api::{CellState, CellStatus, CellSummary, SessionError};

use crate::fixture::{Call, Fixture, MakeProvider, PATIENCE, texts_of, within};

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

/// A list has the cells that run or keep a result, and how much of what they said is still to be had.
pub async fn cells_are_listed_with_what_they_do(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let list = || async { within(fixture.session.list_cells()).await.expect("listed") };
    assert_eq!(list().await, []);
    let request = Fixture::request("text('four'); yield_control(); text('äh'); await tools.gate()");
    let call = request.exec_call_id.clone();
    let cell = fixture.execute(request).await.expect("it starts");
    let cell_id = cell.cell_id;
    let first = within(cell.first_response).await.expect("it yields");
    assert_eq!(first.status, CellStatus::Yielded);
    fixture
        .recorder
        .wait_for(|call| matches!(call, Call::Tool { .. }))
        .await;
    let listed = list().await;
    let expected = CellSummary {
        cell_id: cell_id.clone(),
        exec_call_id: call,
        state: CellState::Running,
        age: listed[0].age,
        output_bytes: 7,
        unread_bytes: 3,
    };
    assert_eq!(listed, [expected]);

    fixture.recorder.open_gate();
    within(async {
        while list().await[0].state != CellState::Ended {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let result = fixture
        .wait(&cell_id, PATIENCE)
        .await
        .expect("it has ended");
    assert_eq!(texts_of(&result), ["äh"]);
    assert_eq!(list().await, []);
    fixture.end().await;
}

/// A session that ends leaves its provider to the others.
pub async fn a_provider_goes_on_after_its_session(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let other = fixture.another().await;
    fixture.end().await;
    assert_eq!(other.texts("text('other')").await, ["other"]);
    let third = other.another().await;
    assert_eq!(third.texts("text('third')").await, ["third"]);
    third.end().await;
    other.end().await;
}
