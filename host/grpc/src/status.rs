// SPDX-License-Identifier: Apache-2.0
//! Errors in the terms of gRPC.

use code_mode_api::SessionError;
use code_mode_grpc::ERROR_CODE_METADATA;
use code_mode_grpc::tonic::Status;
use code_mode_grpc::tonic::metadata::MetadataValue;
use code_mode_service::{OUTPUT_NOT_KEPT, OutputNotKept};

/// The code of a refusal by a host that is about to end.
const HOST_DRAINING: &str = "host-draining";

/// The status for what a session refuses or loses.
pub(crate) fn of_session_error(error: &SessionError) -> Status {
    let message = error.to_string();
    let mut status = match error {
        SessionError::MissingCell { .. }
        | SessionError::CellFinished { .. }
        | SessionError::ShutDown { .. } => Status::not_found(message),
        SessionError::BusyObserver { .. } => Status::failed_precondition(message),
        SessionError::DuplicateSession { .. } => Status::already_exists(message),
        SessionError::Limit { .. } => Status::resource_exhausted(message),
        SessionError::InvalidRequest { .. } => Status::invalid_argument(message),
        SessionError::Cancelled { .. } => Status::cancelled(message),
        SessionError::CellLost { .. } | SessionError::RuntimeLost { .. } => {
            Status::aborted(message)
        }
        SessionError::StartFailed { .. } => Status::unavailable(message),
        _ => Status::internal(message),
    };
    // Every code is short and lower case.
    if let Ok(code) = MetadataValue::try_from(error.code()) {
        status.metadata_mut().insert(ERROR_CODE_METADATA, code);
    }
    status
}

/// The status for what a host begins no more, because it is about to end: another one is to be asked.
pub(crate) fn draining() -> Status {
    let message = "code-mode host is shutting down and begins nothing new; ask another one";
    let mut status = Status::unavailable(message);
    let code = MetadataValue::from_static(HOST_DRAINING);
    status.metadata_mut().insert(ERROR_CODE_METADATA, code);
    status
}

/// The status for output that is not there to be read again.
pub(crate) fn output_not_kept(error: &OutputNotKept) -> Status {
    let mut status = Status::not_found(error.to_string());
    let code = MetadataValue::from_static(OUTPUT_NOT_KEPT);
    status.metadata_mut().insert(ERROR_CODE_METADATA, code);
    status
}

/// The status of a wait that its client has taken back, or whose session was closed.
pub(crate) fn wait_cancelled() -> Status {
    Status::cancelled("code-mode wait was cancelled")
}

/// The status for a session that is not there, or not for this client.
pub(crate) fn unknown_session(id: &str) -> Status {
    Status::not_found(format!("unknown code-mode session {id}"))
}
