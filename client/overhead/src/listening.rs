// SPDX-License-Identifier: Apache-2.0
//! A host that serves gRPC, started to be measured.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use code_mode_benchsuite::{HostCommand, Transport};
use code_mode_client_grpc::Address;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Take};
use tokio::net::UnixListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// The longest line in which a host says where it listens, in bytes.
const MAX_LINE_BYTES: u64 = 4096;

/// How long a host may take to say it (20 s).
const START_DEADLINE: Duration = Duration::from_secs(20);

/// A host that serves gRPC, and is killed with this value.
pub(crate) struct Listening {
    host: HostCommand,
    /// None before a connection is there that a host can have as its standard input and output.
    child: Option<Child>,
    /// Where that connection comes.
    listener: Option<UnixListener>,
    address: Address,
    /// What else it says must not break the pipe, and goes nowhere.
    _output: Option<BufReader<Take<ChildStdout>>>,
    /// Where its socket is.
    _folder: TempDir,
}

impl Listening {
    /// Starts a host and waits until it says where it listens.
    ///
    /// One that speaks over its standard input and output is started in
    /// [`while_it_starts`](Self::while_it_starts): these are the two directions of the socket that the
    /// client has connected to, so nothing that costs time stands between the two.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(crate) async fn start(host: &HostCommand) -> Result<Self, String> {
        let failed = |cause: io::Error| failed(host, &cause.to_string());
        let folder = tempfile::tempdir().map_err(failed)?;
        let socket = folder.path().join("socket");
        let mut listening = Self {
            host: host.clone(),
            child: None,
            listener: None,
            address: Address::Unix {
                path: socket.clone(),
            },
            _output: None,
            _folder: folder,
        };
        let listen = match host.transport {
            Transport::GrpcStdio => {
                listening.listener = Some(UnixListener::bind(&socket).map_err(failed)?);
                return Ok(listening);
            }
            Transport::Unix => format!("grpc+unix://{}", socket.display()),
            Transport::Frames | Transport::Grpc => "grpc://127.0.0.1:0".to_owned(),
        };
        let mut child = command(host, &listen)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| {
            let cause = io::Error::other("it has no standard output");
            failed(cause)
        })?;
        let mut output = BufReader::new(output.take(MAX_LINE_BYTES));
        let mut line = String::new();
        let reading = timeout(START_DEADLINE, output.read_line(&mut line));
        let silent = |_| io::Error::other("it does not say where it listens");
        reading.await.map_err(silent).flatten().map_err(failed)?;
        let announced = line.trim();
        listening.address = announced.parse().map_err(|error| {
            let program = host.program.display();
            format!("Failed to find where {program} listens: it says {announced:?}: {error}")
        })?;
        listening.child = Some(child);
        listening._output = Some(output);
        Ok(listening)
    }

    /// Waits for a connection to the host, which is started for it unless it runs already.
    ///
    /// # Errors
    /// Why there is no host, for people.
    pub(crate) async fn while_it_starts<T>(
        &mut self,
        connecting: impl Future<Output = T>,
    ) -> Result<T, String> {
        let Some(listener) = self.listener.take() else {
            return Ok(connecting.await);
        };
        let host = &self.host;
        let starting = async {
            let (stream, _) = listener.accept().await?;
            let stream = stream.into_std()?;
            // The host expects to wait when it reads.
            stream.set_nonblocking(false)?;
            let stream = OwnedFd::from(stream);
            command(host, "grpc+stdio://")
                .stdin(stream.try_clone()?)
                .stdout(stream)
                .spawn()
        };
        let mut connecting = std::pin::pin!(connecting);
        tokio::select! {
            started = starting => {
                self.child = Some(started.map_err(|cause| failed(host, &cause.to_string()))?);
            }
            connected = &mut connecting => return Ok(connected),
        }
        Ok(connecting.await)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Its process, while it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Kills it and waits until it has ended.
    pub(crate) async fn end(self) {
        if let Some(mut child) = self.child {
            // One that has ended by itself is as good.
            let _ = child.kill().await;
        }
    }
}

fn failed(host: &HostCommand, cause: &str) -> String {
    format!("Failed to start {}: {cause}", host.program.display())
}

fn command(host: &HostCommand, listen: &str) -> Command {
    let mut command = Command::new(&host.program);
    command
        .args(["--listen", listen])
        .args(&host.arguments)
        .env_clear()
        .kill_on_drop(true);
    let parent = std::process::id();
    // SAFETY: what runs between fork and exec makes only system calls, as its documentation says.
    unsafe {
        // Nobody would end it when this program is killed.
        command.pre_exec(move || code_mode_client::die_with_parent(parent));
    }
    command
}
