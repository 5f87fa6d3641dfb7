// SPDX-License-Identifier: Apache-2.0
use pretty_assertions::assert_eq;

use super::*;

fn session_id() -> SessionId {
    SessionId::new("s").expect("not empty")
}

fn read(error: WireError) -> SessionError {
    let cell_id = CellId::new("2.7");
    error.into_session_error(&session_id(), Some(&cell_id), SideEffects::Possible)
}

fn with_code(code: &str, message: &str) -> WireError {
    let code = ErrorCode::new(code).expect("well formed");
    WireError::new(message).with_details(code, SideEffects::Possible)
}

#[test]
fn every_error_has_a_well_formed_code_of_its_own() {
    use SessionError as E;
    let cell_id = CellId::new("1");
    let (cause, message) = (String::new(), String::new());
    let side_effects = SideEffects::None;
    let errors = [
        E::MissingCell {
            cell_id: cell_id.clone(),
        },
        E::CellFinished {
            cell_id: cell_id.clone(),
        },
        E::CellLost {
            cell_id: cell_id.clone(),
            cause: cause.clone(),
        },
        E::BusyObserver { cell_id },
        E::ShutDown {
            session_id: session_id(),
        },
        E::DuplicateSession {
            session_id: session_id(),
        },
        E::InvalidRequest {
            message: message.clone(),
        },
        E::Cancelled { side_effects },
        E::RuntimeLost {
            cause: cause.clone(),
            side_effects,
        },
        E::StartFailed { cause },
        E::Refused {
            message,
            side_effects,
        },
    ];
    let mut codes: Vec<&str> = errors.iter().map(SessionError::code).collect();
    codes.extend(LimitName::CODES.map(|(code, _)| code));
    for code in &codes {
        ErrorCode::new(*code).expect("well formed");
    }
    let count = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), count);
}

#[test]
fn every_limit_keeps_its_name_value_and_detail_across_the_wire() {
    for (code, limit) in LimitName::CODES {
        for detail in ["", "cells 1, 2 hold it"] {
            let error = SessionError::Limit {
                limit,
                maximum: 128,
                detail: detail.to_owned(),
            };
            let wire = WireError::from(&error);
            let details = wire.details.as_ref().expect("a code");
            assert_eq!(details.code.as_str(), code);
            assert_eq!(details.side_effects, SideEffects::None);
            assert_eq!(read(wire), error);
        }
    }
}

#[test]
fn a_limit_in_other_words_stays_readable() {
    let refused = SessionError::Refused {
        message: "too many".to_owned(),
        side_effects: SideEffects::Possible,
    };
    assert_eq!(read(with_code("limit/active-cells", "too many")), refused);
}

#[test]
fn errors_about_a_cell_carry_the_readers_id_of_it() {
    let cell_id = CellId::new("2.7");
    assert_eq!(
        read(with_code("busy-observer", "exec cell 7 is busy")),
        SessionError::BusyObserver {
            cell_id: cell_id.clone()
        }
    );
    assert_eq!(
        read(with_code("cell-finished", "")),
        SessionError::CellFinished { cell_id }
    );
}

#[test]
fn a_plain_error_is_passed_on_in_its_words() {
    let message = "unknown code-mode session s".to_owned();
    let refused = SessionError::Refused {
        message: message.clone(),
        side_effects: SideEffects::Possible,
    };
    assert_eq!(read(WireError::new(message)), refused);
}
