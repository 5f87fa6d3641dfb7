// SPDX-License-Identifier: Apache-2.0
//! How an answer says success or failure: `{"status":"ok",…}` or `{"status":"error",…}`.

use std::borrow::Cow;

use code_mode_api::{SideEffects, ToolError};
use serde::de::{Deserializer, Error as _};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::object::{ShapeError, required, wire_names, wire_strings};
use crate::wire::Wire;
use crate::{AgreedCapabilities, Extension, InvalidValue};

wire_names! {
    SideEffects, "a statement of side effects: none or possible" {
        None = "none",
        Possible = "possible",
    }
}

/// A stable name of an error: kebab-case segments divided by slashes, such as `missing-cell` or
/// `limit/active-cells`; at most [`ErrorCode::MAX_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ErrorCode(Cow<'static, str>);

impl ErrorCode {
    /// The longest code, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Takes the text of a code.
    ///
    /// # Errors
    /// When it does not have the form that the type's documentation gives.
    pub fn new(code: impl Into<String>) -> Result<Self, InvalidValue> {
        let code: String = code.into();
        let is_word = |word: &str| {
            let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            !word.is_empty() && word.bytes().all(is_letter)
        };
        if code.len() <= Self::MAX_BYTES && code.split(['/', '-']).all(is_word) {
            Ok(Self(Cow::Owned(code)))
        } else {
            Err(InvalidValue::MalformedErrorCode(code))
        }
    }

    /// A code of this crate's own.
    pub(crate) const fn known(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The text of the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// What the extension [`Extension::Errors`](crate::Extension::Errors) adds to an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDetails {
    /// The error's stable name.
    pub code: ErrorCode,
    /// Whether the script may have acted.
    pub side_effects: SideEffects,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// What went wrong, for people and models.
    pub message: String,
    /// What programs can go by; only when the extension was agreed.
    pub details: Option<ErrorDetails>,
}

impl WireError {
    /// A plain V1 error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            details: None,
        }
    }

    /// Adds what programs can go by.
    pub fn with_details(mut self, code: ErrorCode, side_effects: SideEffects) -> Self {
        self.details = Some(ErrorDetails { code, side_effects });
        self
    }

    /// The error as this connection can carry it: without details unless they were agreed.
    pub fn as_agreed(mut self, agreed: &AgreedCapabilities) -> Self {
        if !agreed.has(Extension::Errors) {
            self.details = None;
        }
        self
    }
}

wire_strings! {
    pub(crate) enum Status ("a status: ok or error") {
        Ok = "ok",
        Error = "error",
    }
}

/// Writes the fields of an error after `"status":"error"`.
pub(crate) trait ErrorBody {
    fn message(&self) -> &str;
    fn details(&self) -> Option<&ErrorDetails>;
}

impl ErrorBody for WireError {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&ErrorDetails> {
        self.details.as_ref()
    }
}

impl ErrorBody for ToolError {
    fn message(&self) -> &str {
        &self.message
    }

    fn details(&self) -> Option<&ErrorDetails> {
        None
    }
}

/// `serialize_with` for the `result` field of every answer.
pub(crate) fn serialize<T, E: ErrorBody, S: Serializer>(
    result: &Result<T, E>,
    serializer: S,
) -> Result<S::Ok, S::Error>
where
    for<'a> Wire<&'a T>: Serialize,
{
    // JSON objects need no length in advance, so the count is only nominal.
    let mut body = serializer.serialize_struct("Outcome", 4)?;
    match result {
        Ok(value) => {
            body.serialize_field("status", &Status::Ok)?;
            body.serialize_field("value", &Wire(value))?;
        }
        Err(error) => {
            body.serialize_field("status", &Status::Error)?;
            body.serialize_field("message", error.message())?;
            if let Some(ErrorDetails { code, side_effects }) = error.details() {
                body.serialize_field("code", code)?;
                body.serialize_field("side_effects", &Wire(side_effects))?;
            }
        }
    }
    body.end()
}

/// Makes an answer of the fields that it may have.
pub(crate) fn from_fields<T>(
    status: Option<Status>,
    value: Option<T>,
    message: Option<String>,
    code: Option<ErrorCode>,
    side_effects: Option<Wire<SideEffects>>,
) -> Result<Result<T, WireError>, ShapeError> {
    match required(status, "status", "a result")? {
        Status::Ok => {
            if message.is_some() || code.is_some() || side_effects.is_some() {
                return Err(ShapeError::new(
                    "a result with status ok has the fields of an error",
                ));
            }
            Ok(Ok(required(value, "value", "a result with status ok")?))
        }
        Status::Error => {
            if value.is_some() {
                return Err(ShapeError::new("a result with status error has a value"));
            }
            let message = required(message, "message", "a result with status error")?;
            let details = match (code, side_effects) {
                (Some(code), Some(Wire(side_effects))) => Some(ErrorDetails { code, side_effects }),
                (None, None) => None,
                _ => return Err(ShapeError::new("code and side_effects must come together")),
            };
            Ok(Err(WireError { message, details }))
        }
    }
}
