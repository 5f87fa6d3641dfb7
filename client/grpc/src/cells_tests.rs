// SPDX-License-Identifier: Apache-2.0

use code_mode_api::{Notification, SessionId};

use super::*;

fn notification() -> DelegateRequest {
    DelegateRequest::NotificationSend {
        notification: Notification {
            session_id: SessionId::new("s").expect("not empty"),
            cell_id: id(),
            exec_call_id: "call".to_owned(),
            text: "text".to_owned(),
        },
    }
}

fn id() -> CellId {
    CellId::new("1")
}

/// Any message will do.
fn answer() -> HostMessage {
    HostMessage::DelegateCancel {
        id: DelegateRequestId::new(1),
    }
}

/// Something that happens to a cell.
type Step<'a> = &'a dyn Fn(&mut Cells) -> Vec<Ready>;

const EXECUTE: RequestId = RequestId::new(7);

fn begun() -> Cells {
    let mut cells = Cells::default();
    cells.begin(EXECUTE);
    cells
}

/// What is told, in a letter each.
fn told(ready: &[Ready]) -> String {
    let letter = |ready: &Ready| match ready {
        Ready::Request(..) => 'r',
        Ready::Cancel(_) => 'x',
        Ready::Ended(_) => 'e',
        Ready::Answer(_) => 'a',
        Ready::Closed(_) => 'c',
    };
    ready.iter().map(letter).collect()
}

#[test]
fn what_comes_before_the_start_waits_for_it_cancellations_too() {
    let mut cells = begun();
    assert_eq!(cells.find("7"), Some(EXECUTE));
    for number in 1..=3 {
        let number = DelegateRequestId::new(number);
        assert!(cells.request(EXECUTE, number, notification()).is_none());
    }
    let second = DelegateRequestId::new(2);
    assert!(cells.cancel(EXECUTE, second).is_none());
    assert_eq!(told(&cells.started(EXECUTE, id())), "rrrx");
    let fourth = cells.request(EXECUTE, DelegateRequestId::new(4), notification());
    assert!(fourth.is_some(), "at once");
    assert!(cells.cancel(EXECUTE, second).is_some(), "at once");
}

#[test]
fn a_result_and_the_closure_come_after_the_start_and_the_last_call_in_any_order() {
    let now = Instant::now();
    let steps: [Step; 4] = [
        &|cells| cells.started(EXECUTE, id()),
        &|cells| cells.answered(EXECUTE, answer(), Leaves::Completed, now),
        &|cells| cells.seen(EXECUTE, 2),
        &|cells| cells.close(EXECUTE, 2),
    ];
    for first in 0..4 {
        for second in (0..4).filter(|second| *second != first) {
            let mut cells = begun();
            let rest = (0..4).filter(|step| ![first, second].contains(step));
            let order: Vec<usize> = [first, second].into_iter().chain(rest).collect();
            let said: Vec<String> = order
                .iter()
                .map(|step| told(&steps[*step](&mut cells)))
                .collect();
            // That the cell has ended is found out before the result only where the result comes last.
            let expected = if order[3] == 1 { "eeac" } else { "eac" };
            assert_eq!(said.concat(), expected, "{order:?}: {said:?}");
            assert_eq!(cells.find("7"), None, "it is forgotten");
        }
    }
}

#[test]
fn a_yield_is_told_at_once_and_the_closure_waits_for_every_observer() {
    let mut cells = begun();
    cells.started(EXECUTE, id());
    let now = Instant::now();
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Running, now)),
        "a"
    );
    assert_eq!(cells.observe(&id()), Some(EXECUTE));
    assert_eq!(cells.observe(&id()), Some(EXECUTE));
    assert_eq!(cells.observe(&CellId::new("2")), None);
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Completed, now)),
        ""
    );
    assert_eq!(told(&cells.close(EXECUTE, 0)), "ea");
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Completed, now)),
        "eac"
    );
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Completed, now)),
        "a"
    );
}

#[test]
fn a_result_whose_cell_is_not_closed_is_told_after_the_deadline() {
    let mut cells = begun();
    cells.started(EXECUTE, id());
    let now = Instant::now();
    assert_eq!(cells.deadline(), None);
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Completed, now)),
        ""
    );
    assert_eq!(cells.deadline(), Some(now + ORDER_DEADLINE));
    assert_eq!(told(&cells.overdue(now)), "");
    assert_eq!(told(&cells.overdue(now + ORDER_DEADLINE)), "a");
    assert_eq!(cells.deadline(), None);
    assert_eq!(told(&cells.close(EXECUTE, 0)), "ec");
}

#[test]
fn a_cell_waits_for_no_call_once_the_stream_of_calls_has_ended() {
    let mut cells = begun();
    cells.started(EXECUTE, id());
    let now = Instant::now();
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Completed, now)),
        ""
    );
    assert_eq!(told(&cells.close(EXECUTE, 3)), "");
    assert_eq!(told(&cells.end_calls()), "eac");
}

#[test]
fn a_result_waits_for_the_notifications_before_it_unless_the_cell_was_terminated() {
    let now = Instant::now();
    let number = DelegateRequestId::new(1);
    for (leaves, early, late) in [
        (Leaves::Completed, "", "eac"),
        (Leaves::Terminated, "eac", ""),
    ] {
        let mut cells = begun();
        cells.started(EXECUTE, id());
        assert!(cells.request(EXECUTE, number, notification()).is_some());
        assert_eq!(told(&cells.answered(EXECUTE, answer(), leaves, now)), "");
        assert_eq!(told(&cells.close(EXECUTE, 0)), early);
        assert_eq!(told(&cells.notified(EXECUTE)), late);
    }
}

#[test]
fn nothing_is_waited_for_once_the_lease_has_ended() {
    let mut cells = begun();
    cells.started(EXECUTE, id());
    let number = DelegateRequestId::new(1);
    assert!(cells.request(EXECUTE, number, notification()).is_some());
    let now = Instant::now();
    assert_eq!(
        told(&cells.answered(EXECUTE, answer(), Leaves::Completed, now)),
        ""
    );
    assert_eq!(told(&cells.end()), "eac");
}

#[test]
fn what_is_said_of_an_execute_that_nobody_wants_is_dropped() {
    let mut cells = begun();
    cells.abandon(EXECUTE);
    assert_eq!(cells.find("7"), None);
    assert_eq!(told(&cells.close(EXECUTE, 0)), "");
    assert_eq!(told(&cells.seen(EXECUTE, 1)), "");
    assert_eq!(cells.find("x"), None);
}

#[test]
fn cancellations_before_their_calls_are_remembered_within_a_bound() {
    let mut cells = Cells::default();
    cells.cancelled_early("a".to_owned());
    assert!(cells.was_cancelled("a"));
    assert!(!cells.was_cancelled("a"), "once");
    for number in 0..=MAX_EARLY_CANCELLATIONS {
        cells.cancelled_early(number.to_string());
    }
    assert!(cells.early.len() <= MAX_EARLY_CANCELLATIONS);
}
