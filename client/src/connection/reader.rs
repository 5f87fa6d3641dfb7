// SPDX-License-Identifier: Apache-2.0
//! What comes from the host: frames, decoded and in this crate's terms.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use code_mode_protocol::{
    AgreedCapabilities, ClientHello, FrameReader, HostMessage as WireMessage, ReadError,
    accept_ready, decode,
};

use super::events::OutputEnd;
use crate::connector::LOST;
use crate::error::ConnectionFailure;
use crate::host_message::HostMessage;
use crate::messages;
use crate::process::HostOutput;

/// The host's output. Messages are handed out one by one and read no further ahead than one
/// buffer, so what the host sends faster than it is handled waits in the pipe.
pub(super) struct Reader {
    /// `None` once the output has ended.
    frames: Option<FrameReader<HostOutput>>,
    hello: ClientHello,
    greeted: bool,
    /// What was agreed; nothing before the host has greeted.
    agreed: AgreedCapabilities,
}

impl Reader {
    pub(super) fn new(output: HostOutput, hello: ClientHello) -> Self {
        Self {
            frames: Some(FrameReader::new(output)),
            hello,
            greeted: false,
            agreed: AgreedCapabilities::none(),
        }
    }

    /// The next message. After the output has ended or failed, which is told once, nothing comes.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<HostMessage, OutputEnd>> {
        let Some(frames) = &mut self.frames else {
            return Poll::Pending;
        };
        // Reading is cancel safe: what has come of a frame stays in the reader.
        let Poll::Ready(payload) = pin!(frames.next_payload()).poll(context) else {
            return Poll::Pending;
        };
        let message = payload
            .map_err(end)
            .and_then(|payload| payload.ok_or(OutputEnd::Clean))
            .and_then(|payload| decode(payload, &self.agreed).map_err(|error| end(error.into())))
            .and_then(|message| self.message(message).map_err(OutputEnd::Failed));
        if message.is_err() {
            self.frames = None;
        }
        Poll::Ready(message)
    }

    /// Makes the next wait for a message begin awake; see [`HostOutput::stay_awake`].
    pub(super) fn stay_awake(&mut self, how_long: Duration) {
        if let Some(frames) = &mut self.frames {
            frames.input_mut().stay_awake(how_long);
        }
    }

    /// Takes what still comes and drops it, to the end of the output or to a frame that is none.
    pub(super) async fn drain(self) {
        if let Some(mut frames) = self.frames {
            while let Ok(Some(_)) = frames.next_payload().await {}
        }
    }

    fn message(&mut self, message: WireMessage) -> Result<HostMessage, ConnectionFailure> {
        let violation = |text: String| ConnectionFailure::Violation(text);
        match message {
            WireMessage::Ready {
                selected_version,
                capabilities,
            } => {
                if self.greeted {
                    return Err(violation("a second greeting".to_owned()));
                }
                let agreement = accept_ready(&self.hello, selected_version, capabilities)
                    .map_err(|error| violation(error.to_string()))?;
                self.greeted = true;
                self.agreed = agreement.capabilities.clone();
                Ok(HostMessage::Ready(agreement.capabilities))
            }
            WireMessage::Rejected { reason } => Ok(HostMessage::Rejected {
                reason: reason.to_string(),
            }),
            other => messages::host_message(other)
                .ok_or_else(|| violation("a greeting out of turn".to_owned())),
        }
    }
}

fn end(error: ReadError) -> OutputEnd {
    match error {
        ReadError::Truncated { .. } => OutputEnd::Truncated(error.to_string()),
        ReadError::Io(error) if error.kind() == LOST => {
            OutputEnd::Failed(ConnectionFailure::ConnectionLost(error.to_string()))
        }
        ReadError::Io(error) => OutputEnd::Failed(ConnectionFailure::Read(error.to_string())),
        error => OutputEnd::Failed(ConnectionFailure::Undecodable(error.to_string())),
    }
}
