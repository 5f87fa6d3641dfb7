// SPDX-License-Identifier: Apache-2.0
//! Serves MCP clients: one over a pair of streams, such as standard input and output.

use std::sync::Arc;

use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleServer, ServiceExt};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::front::Front;
use crate::handler::Handler;
use crate::session::McpSession;

/// Bytes of one message of a client (4 MiB). Scripts are at most 1 MiB.
pub const MAX_CLIENT_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Why a client could not be served to its end.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It did not greet as an MCP client does.
    #[error("Failed to greet the MCP client: {0}")]
    Greeting(Box<ServerInitializeError>),
    /// The server's own task failed.
    #[error("Failed to serve the MCP client: {0}")]
    Task(String),
}

/// Serves one client until it closes its end.
///
/// # Errors
/// When the client does not greet; one that leaves without a word is no error.
pub async fn serve_streams<R, W>(front: Arc<Front>, reader: R, writer: W) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let session = Arc::new(McpSession::new(front, "stdio".to_owned()));
    let transport = AsyncRwTransport::<RoleServer, _, _>::new(reader, writer)
        .with_max_line_length(MAX_CLIENT_MESSAGE_BYTES);
    let served = match Handler::new(Arc::clone(&session)).serve(transport).await {
        Ok(running) => match running.waiting().await {
            Ok(QuitReason::JoinError(error)) | Err(error) => {
                Err(ServeError::Task(error.to_string()))
            }
            Ok(_) => Ok(()),
        },
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(ServeError::Greeting(Box::new(error))),
    };
    session.close().await;
    served
}
