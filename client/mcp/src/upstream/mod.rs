// SPDX-License-Identifier: Apache-2.0
//! The MCP servers whose tools scripts may call.
//!
//! They are started when something of them is first needed, all at the same time, and each keeps its own
//! tools only: one that hangs, floods, dies or never starts costs nothing of another.

mod connect;
mod lines;
pub mod list;
mod process;
mod server;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::ServerSpec;

pub use connect::ProgressSink;
pub use lines::{FLOOD_WINDOW, MAX_MESSAGE_BYTES, MAX_UNASKED_MESSAGES};
pub use list::ServerTool;
pub use process::shown;
pub use server::{
    FIRST_PAUSE, MAX_CALLS, MAX_PAUSE, MAX_WAITED_PAUSE, STABLE_AFTER, Server, Snapshot, Status,
};

/// All configured servers.
pub struct Upstreams {
    servers: Vec<Arc<Server>>,
    changed: watch::Sender<u64>,
    shutdown: CancellationToken,
}

impl Upstreams {
    /// Servers as configured, none of them started.
    pub fn new(specs: Vec<ServerSpec>) -> Self {
        let changed = watch::Sender::new(0);
        let shutdown = CancellationToken::new();
        let servers = specs
            .into_iter()
            .map(|spec| Server::new(spec, changed.clone(), shutdown.clone()))
            .collect();
        Self {
            servers,
            changed,
            shutdown,
        }
    }

    /// The servers, in the order of the configuration.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<&Arc<Server>> {
        self.servers
            .iter()
            .find(|server| server.spec().name == name)
    }

    /// Starts every server that nobody has needed yet.
    pub fn begin_all(&self) {
        for server in &self.servers {
            server.begin();
        }
    }

    /// Starts every server and waits until it is known which of them can be had, but not longer than
    /// `patience`.
    pub async fn settled(&self, patience: Duration) {
        self.begin_all();
        let all = async {
            for server in &self.servers {
                server.settled().await;
            }
        };
        // Those that need longer come later, as a change.
        let _ = tokio::time::timeout(patience, all).await;
    }

    /// A number that is raised with every change of what the servers offer.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Ends all servers and waits until their processes have ended.
    pub async fn shutdown(&self) {
        self.shutdown.cancel();
        for server in &self.servers {
            server.ended().await;
        }
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
