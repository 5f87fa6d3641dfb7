// SPDX-License-Identifier: Apache-2.0
//! The interface of whatever runs cells.

use std::sync::Arc;

use super::{Ask, AskId, Bell, CallId};
use crate::{RawJson, SessionError, SessionOptions, ToolError};

/// Opens sessions.
pub trait Sessions: Send + Sync {
    /// Opens a session that tells `bell` of its events.
    ///
    /// # Errors
    /// When a session of this id exists, a bound is reached, or what runs cells cannot be had.
    fn open(
        &self,
        options: SessionOptions,
        bell: Arc<dyn Bell>,
    ) -> Result<Arc<dyn Session>, SessionError>;
}

/// An open session: cells that share stored values.
///
/// Nothing here waits. The last drop ends the session's cells. Each of these may put events, and so
/// ring the bell as [`Ringer::Helper`](super::Ringer::Helper), before it returns: a door holds no lock
/// that its bell takes.
pub trait Session: Send + Sync {
    /// Asks for something; what becomes of it comes as events.
    fn ask(&self, id: AskId, ask: Ask);

    /// Takes a wait back: it is answered with
    /// [`Cancelled`](crate::SessionError::Cancelled), and the cell lives on. Does nothing to an ask
    /// that is over or is no wait.
    fn withdraw(&self, id: AskId);

    /// Answers a tool call or says how the delivery of a notification went. Does nothing to one that
    /// is answered or cancelled.
    fn answer(&self, call: CallId, result: Result<RawJson, ToolError>);
}
