// SPDX-License-Identifier: Apache-2.0
//! Serves MCP clients: one over a pair of streams, such as standard input and output.

use std::io;
use std::sync::Arc;

use rmcp::model::RequestId;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleServer, ServiceExt};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio_util::task::AbortOnDropHandle;

use crate::bounds::{MAX_CLIENT_MESSAGE_BYTES, TOO_LONG_METHOD};
use crate::front::Front;
use crate::handler::Handler;
use crate::lines::{Line, Lines};
use crate::session::McpSession;

/// Bytes of messages on their way to the SDK (64 KiB).
const PASSED_ON_BYTES: usize = 64 * 1024;

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
    let (messages, _passing) = passed_on(reader);
    let transport = AsyncRwTransport::<RoleServer, _, _>::new(messages, writer)
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

/// A client's messages as the SDK takes them; they are read no faster than it does, and until the task is
/// dropped.
fn passed_on<R>(reader: R) -> (DuplexStream, AbortOnDropHandle<()>)
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let (messages, on) = tokio::io::duplex(PASSED_ON_BYTES);
    let passing = tokio::spawn(async move {
        if let Err(error) = pass_on(reader, on).await {
            tracing::debug!(%error, "the MCP client's messages ended early");
        }
    });
    (messages, AbortOnDropHandle::new(passing))
}

/// Hands a client's messages on. In the place of one that is too long stands a request with its id, which is
/// answered by an error: the SDK drops such a message, and the client would wait for ever.
async fn pass_on(
    reader: impl AsyncRead + Unpin + Send,
    mut on: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let mut lines = Lines::new(reader, MAX_CLIENT_MESSAGE_BYTES);
    while let Some(line) = lines.next().await? {
        let mut message = match line {
            Line::Whole(message) => message,
            Line::TooLong {
                bytes,
                id: Some(id),
            } => stand_in(&id, bytes)?,
            Line::TooLong { id: None, .. } => continue,
        };
        message.push(b'\n');
        on.write_all(&message).await?;
    }
    Ok(())
}

fn stand_in(id: &RequestId, bytes: usize) -> io::Result<Vec<u8>> {
    let request = json!({
        "jsonrpc": "2.0", "id": id, "method": TOO_LONG_METHOD, "params": {"bytes": bytes},
    });
    Ok(serde_json::to_vec(&request)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pretty_assertions::assert_eq;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_messages_that_are_not_taken_no_more_is_read_than_there_is_room_for() {
        let (mut client, reader) = tokio::io::duplex(1);
        let (mut messages, _passing) = passed_on(reader);
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let mut written = 0;
        // Time goes on only when nothing else does: then nobody reads any more.
        let stuck = Duration::from_secs(1);
        while let Ok(wrote) =
            tokio::time::timeout(stuck, client.write(&line[written % 100..])).await
        {
            written += wrote.unwrap();
        }
        // What waits stands in the pipe, in one line, and in the byte between.
        let room = PASSED_ON_BYTES..=PASSED_ON_BYTES + 2 * line.len();
        assert!(room.contains(&written), "{written}");
        // Whatever is taken makes room for as much.
        let mut taken = vec![0; 10 * line.len()];
        messages.read_exact(&mut taken).await.unwrap();
        assert_eq!(taken, line.repeat(10));
        client.write_all(&line[written % 100..]).await.unwrap();
    }
}
