// SPDX-License-Identifier: Apache-2.0
//! Errors of sessions on the wire: a sentence for people, and with the extension
//! [`Extension::Errors`](crate::Extension::Errors) a code for programs.

use code_mode_api::{CellId, LimitName, SessionError, SessionId, SideEffects};

use crate::{ErrorCode, WireError};

impl From<&SessionError> for WireError {
    fn from(error: &SessionError) -> Self {
        let code = ErrorCode::known(error.code());
        Self::new(error.to_string()).with_details(code, error.side_effects())
    }
}

impl WireError {
    /// The session's error that this one tells of. What a plain V1 error leaves open, its reader
    /// says: the session and the cell that the request was about, and whether its script may have
    /// acted.
    pub fn into_session_error(
        self,
        session_id: &SessionId,
        cell_id: Option<&CellId>,
        side_effects: SideEffects,
    ) -> SessionError {
        let cell_id = || cell_id.cloned().unwrap_or_else(|| CellId::new(""));
        let Self { message, details } = self;
        let Some(details) = details else {
            return SessionError::Refused {
                message,
                side_effects,
            };
        };
        let side_effects = details.side_effects;
        match details.code.as_str() {
            "missing-cell" => SessionError::MissingCell { cell_id: cell_id() },
            "cell-finished" => SessionError::CellFinished { cell_id: cell_id() },
            "busy-observer" => SessionError::BusyObserver { cell_id: cell_id() },
            "shut-down" => SessionError::ShutDown {
                session_id: session_id.clone(),
            },
            "invalid-request" => SessionError::InvalidRequest { message },
            "cancelled" => SessionError::Cancelled { side_effects },
            code => limit(code, &message).unwrap_or(SessionError::Refused {
                message,
                side_effects,
            }),
        }
    }
}

/// A limit that a host has named by its code; the value stands in the message, in the form that
/// [`SessionError::Limit`] gives it.
fn limit(code: &str, message: &str) -> Option<SessionError> {
    let limit = LimitName::of_code(code)?;
    let rest = message.strip_prefix("the limit of ")?;
    let (maximum, rest) = rest.split_once(' ')?;
    let rest = rest
        .strip_prefix(&limit.to_string())?
        .strip_prefix(" is reached")?;
    let detail = if rest.is_empty() {
        ""
    } else {
        rest.strip_prefix(": ")?
    };
    Some(SessionError::Limit {
        limit,
        maximum: maximum.parse().ok()?,
        detail: detail.to_owned(),
    })
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
