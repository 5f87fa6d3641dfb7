// SPDX-License-Identifier: Apache-2.0
//! Whoever has asked for something and hears meanwhile what a script says: the client, by progress of its
//! request and by log messages.

// The SDK marks MCP's log messages as deprecated; the clients of today show them.
#![expect(
    deprecated,
    reason = "log messages are what clients before the revision of 2026-07 show"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::RoleServer;
use rmcp::model::{
    LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::Peer;
use serde_json::Value;

/// Bytes of one message to the client; a longer one is cut.
const MAX_SAID_BYTES: usize = 64 * 1024;

/// How the client asks its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// It cannot.
    Never,
    /// By a request to it.
    ByRequest,
    /// By the answer to its request, as the revision 2026-07-28 has it.
    ByAnswer,
}

/// See the module.
#[derive(Clone)]
pub struct Observer {
    peer: Peer<RoleServer>,
    token: Option<ProgressToken>,
    said: Arc<AtomicU64>,
    /// Whether log messages are wanted.
    logs: bool,
    asking: Asking,
}

impl Observer {
    /// The client at `peer`, whose request carries `token` if it wants to hear of progress. `logs` says
    /// whether it takes log messages.
    pub fn new(
        peer: Peer<RoleServer>,
        token: Option<ProgressToken>,
        logs: bool,
        asking: Asking,
    ) -> Self {
        Self {
            peer,
            token,
            said: Arc::default(),
            logs,
            asking,
        }
    }

    /// How its user is asked.
    pub fn asking(&self) -> Asking {
        self.asking
    }

    /// The client.
    pub fn peer(&self) -> &Peer<RoleServer> {
        &self.peer
    }

    /// Says something: as progress if the request asked for that, and as a log message. A client that has
    /// gone hears nothing, which harms nobody.
    pub async fn say(&self, text: String) {
        let text = cut(text);
        if self.logs {
            let mut message =
                LoggingMessageNotificationParam::new(LoggingLevel::Info, Value::from(text.clone()));
            message.logger = Some("code_mode".to_owned());
            let _ = self.peer.notify_logging_message(message).await;
        }
        self.progress(text).await;
    }

    /// Says how far something has come, if the request asked for that.
    pub async fn progress(&self, text: String) {
        let Some(token) = self.token.clone() else {
            return;
        };
        let number = self.said.fetch_add(1, Ordering::Relaxed) + 1;
        let mut progress = ProgressNotificationParam::new(token, number as f64);
        progress.message = Some(cut(text));
        let _ = self.peer.notify_progress(progress).await;
    }

    /// The same from where nothing can be awaited.
    pub fn progress_soon(&self, text: String) {
        if self.token.is_none() {
            return;
        }
        let observer = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { observer.progress(text).await });
        }
    }
}

/// The text, not longer than a client is told.
pub fn cut(mut text: String) -> String {
    if text.len() > MAX_SAID_BYTES {
        let mut end = MAX_SAID_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_said_at_once_than_there_is_room_for() {
        assert_eq!(cut("short".to_owned()), "short");
        let long = cut(format!("a{}", "ä".repeat(MAX_SAID_BYTES)));
        assert_eq!(long.len(), MAX_SAID_BYTES - 1);
    }
}
