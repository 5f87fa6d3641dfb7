// SPDX-License-Identifier: Apache-2.0
//! What the messages of both directions have in common: the door that both encoding and decoding
//! pass.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::client_message::{Decoded, DecodedClientMessage};
use crate::extension::{Extension, ExtensionSet};
use crate::surrogates::without_lone_surrogates;
use crate::{AgreedCapabilities, ClientMessage, HostMessage, InvalidValue, RequestId};

/// Longest text of a decoding error, in bytes; the rest is cut off, because part of it is the
/// peer's.
pub const MAX_DECODE_ERROR_BYTES: usize = 512;

/// Why a payload is not a message: a violation of the protocol by the peer, with one exception.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload is not UTF-8.
    #[error("the payload is not UTF-8 from byte {valid_up_to} on")]
    NotUtf8 {
        /// How many bytes are valid, counted from the start of the payload.
        valid_up_to: usize,
    },
    /// The payload is not JSON, or not a message of this direction.
    #[error("the payload is not a valid message: {0}")]
    Malformed(String),
    /// The message uses an extension that was not agreed.
    #[error("the message needs the capability {}, which was not agreed", .0.name())]
    NotAgreed(Extension),
    /// A number in a known field of a request is outside the field's range. Unlike the others this
    /// is no violation: the request is to be answered with an error, and the connection goes on.
    #[error("{message}")]
    OutOfRange {
        /// The request's id.
        id: RequestId,
        /// Which number, and what its range is.
        message: String,
    },
}

/// A message of one direction; implemented by [`ClientMessage`] and [`HostMessage`] only.
pub trait Message: Serialize + for<'de> Deserialize<'de> + sealed::Sealed {}

impl Message for ClientMessage {}
impl Message for HostMessage {}

pub(crate) mod sealed {
    use super::{Decoded, ExtensionSet, InvalidValue};

    pub trait Sealed: Sized {
        /// Reads a message of this direction; also gives the extensions that it names without
        /// using them.
        #[expect(private_interfaces, reason = "nobody outside can name this trait")]
        fn read(text: &str) -> Result<(Decoded<Self>, ExtensionSet), serde_json::Error>;

        /// The extensions that this message uses.
        #[expect(private_interfaces, reason = "nobody outside can name this trait")]
        fn extensions(&self) -> ExtensionSet;

        /// Refuses what cannot stand on the wire.
        fn check(&self) -> Result<(), InvalidValue>;

        /// Bytes that this message takes at least once it is encoded.
        fn least_bytes(&self) -> usize;
    }
}

impl sealed::Sealed for ClientMessage {
    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    fn read(text: &str) -> Result<(Decoded<Self>, ExtensionSet), serde_json::Error> {
        serde_json::from_str(text).map(|DecodedClientMessage { decoded, named }| (decoded, named))
    }

    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    fn extensions(&self) -> ExtensionSet {
        self.extensions()
    }

    fn check(&self) -> Result<(), InvalidValue> {
        self.check()
    }

    fn least_bytes(&self) -> usize {
        self.least_bytes()
    }
}

impl sealed::Sealed for HostMessage {
    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    fn read(text: &str) -> Result<(Decoded<Self>, ExtensionSet), serde_json::Error> {
        serde_json::from_str(text).map(|message| (Decoded::Message(message), ExtensionSet::NONE))
    }

    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    fn extensions(&self) -> ExtensionSet {
        self.extensions()
    }

    fn check(&self) -> Result<(), InvalidValue> {
        self.check()
    }

    fn least_bytes(&self) -> usize {
        self.least_bytes()
    }
}

/// Decodes one payload.
///
/// A lone surrogate in any text becomes U+FFFD.
/// Raw JSON within the message is checked to be JSON and otherwise left as it is: it is copied
/// once, out of the payload, and may be nested to any depth and repeat keys.
///
/// # Errors
/// When the payload is not a message of this direction, or uses an extension that was not agreed.
pub fn decode<M: Message>(payload: &[u8], agreed: &AgreedCapabilities) -> Result<M, DecodeError> {
    let text = std::str::from_utf8(payload).map_err(|error| DecodeError::NotUtf8 {
        valid_up_to: error.valid_up_to(),
    })?;
    let text = without_lone_surrogates(text);
    let (decoded, named) = M::read(&text).map_err(|error| malformed(&error))?;
    let message = match decoded {
        Decoded::Message(message) => message,
        Decoded::OutOfRange { id, message } => {
            return Err(DecodeError::OutOfRange { id, message });
        }
    };
    match agreed.first_missing(message.extensions().and(named)) {
        Some(extension) => Err(DecodeError::NotAgreed(extension)),
        None => Ok(message),
    }
}

fn malformed(error: &serde_json::Error) -> DecodeError {
    let mut text = Excerpt(String::new());
    // The only failure is a full excerpt, and that is what it is for.
    let _ = write!(text, "{error}");
    DecodeError::Malformed(text.0)
}

/// Takes text up to [`MAX_DECODE_ERROR_BYTES`].
struct Excerpt(String);

impl fmt::Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_DECODE_ERROR_BYTES - self.0.len();
        let end = text.floor_char_boundary(room);
        self.0.push_str(&text[..end]);
        if end < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
