// SPDX-License-Identifier: Apache-2.0
//! What comes from the host: frames, decoded.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use code_mode_protocol::{
    AgreedCapabilities, ClientHello, FrameReader, HostMessage, ReadError, accept_ready, decode,
};

use super::inputs::{Input, OutputEnd};
use crate::connector::LOST;
use crate::error::ConnectionFailure;
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

    /// What the host says next. After the output has ended or failed, which is told once, nothing comes.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Input, OutputEnd>> {
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
            .and_then(|message| self.heard(message).map_err(OutputEnd::Failed));
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

    fn heard(&mut self, message: HostMessage) -> Result<Input, ConnectionFailure> {
        match message {
            HostMessage::Ready {
                selected_version,
                capabilities,
            } if !self.greeted => {
                let agreement = accept_ready(&self.hello, selected_version, capabilities)
                    .map_err(|error| ConnectionFailure::Violation(error.to_string()))?;
                self.greeted = true;
                self.agreed = agreement.capabilities.clone();
                Ok(Input::Greeted(agreement.capabilities))
            }
            message => Ok(Input::Host(message)),
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
