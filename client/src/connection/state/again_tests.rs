// SPDX-License-Identifier: Apache-2.0
//! What the host refuses to end, and when it is asked again.

use code_mode_api::SideEffects;
use code_mode_protocol::ErrorCode;
use pretty_assertions::assert_eq;
use tokio::sync::oneshot;

use super::*;

fn refusal() -> WireError {
    coded("limit/requests-in-flight")
}

fn coded(code: &str) -> WireError {
    let code = ErrorCode::new(code).expect("a code");
    WireError::new("too much to do").with_details(code, SideEffects::None)
}

/// The id of a request of the driver's own.
fn id_of(frame: &str) -> RequestId {
    let (_, rest) = frame.split_once(r#""id":"#).expect("a request");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    RequestId::new(digits.parse().expect("an id"))
}

#[test]
fn a_session_that_the_host_refuses_to_close_lives_on_and_its_cells_with_it() {
    let mut fixture = Fixture::new();
    let (first, _observed) = fixture.start("1");
    let (reply, mut answer) = oneshot::channel();
    let id = fixture.request(|_| Operation::CloseSession {
        session: Arc::from("s"),
        reply,
    });
    let result = Err(refusal());
    fixture
        .host(HostMessage::OperationResponse { id, result })
        .expect("valid");
    assert_eq!(
        answer.try_recv(),
        Ok(Err(CallError::Host(refusal()))),
        "the caller is told"
    );
    // What the host says of the session's cell is in order.
    fixture.initial(first, done("1", &["a"])).expect("valid");
    fixture.close_cell("1").expect("valid");
    assert_eq!(fixture.own_frames(), [""; 0], "the caller may ask again");
}

#[test]
fn a_session_that_is_closed_already_is_forgotten_by_a_refusal_that_says_so() {
    let mut fixture = Fixture::new();
    fixture.input(Input::SessionGone(Arc::from("s")));
    let id = id_of(&fixture.own_frames()[0]);
    let result = Err(coded("shut-down"));
    fixture
        .host(HostMessage::OperationResponse { id, result })
        .expect("valid");
    assert!(fixture.state.sessions.is_empty());
}

/// Refuses the request that the driver has just made, and each that follows, until it gives up.
fn refuse_until_given_up(fixture: &mut Fixture, kind: &str) {
    let mut pause = again::FIRST_PAUSE;
    for tries in 1..=again::MAX_TRIES {
        let frames = fixture.own_frames();
        let id = match frames.as_slice() {
            [frame] if frame.contains(kind) => id_of(frame),
            other => panic!("must ask for {kind}: {other:?}"),
        };
        let result = Err(refusal());
        fixture
            .host(HostMessage::OperationResponse { id, result })
            .expect("valid");
        if tries > 1 {
            pause = (2 * pause).min(again::MAX_PAUSE);
        }
        fixture
            .pass(pause - Duration::from_millis(1))
            .expect("in time");
        assert_eq!(
            fixture.own_frames(),
            [""; 0],
            "not before the pause is over"
        );
        fixture.pass(Duration::from_millis(1)).expect("in time");
    }
    fixture.pass(2 * again::MAX_PAUSE).expect("in time");
    assert_eq!(fixture.own_frames(), [""; 0], "that was the last time");
}

#[test]
fn a_cell_that_nobody_wants_is_ended_again_after_growing_pauses_when_the_host_refuses() {
    let mut fixture = Fixture::new();
    let (id, ticket) = fixture.execute();
    fixture.answer(id, started("1")).expect("valid");
    fixture.initial(id, yielded("1", &[])).expect("valid");
    drop(ticket);
    fixture.take_queued();
    refuse_until_given_up(&mut fixture, "session/terminate");
}

#[test]
fn a_session_that_nobody_holds_is_closed_again_after_growing_pauses_when_the_host_refuses() {
    let mut fixture = Fixture::new();
    fixture.input(Input::SessionGone(Arc::from("s")));
    refuse_until_given_up(&mut fixture, "session/shutdown");
}

#[test]
fn a_cell_that_has_ended_meanwhile_is_not_ended_again() {
    let mut fixture = Fixture::new();
    let (id, ticket) = fixture.execute();
    fixture.answer(id, started("1")).expect("valid");
    drop(ticket);
    fixture.take_queued();
    let terminate = id_of(&fixture.own_frames()[0]);
    let result = Err(refusal());
    fixture
        .host(HostMessage::OperationResponse {
            id: terminate,
            result,
        })
        .expect("valid");
    fixture.initial(id, done("1", &[])).expect("valid");
    fixture.close_cell("1").expect("valid");
    fixture.pass(again::FIRST_PAUSE).expect("in time");
    assert_eq!(fixture.own_frames(), [""; 0]);
}
