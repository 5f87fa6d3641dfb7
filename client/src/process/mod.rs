// SPDX-License-Identifier: Apache-2.0
//! The host as a process: started confined, watched, killed and reaped.
//!
//! # Caveats
//! A host lives in a process group of its own and cannot read the embedder's terminal; a program in
//! front of it that asks for a password must take it from elsewhere. Killing reaches the process
//! and its group, not what runs on the far side of `ssh` or in a container: those see their input
//! end. The child is killed with its parent by the kernel, also on `kill -9` of the parent; that
//! promise ends where the child changes its user or gains capabilities by `exec`.

mod env;
mod fds;
mod output;
mod parent;
mod pipes;
mod reap;
mod rlimits;
mod spawn;
pub(crate) mod stderr;

use std::sync::Arc;

use tokio::io::AsyncWrite;
use tokio::process::{ChildStderr, ChildStdin};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::config::ProviderConfig;
use crate::connector::Streams;
use crate::sent::SentExecutes;
pub(crate) use output::HostOutput;
pub use parent::die_with_parent;
use pipes::HostInput;
pub(crate) use reap::Exit;
use reap::KillOnDrop;
pub use rlimits::{Resource, ResourceLimits};
pub(crate) use spawn::SpawnError;
use stderr::StderrTail;

/// Both directions of a host's pipes, and the process or connection behind them.
pub(crate) struct Link {
    pub(crate) input: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) output: HostOutput,
    pub(crate) process: HostProcess,
    /// Which executes have left, where something stands between that knows.
    pub(crate) sent: Option<SentExecutes>,
}

/// A host process. Dropping it kills the process; a thread of its own reaps it.
pub(crate) struct HostProcess {
    /// The operating system's id of the process; `None` for one that is not a child of this one.
    pub(crate) pid: Option<u32>,
    pub(crate) exit: watch::Receiver<Option<Exit>>,
    pub(crate) stderr: Arc<StderrTail>,
    kill: Kill,
    _stderr_reader: Option<AbortOnDropHandle<()>>,
}

enum Kill {
    Process(KillOnDrop),
    Connection(AbortHandle),
    #[cfg(test)]
    Simulated(Box<dyn Fn() + Send + Sync>),
}

impl HostProcess {
    /// Kills the process; its end is told by `exit`.
    pub(crate) fn kill(&self) {
        match &self.kill {
            Kill::Process(owner) => owner.0.kill(),
            Kill::Connection(work) => work.abort(),
            #[cfg(test)]
            Kill::Simulated(kill) => kill(),
        }
    }

    /// A process that exists only in a test.
    #[cfg(test)]
    pub(crate) fn simulated(
        exit: watch::Receiver<Option<Exit>>,
        kill: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let stderr = Arc::new(StderrTail::default());
        stderr.end();
        Self {
            pid: None,
            exit,
            stderr,
            kill: Kill::Simulated(Box::new(kill)),
            _stderr_reader: None,
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the configured program. Must be called within a tokio runtime.
pub(crate) async fn start(config: &ProviderConfig) -> Result<Link, SpawnError> {
    let started = spawn::spawn(config).await?;
    let take_over = || {
        let input = HostInput::new(ChildStdin::from_std(started.stdin)?);
        let output = HostOutput::of_child(started.stdout)?;
        std::io::Result::Ok((input, output, ChildStderr::from_std(started.stderr)?))
    };
    let (input, output, errors) = take_over().map_err(SpawnError::Pipes)?;
    let stderr = Arc::new(StderrTail::default());
    let tail = Arc::clone(&stderr);
    let reader = tokio::spawn(async move { stderr::drain(errors, &tail).await });
    Ok(Link {
        input: Box::new(input),
        output,
        process: HostProcess {
            pid: Some(started.pid),
            exit: started.exit,
            stderr,
            kill: Kill::Process(started.switch),
            _stderr_reader: Some(AbortOnDropHandle::new(reader)),
        },
        sent: None,
    })
}

/// A host that is reached through these streams; its process, if it has one, is somebody else's. Must
/// be called within a tokio runtime.
pub(crate) fn connected(streams: Streams) -> Link {
    let (sender, exit) = watch::channel(None);
    let work = tokio::spawn(async move {
        streams.work.await;
        // There is no status to tell; that the channel closes says that it is over.
        drop(sender);
    });
    let stderr = Arc::new(StderrTail::default());
    stderr.end();
    Link {
        input: streams.input,
        output: HostOutput::of_stream(streams.output),
        process: HostProcess {
            pid: None,
            exit,
            stderr,
            kill: Kill::Connection(work.abort_handle()),
            _stderr_reader: None,
        },
        sent: streams.sent,
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
