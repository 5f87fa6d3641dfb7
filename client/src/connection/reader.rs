//! The task that reads from the host.

use code_mode_protocol::{
    AgreedCapabilities, ClientHello, FrameReader, HostMessage as WireMessage, ReadError,
    accept_ready, decode,
};
use tokio::io::AsyncRead;

use super::budget::{ByteBudget, Share};
use super::events::{Event, Events, HostMessage, OutputEnd};
use crate::convert;
use crate::error::ConnectionFailure;

/// Bytes of decoded messages that wait for the driver; while they do, the reader reads no further.
pub(super) const MAX_INBOUND_BYTES: usize = 128 * 1024 * 1024;

/// Reads messages until the output ends or fails, and tells the driver of each.
///
/// It goes on when the driver has ended, so that a host which is being shut down is never stuck on
/// a full pipe; whoever holds the task ends it.
pub(super) async fn run(
    output: Box<dyn AsyncRead + Send + Unpin>,
    hello: ClientHello,
    events: Events,
) {
    let mut reader = Reader {
        frames: FrameReader::new(output),
        hello,
        agreed: None,
        budget: ByteBudget::new(MAX_INBOUND_BYTES),
    };
    loop {
        match reader.next().await {
            // Sending fails only when the driver has ended; see above.
            Ok((message, share)) => drop(events.send(Event::Host(message, share))),
            Err(end) => {
                drop(events.send(Event::OutputEnded(end)));
                return;
            }
        }
    }
}

struct Reader {
    frames: FrameReader<Box<dyn AsyncRead + Send + Unpin>>,
    hello: ClientHello,
    /// What was agreed, once the host has greeted.
    agreed: Option<AgreedCapabilities>,
    budget: ByteBudget,
}

impl Reader {
    async fn next(&mut self) -> Result<(HostMessage, Share), OutputEnd> {
        let payload = self
            .frames
            .next_payload()
            .await
            .map_err(end)?
            .ok_or(OutputEnd::Clean)?;
        let share = self.budget.acquire(payload.len()).await;
        let agreed = self.agreed.clone().unwrap_or_default();
        let message = decode(&payload, &agreed).map_err(|error| end(error.into()))?;
        let message = self.message(message).map_err(OutputEnd::Failed)?;
        Ok((message, share))
    }

    fn message(&mut self, message: WireMessage) -> Result<HostMessage, ConnectionFailure> {
        let violation = |text: String| ConnectionFailure::Violation(text);
        match message {
            WireMessage::Ready {
                selected_version,
                capabilities,
            } => {
                if self.agreed.is_some() {
                    return Err(violation("a second greeting".to_owned()));
                }
                let agreement = accept_ready(&self.hello, selected_version, capabilities)
                    .map_err(|error| violation(error.to_string()))?;
                self.agreed = Some(agreement.capabilities.clone());
                Ok(HostMessage::Ready(agreement.capabilities))
            }
            WireMessage::Rejected { reason } => Ok(HostMessage::Rejected {
                reason: reason.to_string(),
            }),
            other => convert::host_message(other)
                .ok_or_else(|| violation("a greeting out of turn".to_owned())),
        }
    }
}

fn end(error: ReadError) -> OutputEnd {
    match error {
        ReadError::Truncated { .. } => OutputEnd::Truncated(error.to_string()),
        ReadError::Io(error) => OutputEnd::Failed(ConnectionFailure::Read(error.to_string())),
        error => OutputEnd::Failed(ConnectionFailure::Undecodable(error.to_string())),
    }
}
