// SPDX-License-Identifier: Apache-2.0
//! What comes of opening a session on a host.

use code_mode_api::{RestoredStore, SessionError};

/// Why a session is not open on a host.
pub(crate) enum OpenError {
    /// The host is about to end.
    Draining(SessionError),
    /// There is none, or it is gone.
    NoHost(SessionError),
    Refused(SessionError),
}

impl OpenError {
    pub(crate) fn into_inner(self) -> SessionError {
        match self {
            Self::Draining(error) | Self::NoHost(error) | Self::Refused(error) => error,
        }
    }
}

/// What a fresh host was given.
pub(crate) enum PutBack {
    Nothing,
    /// What the session had stored on the host that it has left.
    Carried {
        any: bool,
    },
    /// The values of the client's copy.
    Copy(RestoredStore),
}

impl PutBack {
    pub(crate) fn any(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Carried { any } => *any,
            Self::Copy(restored) => restored.values > 0,
        }
    }
}
