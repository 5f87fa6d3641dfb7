// SPDX-License-Identifier: Apache-2.0
//! How sessions reach the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use code_mode_protocol::HostMessage;
use tokio::sync::mpsc;

/// What there is to say to the client.
pub(crate) enum Word {
    Message(HostMessage),
    /// The connection can go on no longer, and why.
    Lost(String),
}

/// What sessions tell the bridge.
#[derive(Clone)]
pub(crate) struct Tell {
    client: mpsc::Sender<Word>,
    lost: mpsc::Sender<String>,
    /// Sessions that may have something to say.
    open: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Tell {
    /// Speaks into these; one word of a loss is enough.
    pub(crate) fn new(client: mpsc::Sender<Word>, lost: mpsc::Sender<String>) -> Self {
        Self {
            client,
            lost,
            open: Arc::default(),
            over: Arc::default(),
        }
    }

    /// Counts a session until what this gives is dropped.
    pub(crate) fn begin(&self) -> Speaking {
        self.open.fetch_add(1, Ordering::AcqRel);
        Speaking(Arc::clone(&self.open))
    }

    /// Whether no session has anything to say any more.
    pub(crate) fn all_have_spoken(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Whether somebody has said that the connection can go on no longer; the client learns it soon.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Says something to the client, when it has room.
    pub(crate) async fn client(&self, message: HostMessage) {
        // Once nobody writes any more, the connection is over, and so is whoever speaks.
        let _ = self.client.send(Word::Message(message)).await;
    }

    /// Says that the connection can go on no longer, after what was said before, here and by other sessions,
    /// which the host ends at about the same time.
    pub(crate) async fn lost_in_turn(&self, speaking: Speaking, why: &str) {
        self.over.store(true, Ordering::Release);
        drop(speaking);
        // As above.
        let _ = self.client.send(Word::Lost(why.to_owned())).await;
    }

    /// Says that the connection can go on no longer, and why. Only the first word counts.
    pub(crate) fn lost(&self, why: impl Into<String>) {
        self.over.store(true, Ordering::Release);
        let _ = self.lost.try_send(why.into());
    }
}

/// A session that may have something to say.
pub(crate) struct Speaking(Arc<AtomicUsize>);

impl Drop for Speaking {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
