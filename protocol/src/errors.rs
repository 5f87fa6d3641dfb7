//! Errors of sessions on the wire: a sentence for people, and with the extension
//! [`Extension::Errors`](crate::Extension::Errors) a code for programs.

use code_mode_api::{CellId, LimitName, SessionError, SessionId, SideEffects};

use crate::{ErrorCode, WireError};

/// Each bound by its error code.
const LIMITS: [(&str, LimitName); 22] = [
    ("limit/heap-bytes", LimitName::HeapBytes),
    ("limit/external-bytes", LimitName::ExternalBytes),
    ("limit/cpu-time-ms", LimitName::CpuTimeMs),
    ("limit/wall-time-ms", LimitName::WallTimeMs),
    ("limit/source-bytes", LimitName::SourceBytes),
    ("limit/output-bytes", LimitName::OutputBytes),
    ("limit/output-items", LimitName::OutputItems),
    ("limit/stored-value-bytes", LimitName::StoredValueBytes),
    ("limit/store-bytes", LimitName::StoreBytes),
    ("limit/store-keys", LimitName::StoreKeys),
    ("limit/open-tool-calls", LimitName::OpenToolCalls),
    ("limit/total-tool-calls", LimitName::TotalToolCalls),
    ("limit/open-notifications", LimitName::OpenNotifications),
    ("limit/timers", LimitName::Timers),
    ("limit/value-bytes", LimitName::ValueBytes),
    ("limit/tools", LimitName::Tools),
    ("limit/tool-bytes", LimitName::ToolBytes),
    ("limit/active-cells", LimitName::ActiveCells),
    ("limit/stored-results", LimitName::StoredResults),
    ("limit/sessions", LimitName::Sessions),
    ("limit/requests-in-flight", LimitName::RequestsInFlight),
    ("limit/cell-ids", LimitName::CellIds),
];

/// The code of a bound that this crate does not know; a client treats it like one that it does not
/// know.
const OTHER_LIMIT: &str = "limit/other";

/// The code of an error without one of its own.
const REFUSED: &str = "refused";

/// The stable name of an error.
fn code(error: &SessionError) -> &'static str {
    match error {
        SessionError::MissingCell { .. } => "missing-cell",
        SessionError::CellFinished { .. } => "cell-finished",
        SessionError::CellLost { .. } => "cell-lost",
        SessionError::BusyObserver { .. } => "busy-observer",
        SessionError::ShutDown { .. } => "shut-down",
        SessionError::DuplicateSession { .. } => "duplicate-session",
        SessionError::Limit { limit, .. } => LIMITS
            .iter()
            .find(|(_, known)| known == limit)
            .map_or(OTHER_LIMIT, |(code, _)| code),
        SessionError::InvalidRequest { .. } => "invalid-request",
        SessionError::Cancelled { .. } => "cancelled",
        SessionError::RuntimeLost { .. } => "runtime-lost",
        SessionError::StartFailed { .. } => "start-failed",
        // The enum may grow; a client treats an unknown code like this one.
        _ => REFUSED,
    }
}

impl From<&SessionError> for WireError {
    fn from(error: &SessionError) -> Self {
        let code = ErrorCode::known(code(error));
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
    let (_, limit) = LIMITS.into_iter().find(|(known, _)| *known == code)?;
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
