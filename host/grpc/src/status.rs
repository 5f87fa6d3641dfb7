// SPDX-License-Identifier: Apache-2.0
//! Errors in the terms of gRPC.

use code_mode_api::{SessionError, SideEffects};
use code_mode_grpc::tonic::Status;
use code_mode_grpc::tonic::metadata::MetadataValue;
use code_mode_grpc::{ERROR_CODE_METADATA, SIDE_EFFECTS_METADATA};
use code_mode_service::{OUTPUT_NOT_KEPT, OutputNotKept};

/// The code of a refusal by a host that is about to end.
const HOST_DRAINING: &str = "host-draining";

/// The status for what a session refuses or loses.
pub(crate) fn of_session_error(error: &SessionError) -> Status {
    let message = error.to_string();
    let status = match error {
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
    named(status, error.code(), error.side_effects())
}

/// A status with the name of its error and what it leaves open, as V1 frames give them.
fn named(mut status: Status, code: &'static str, side_effects: SideEffects) -> Status {
    let metadata = status.metadata_mut();
    metadata.insert(ERROR_CODE_METADATA, MetadataValue::from_static(code));
    metadata.insert(
        SIDE_EFFECTS_METADATA,
        MetadataValue::from_static(side_effects.name()),
    );
    status
}

/// The status for what a host begins no more, because it is about to end: another one is to be asked.
pub(crate) fn draining() -> Status {
    let message = "code-mode host is shutting down and begins nothing new; ask another one";
    named(
        Status::unavailable(message),
        HOST_DRAINING,
        SideEffects::None,
    )
}

/// The status for output that is not there to be read again.
pub(crate) fn output_not_kept(error: &OutputNotKept) -> Status {
    named(
        Status::not_found(error.to_string()),
        OUTPUT_NOT_KEPT,
        SideEffects::None,
    )
}

/// The status of a wait that its client has taken back, or whose session was closed.
pub(crate) fn wait_cancelled() -> Status {
    Status::cancelled("code-mode wait was cancelled")
}

/// The status for a session that is not there, or not for this client.
pub(crate) fn unknown_session(id: &str) -> Status {
    Status::not_found(format!("unknown code-mode session {id}"))
}
