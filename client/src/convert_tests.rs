use pretty_assertions::assert_eq;

use super::*;

fn id() -> api::SessionId {
    api::SessionId::new("s").expect("not empty")
}

fn from_host(code: Option<&str>, message: &str) -> SessionError {
    let error = HostError {
        message: message.to_owned(),
        code: code.map(str::to_owned),
        side_effects: None,
    };
    let cell = api::CellId::new("2.7");
    session_error(
        CallError::Host(error),
        &id(),
        Some(&cell),
        SideEffects::Possible,
    )
}

#[test]
fn every_limit_keeps_its_name_value_and_detail_across_the_wire() {
    for (code, limit) in LIMITS {
        for detail in ["", "cells 1, 2 hold it"] {
            let error = SessionError::Limit {
                limit,
                maximum: 128,
                detail: detail.to_owned(),
            };
            assert_eq!(
                from_host(Some(&format!("limit/{code}")), &error.to_string()),
                error
            );
        }
    }
}

#[test]
fn a_limit_in_other_words_stays_readable() {
    let error = from_host(Some("limit/active-cells"), "too many");
    let refused = SessionError::Refused {
        message: "too many".to_owned(),
        side_effects: SideEffects::Possible,
    };
    assert_eq!(error, refused);
}

#[test]
fn errors_about_a_cell_carry_the_callers_id_of_it() {
    let cell_id = api::CellId::new("2.7");
    assert_eq!(
        from_host(Some("busy-observer"), "exec cell 7 is busy"),
        SessionError::BusyObserver {
            cell_id: cell_id.clone()
        }
    );
    assert_eq!(
        from_host(Some("cell-finished"), ""),
        SessionError::CellFinished { cell_id }
    );
}

#[test]
fn an_error_of_a_plain_host_is_passed_on_in_its_words() {
    let SessionError::Refused { message, .. } = from_host(None, "unknown code-mode session s")
    else {
        panic!("must be a refusal");
    };
    assert_eq!(message, "unknown code-mode session s");
}

#[test]
fn durations_become_whole_milliseconds_and_never_none() {
    let cases = [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2)];
    for (nanoseconds, expected) in cases {
        assert_eq!(milliseconds(Duration::from_nanos(nanoseconds)), expected);
    }
    assert_eq!(milliseconds(Duration::MAX), u64::MAX);
}

#[test]
fn a_request_that_needs_a_capability_names_it() {
    let agreed = AgreedCapabilities::none();
    let requests = Requests {
        session: "s",
        agreed: &agreed,
    };
    let mut request = api::ExecuteRequest::new("text(1)");
    assert!(
        requests
            .execute(1, request.clone(), Vec::new().into())
            .is_ok()
    );
    request.limits.timers = Some(1);
    let error = requests
        .execute(1, request, Vec::new().into())
        .expect_err("the host has no limits");
    assert!(error.to_string().contains("code_mode/limits-v1"), "{error}");
}

#[test]
fn a_wait_names_its_time_even_when_it_is_the_default() {
    let agreed = AgreedCapabilities::none();
    let requests = Requests {
        session: "s",
        agreed: &agreed,
    };
    let frame = requests.wait(1, "1", None).expect("a frame");
    let text = String::from_utf8_lossy(frame.payload());
    assert!(text.contains(r#""yield_time_ms":10000"#), "{text}");
}
