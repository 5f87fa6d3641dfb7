// SPDX-License-Identifier: Apache-2.0
//! How sessions reach the client.

use code_mode_protocol::HostMessage;
use tokio::sync::mpsc;

/// What sessions tell the bridge.
#[derive(Clone)]
pub(crate) struct Tell {
    client: mpsc::Sender<HostMessage>,
    lost: mpsc::Sender<String>,
}

impl Tell {
    /// Speaks into these; one word of a loss is enough.
    pub(crate) fn new(client: mpsc::Sender<HostMessage>, lost: mpsc::Sender<String>) -> Self {
        Self { client, lost }
    }

    /// Says something to the client, when it has room.
    pub(crate) async fn client(&self, message: HostMessage) {
        // Once nobody writes any more, the connection is over, and so is whoever speaks.
        let _ = self.client.send(message).await;
    }

    /// Says that the connection can go on no longer, and why. Only the first word counts.
    pub(crate) fn lost(&self, why: impl Into<String>) {
        let _ = self.lost.try_send(why.into());
    }
}
