//! The stable names of errors, the same behind each door.

use code_mode_api as api;

/// The stable code of an error, as the extension `code_mode/errors-v1` has it.
pub fn error_code(error: &api::SessionError) -> String {
    use api::SessionError as E;
    let code = match error {
        E::MissingCell { .. } => "missing-cell",
        E::CellFinished { .. } => "cell-finished",
        E::CellLost { .. } => "cell-lost",
        E::BusyObserver { .. } => "busy-observer",
        E::ShutDown { .. } => "shut-down",
        E::DuplicateSession { .. } => "duplicate-session",
        E::Limit { limit, .. } => return format!("limit/{}", limit_code(*limit)),
        E::InvalidRequest { .. } => "invalid-request",
        E::Cancelled { .. } => "cancelled",
        E::RuntimeLost { .. } => "runtime-lost",
        E::StartFailed { .. } => "start-failed",
        E::Refused { .. } => "refused",
        // The enum may grow; a client treats an unknown code like this one.
        _ => "refused",
    };
    code.to_owned()
}

fn limit_code(limit: api::LimitName) -> &'static str {
    use api::LimitName as L;
    match limit {
        L::HeapBytes => "heap-bytes",
        L::ExternalBytes => "external-bytes",
        L::CpuTimeMs => "cpu-time-ms",
        L::WallTimeMs => "wall-time-ms",
        L::SourceBytes => "source-bytes",
        L::OutputBytes => "output-bytes",
        L::OutputItems => "output-items",
        L::StoredValueBytes => "stored-value-bytes",
        L::StoreBytes => "store-bytes",
        L::StoreKeys => "store-keys",
        L::OpenToolCalls => "open-tool-calls",
        L::TotalToolCalls => "total-tool-calls",
        L::OpenNotifications => "open-notifications",
        L::Timers => "timers",
        L::ValueBytes => "value-bytes",
        L::Tools => "tools",
        L::ToolBytes => "tool-bytes",
        L::ActiveCells => "active-cells",
        L::StoredResults => "stored-results",
        L::Sessions => "sessions",
        L::RequestsInFlight => "requests-in-flight",
        L::CellIds => "cell-ids",
        // The enum may grow; a client treats an unknown limit like this one.
        _ => "other",
    }
}
