// SPDX-License-Identifier: Apache-2.0
//! Executes that were sent and never answered: what the host has said of their streams proves that they have
//! not run, or it does not.

mod support;

use std::sync::Arc;

use code_mode_api::{CellId, CellResponse, CellStatus, CodeModeSession, SessionError, SideEffects};
use code_mode_client_grpc::{AddressConfig, AddressSessionProvider};
use support::by_hand::{
    ByHand, CALLS, CANCEL, Connection, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM,
};
use support::{in_time, run, session};

/// A host by hand, and a session that goes there.
struct Fixture {
    host: ByHand,
    session: Arc<dyn CodeModeSession>,
    _provider: AddressSessionProvider,
}

impl Fixture {
    async fn new() -> Self {
        let host = ByHand::new().await;
        let provider = AddressSessionProvider::new(AddressConfig::new(host.address.clone()));
        Self {
            session: session(&provider).await,
            host,
            _provider: provider,
        }
    }

    /// Executes while `host` plays the host. What that gives is kept until the execute has ended.
    async fn execute<T>(
        &self,
        host: impl Future<Output = T>,
    ) -> (Result<CellResponse, SessionError>, T) {
        in_time(async { tokio::join!(run(&self.session, "text(1)"), host) }).await
    }

    /// Executes while `host` does something with the connection and the execute's stream, and gives the error
    /// that this must end in. What `host` gives is kept until then. The execute must not be sent again.
    async fn loses<T>(&self, host: impl AsyncFnOnce(Connection, u32) -> T) -> SessionError {
        let (outcome, kept) = self
            .execute(async {
                let mut connection = self.host.opens().await;
                let execute = connection.execute().await;
                host(connection, execute.stream).await
            })
            .await;
        assert!(!self.host.has_another().await, "it was not sent again");
        drop(kept);
        outcome.expect_err("it is lost")
    }

    /// Takes one more connection, and runs the execute that comes there.
    async fn runs_on_another(&self) -> Connection {
        let mut connection = self.host.opens().await;
        let execute = connection.execute().await;
        connection.runs(&execute).await;
        connection
    }
}

/// The response of a cell that has run in a session of which nothing was lost.
fn assert_ran(outcome: Result<CellResponse, SessionError>, cell_id: &str) {
    let response = outcome.expect("it runs");
    assert_eq!(response.cell_id, CellId::new(cell_id));
    assert_eq!(response.status, CellStatus::Completed { error_text: None });
    assert_eq!(response.state_lost, None, "nothing was in the session");
}

fn assert_may_have_run(error: &SessionError) {
    assert!(matches!(error, SessionError::RuntimeLost { .. }), "{error}");
    assert_eq!(error.side_effects(), SideEffects::Possible, "{error}");
}

#[tokio::test]
async fn an_execute_whose_stream_is_refused_is_sent_once_more() {
    let fixture = Fixture::new().await;
    let (outcome, _connection) = fixture
        .execute(async {
            let mut connection = fixture.host.opens().await;
            let refused = connection.execute().await;
            connection.resets(refused.stream, REFUSED_STREAM).await;
            let execute = connection.execute().await;
            assert_eq!(execute.id, refused.id);
            connection.runs(&execute).await;
            connection
        })
        .await;
    assert_ran(outcome, "1");
}

#[tokio::test]
async fn an_execute_that_is_refused_twice_has_not_run_and_its_session_goes_on() {
    let fixture = Fixture::new().await;
    let (outcome, mut connection) = fixture
        .execute(async {
            let mut connection = fixture.host.opens().await;
            for _ in 0..2 {
                let stream = connection.execute().await.stream;
                connection.resets(stream, REFUSED_STREAM).await;
            }
            connection
        })
        .await;
    let error = outcome.expect_err("it is refused");
    assert!(matches!(error, SessionError::Refused { .. }), "{error}");
    assert_eq!(error.side_effects(), SideEffects::None);
    assert!(error.to_string().contains("refuses executes"), "{error}");
    let (outcome, ()) = fixture
        .execute(async {
            let execute = connection.execute().await;
            connection.runs(&execute).await;
        })
        .await;
    assert_ran(outcome, "1");
}

#[tokio::test]
async fn an_execute_above_the_last_stream_that_a_host_looks_at_goes_to_a_fresh_connection() {
    for code in [NO_ERROR, INTERNAL_ERROR] {
        let fixture = Fixture::new().await;
        let (outcome, _connections) = fixture
            .execute(async {
                let mut first = fixture.host.opens().await;
                first.execute().await;
                first.goes_away(CALLS, code).await;
                (first, fixture.runs_on_another().await)
            })
            .await;
        assert_ran(outcome, "2.1");
    }
}

#[tokio::test]
async fn a_proof_is_not_outrun_by_the_end_of_the_connection() {
    for _ in 0..10 {
        let fixture = Fixture::new().await;
        let (outcome, _connections) = fixture
            .execute(async {
                let mut first = fixture.host.opens().await;
                first.execute().await;
                first.goes_away(CALLS, NO_ERROR).await;
                first.ends().await;
                (first, fixture.runs_on_another().await)
            })
            .await;
        assert_ran(outcome, "2.1");
    }
}

#[tokio::test]
async fn an_execute_goes_to_one_fresh_connection_and_no_more() {
    let fixture = Fixture::new().await;
    let (outcome, _connections) = fixture
        .execute(async {
            let mut connections = Vec::new();
            for _ in 0..2 {
                let mut connection = fixture.host.opens().await;
                connection.execute().await;
                connection.goes_away(CALLS, NO_ERROR).await;
                connections.push(connection);
            }
            connections
        })
        .await;
    let error = outcome.expect_err("it is lost");
    assert!(matches!(error, SessionError::RuntimeLost { .. }), "{error}");
    assert_eq!(error.side_effects(), SideEffects::None, "{error}");
    assert!(!fixture.host.has_another().await);
}

/// Runs two executes at one time while `host` plays the host, of which one may have run when the first
/// connection is lost, and the other runs on the second.
async fn one_of_two_goes_on<T>(fixture: &Fixture, host: impl Future<Output = T>) {
    let session = &fixture.session;
    let all = async { tokio::join!(run(session, "text(1)"), run(session, "text(2)"), host) };
    let (one, two, _connections) = in_time(all).await;
    // Which of the two was the first on the wire does not matter.
    let (lost, ran) = if one.is_err() { (one, two) } else { (two, one) };
    assert_may_have_run(&lost.expect_err("it is lost"));
    let response = ran.expect("it runs");
    assert_eq!(response.cell_id, CellId::new("2.1"));
    assert!(response.state_lost.is_some(), "the other may have stored");
}

#[tokio::test]
async fn an_execute_whose_message_was_never_taken_goes_to_a_fresh_connection() {
    let fixture = Fixture::new().await;
    let host = async {
        let mut first = fixture.host.begins_to_open().await;
        // The lease, the calls and one execute; the other has to wait.
        first.takes_streams(3).await;
        first.begins_to_answer(CALLS).await;
        first.execute().await;
        first.ends().await;
        (first, fixture.runs_on_another().await)
    };
    one_of_two_goes_on(&fixture, host).await;
}

#[tokio::test]
async fn of_two_executes_each_is_told_what_is_known_of_it() {
    let fixture = Fixture::new().await;
    let host = async {
        let mut first = fixture.host.opens().await;
        let seen = first.execute().await;
        first.execute().await;
        first.goes_away(seen.stream, NO_ERROR).await;
        (first, fixture.runs_on_another().await)
    };
    one_of_two_goes_on(&fixture, host).await;
}

#[tokio::test]
async fn an_execute_whose_stream_ends_with_any_other_code_may_have_run() {
    for code in [NO_ERROR, INTERNAL_ERROR, CANCEL] {
        let fixture = Fixture::new().await;
        let error = fixture
            .loses(async |mut connection, stream| {
                connection.resets(stream, code).await;
                connection
            })
            .await;
        assert_may_have_run(&error);
    }
}

#[tokio::test]
async fn an_execute_that_a_host_refuses_after_it_has_begun_to_answer_may_have_run() {
    let fixture = Fixture::new().await;
    let error = fixture
        .loses(async |mut connection, stream| {
            connection.begins_to_answer(stream).await;
            connection.resets(stream, REFUSED_STREAM).await;
            connection
        })
        .await;
    assert_eq!(error.side_effects(), SideEffects::Possible, "{error}");
    let fixture = Fixture::new().await;
    let error = fixture
        .loses(async |mut connection, stream| {
            connection.begins_to_answer(stream).await;
            connection.goes_away(CALLS, NO_ERROR).await;
            connection
        })
        .await;
    assert_eq!(error.side_effects(), SideEffects::Possible, "{error}");
}

#[tokio::test]
async fn an_execute_that_was_sent_before_the_connection_ends_may_have_run() {
    let fixture = Fixture::new().await;
    let error = fixture.loses(async |connection, _| drop(connection)).await;
    assert_may_have_run(&error);
}

#[tokio::test]
async fn an_execute_up_to_the_last_stream_that_a_host_looks_at_may_have_run() {
    let fixture = Fixture::new().await;
    let error = fixture
        .loses(async |mut connection, stream| connection.goes_away(stream, NO_ERROR).await)
        .await;
    assert_may_have_run(&error);
}
