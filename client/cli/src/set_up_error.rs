// SPDX-License-Identifier: Apache-2.0
//! Why nothing could be begun.

use code_mode_api::SessionError;

use crate::status::Status;

/// A failure to set a session up: words for people, and how the program ends.
#[derive(Debug)]
pub struct SetUpError {
    /// What failed, why, and what to do.
    pub message: String,
    /// How the program ends.
    pub status: Status,
}

impl SetUpError {
    /// A failure that the user can repair.
    pub fn new(message: impl ToString) -> Self {
        Self {
            message: message.to_string(),
            status: Status::SetUp,
        }
    }
}

impl From<SessionError> for SetUpError {
    fn from(error: SessionError) -> Self {
        Self {
            status: Status::of_error(&error),
            message: error.to_string(),
        }
    }
}
