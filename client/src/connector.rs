// SPDX-License-Identifier: Apache-2.0
//! Hosts that are reached by other means than a child process of this one.

use std::io;

use code_mode_api::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::sent::SentExecutes;

/// Makes connections to a host that somebody else runs: over a socket, in memory, or through another
/// protocol that it translates.
///
/// A provider made with [`ProcessSessionProvider::with_connector`](crate::ProcessSessionProvider::with_connector)
/// treats a connection as it treats a host process: it is made when it is first needed, its loss is told
/// to everybody at once, and the next execute asks for another, after the same growing pauses.
pub trait Connector: Send + Sync + 'static {
    /// Makes a connection. Called within a tokio runtime; dropped when nobody waits for it any more, or
    /// when [`Deadlines::startup`](crate::Deadlines::startup) is over.
    ///
    /// # Errors
    /// Why there is none, for people: "Failed to connect to …".
    fn connect(&self) -> BoxFuture<'_, Result<Streams, String>>;
}

/// A connection that speaks frames of V1.
pub struct Streams {
    /// What the client says. It is shut down, and then dropped, when the connection is to end.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// What the host says. An error of the kind [`LOST`] ends the connection with its text as the cause.
    pub output: Box<dyn AsyncRead + Send + Unpin>,
    /// What carries both. Run in a task of its own until it is done; dropped when the connection is to
    /// end at once.
    pub work: BoxFuture<'static, ()>,
    /// Which executes `work` has let go of, if it says so. Without it, each that was written to `input` may
    /// have run.
    pub sent: Option<SentExecutes>,
}

/// The kind of an error of [`Streams::output`] whose text says, for people, why the connection is lost.
pub const LOST: io::ErrorKind = io::ErrorKind::ConnectionAborted;
