//! The task that writes to the host.

use std::time::Duration;

use code_mode_protocol::{EncodedFrame, FrameWriter};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::budget::Share;
use super::events::{Event, Events, Frame};
use crate::error::ConnectionFailure;

/// Frames that are written together, and what they hold until then.
pub(super) struct Batch {
    frames: Vec<EncodedFrame>,
    _shares: Vec<Share>,
}

impl Batch {
    pub(super) fn new(frames: Vec<Frame>) -> Self {
        let (frames, shares): (_, Vec<_>) = frames
            .into_iter()
            .map(|frame| (frame.bytes, frame.share))
            .unzip();
        Self {
            frames,
            _shares: shares.into_iter().flatten().collect(),
        }
    }
}

/// Writes each batch whole and says when it is done, so that frames which become ready meanwhile
/// form the next batch. Closes the host's input when `batches` ends.
///
/// A host that does not read a batch within `deadline` has failed: waiting longer would only let
/// callers hang.
pub(super) async fn run(
    input: Box<dyn AsyncWrite + Send + Unpin>,
    mut batches: mpsc::Receiver<Batch>,
    deadline: Duration,
    events: Events,
) {
    let mut writer = FrameWriter::new(input);
    while let Some(batch) = batches.recv().await {
        let event = match timeout(deadline, writer.write_batch(&batch.frames)).await {
            Ok(Ok(())) => Event::Written,
            Ok(Err(error)) => Event::WriteFailed(ConnectionFailure::Write(error.to_string())),
            Err(_) => Event::WriteFailed(ConnectionFailure::WriteDeadline(deadline)),
        };
        let failed = matches!(event, Event::WriteFailed(_));
        // A driver that is gone needs no news.
        if events.send(event).is_err() || failed {
            return;
        }
    }
}
