// SPDX-License-Identifier: Apache-2.0
//! A host as a child that speaks gRPC on its standard input and output, as the Codex CLI starts it.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use code_mode_grpc::MAX_MESSAGE_BYTES;
use code_mode_grpc::tonic::codegen::{Service, http::Uri};
use code_mode_grpc::tonic::transport::{Channel, Endpoint};
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use hyper_util::rt::TokioIo;
use tokio::io::Join;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::checker::terminate;

type Pipes = Join<ChildStdout, ChildStdin>;

/// A running host and a client of it. Its drop kills the host.
pub struct GrpcHost {
    pub(super) channel: Channel,
    child: Child,
}

/// Gives the one connection that there is.
#[derive(Clone)]
struct Once(Arc<Mutex<Option<Pipes>>>);

impl Service<Uri> for Once {
    type Response = TokioIo<Pipes>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let pipes = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the host is gone");
        std::future::ready(pipes.map(TokioIo::new).ok_or_else(gone))
    }
}

impl GrpcHost {
    /// Starts a host with `--listen grpc+stdio://` and further arguments.
    ///
    /// # Errors
    /// When it cannot be started or does not speak HTTP/2.
    pub async fn start(program: &str, arguments: &[String]) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(["--listen", "grpc+stdio://"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("Failed to start {program}: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the host has no pipes".to_owned());
        };
        let once = Once(Arc::new(Mutex::new(Some(tokio::io::join(output, input)))));
        let channel = Endpoint::from_static("http://code-mode-host")
            .connect_with_connector(once)
            .await
            .map_err(|error| format!("Failed to connect to {program}: {error}"))?;
        Ok(Self { channel, child })
    }

    /// Tells the host to end, as SIGTERM does.
    pub(super) fn terminate(&self) -> Result<(), String> {
        terminate(self.child.id())
    }

    /// Waits until the host has ended by itself.
    pub(super) async fn ended(&mut self) -> Result<ExitStatus, String> {
        let ended = self.child.wait().await;
        ended.map_err(|error| format!("Failed to wait for the host: {error}"))
    }

    pub(super) fn client(&self) -> CodeModeHostClient<Channel> {
        CodeModeHostClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}
