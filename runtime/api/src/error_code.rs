// SPDX-License-Identifier: Apache-2.0
//! The stable names of errors, for programs. They are the same behind each door.

use crate::{LimitName, SessionError};

/// The code of a bound without one of its own; a client treats it like one that it does not know.
const OTHER_LIMIT: &str = "limit/other";

impl SessionError {
    /// The stable name of this error, as the extension `code_mode/errors-v1` and the metadata of
    /// a refusal over gRPC have it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingCell { .. } => "missing-cell",
            Self::CellFinished { .. } => "cell-finished",
            Self::CellLost { .. } => "cell-lost",
            Self::BusyObserver { .. } => "busy-observer",
            Self::ShutDown { .. } => "shut-down",
            Self::DuplicateSession { .. } => "duplicate-session",
            Self::Limit { limit, .. } => limit.code(),
            Self::InvalidRequest { .. } => "invalid-request",
            Self::Cancelled { .. } => "cancelled",
            Self::RuntimeLost { .. } => "runtime-lost",
            Self::StartFailed { .. } => "start-failed",
            Self::Refused { .. } => "refused",
        }
    }
}

impl LimitName {
    /// Each bound by its code.
    pub const CODES: [(&'static str, Self); 24] = [
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
        ("limit/answer-bytes", LimitName::AnswerBytes),
        ("limit/unread-bytes", LimitName::UnreadBytes),
    ];

    /// The stable name of the error that says that this bound is reached.
    pub fn code(self) -> &'static str {
        Self::CODES
            .iter()
            .find(|(_, known)| *known == self)
            .map_or(OTHER_LIMIT, |(code, _)| code)
    }

    /// The bound whose code this is.
    pub fn of_code(code: &str) -> Option<Self> {
        let (_, limit) = Self::CODES.into_iter().find(|(known, _)| *known == code)?;
        Some(limit)
    }
}
