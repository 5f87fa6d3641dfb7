// SPDX-License-Identifier: Apache-2.0
//! Why a request is answered with an error.

use code_mode_api::{SessionError, SideEffects};
use code_mode_protocol::{AgreedCapabilities, ErrorCode, WireError};

/// Why a request is answered with an error.
#[derive(Debug)]
pub(crate) struct Refusal(WireError);

impl Refusal {
    /// A refusal of which nothing has run.
    pub(crate) fn new(code: &str, message: String) -> Self {
        let error = WireError::new(message);
        Self(match ErrorCode::new(code) {
            Ok(code) => error.with_details(code, SideEffects::None),
            // Every code is a constant of this crate; a malformed one costs the client its details.
            Err(invalid) => {
                tracing::error!(%invalid, "an error has no code");
                error
            }
        })
    }

    /// The same, after which the script may have acted.
    pub(crate) fn after_side_effects(mut self) -> Self {
        if let Some(details) = &mut self.0.details {
            details.side_effects = SideEffects::Possible;
        }
        self
    }

    /// The error as a connection with this agreement can carry it.
    pub(crate) fn into_agreed(self, agreed: &AgreedCapabilities) -> WireError {
        self.0.as_agreed(agreed)
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        Self(WireError::from(&error))
    }
}
