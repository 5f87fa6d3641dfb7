// SPDX-License-Identifier: Apache-2.0
//! Why a message cannot be sent.

use crate::{Extension, InvalidValue};

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The payload would exceed the cap. Encoding stopped there, so the whole size is not known.
    #[error("the message takes {at_least} bytes or more; a frame holds at most {maximum}")]
    TooLong {
        /// Bytes that the payload has at least.
        at_least: usize,
        /// The cap: [`MAX_FRAME_BYTES`](crate::MAX_FRAME_BYTES).
        maximum: usize,
    },
    /// The message uses an extension that was not agreed.
    #[error("the message needs the capability {}, which was not agreed", .0.name())]
    NotAgreed(Extension),
    /// A value of the message cannot stand on the wire.
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    /// The message could not be written as JSON.
    #[error("the message cannot be written as JSON: {0}")]
    Json(serde_json::Error),
}
