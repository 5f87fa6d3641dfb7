// SPDX-License-Identifier: Apache-2.0
//! Of the life of cells and sessions, what only the traits of Rust can say; the rest is data
//! (`cases/life_cycle.json`).

use pretty_assertions::assert_eq;

use code_mode_api::SessionError;

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
