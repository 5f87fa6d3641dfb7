// SPDX-License-Identifier: Apache-2.0
//! The program with gRPC: any number of listeners over one runtime, and their end.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle as ThreadHandle;

use code_mode_api::CancellationSignal;
use code_mode_api::waist::Sessions;
use code_mode_frames::Alarm;
use code_mode_host_grpc::limits::CLOSE_TIMEOUT;
use code_mode_host_grpc::listen::{
    TcpOptions, Tls, serve_inherited_unix, serve_metrics, serve_tcp, serve_unix,
};
use code_mode_host_grpc::{ConnectionOptions, Door, Owner, Served, Tokens, serve_connection};
use code_mode_runtime::{Runtime, RuntimeFailure, Supervisor};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::exit::{
    EXIT_FAILURE, EXIT_INTERNAL, EXIT_SUCCESS, EXIT_USAGE, complain, exit_in_time, exit_now,
    exit_status,
};
use crate::listening::{Listening, Spoken};
use crate::memory::keep_freed_memory;
use crate::signals::hear_signals;
use crate::sockets::Sockets;
use crate::stdio::{Ends, Stdio};
use crate::{FailureHook, HostConfig, ServeError, metrics};

/// Threads for the connections of sockets: encryption and the encoding of large messages for one
/// client are not to hold up all others. On standard input and output alone one thread is faster.
const SOCKET_THREADS: usize = 2;

/// Serves until the client of standard input and output is gone, SIGTERM comes, or something fails.
pub(crate) fn serve(config: HostConfig, listening: Listening, sockets: Sockets) -> ExitCode {
    keep_freed_memory();
    // Descriptor 1 is kept apart before anything could write to it.
    let stdio = match listening.stdio.map(|_| Stdio::take()).transpose() {
        Ok(stdio) => stdio,
        Err(error) => return unusable(&error),
    };
    let tokio = if !listening.has_sockets() {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(SOCKET_THREADS)
            .enable_all()
            .build()
    };
    let tokio = match tokio {
        Ok(tokio) => tokio,
        Err(error) => return unusable(&format!("Failed to start Tokio: {error}")),
    };
    let served = tokio.block_on(run(config, listening, sockets, stdio));
    match served {
        Ok(ended) => {
            let flushed = match ended.output_thread.map(ThreadHandle::join) {
                None | Some(Ok(Ok(_))) => true,
                Some(Ok(Err(_)) | Err(_)) => false,
            };
            exit_now(match ended.status {
                EXIT_SUCCESS if !flushed => EXIT_FAILURE,
                status => status,
            })
        }
        Err(message) => unusable(&message),
    }
}

fn unusable(reason: &dyn std::fmt::Display) -> ExitCode {
    complain(&reason.to_string());
    crate::logging::flush();
    ExitCode::from(EXIT_USAGE)
}

/// How it ended.
struct Ended {
    status: u8,
    output_thread: Option<ThreadHandle<io::Result<u64>>>,
}

/// Tells of a failure of the runtime, which ends the process.
struct Failing {
    hook: FailureHook,
    /// The connection of V1, once it runs cells: it tells its client, and of the failure.
    frames: OnceLock<Alarm>,
    failed: CancellationSignal,
}

impl Supervisor for Failing {
    fn failed(&self, failure: RuntimeFailure) {
        let error = ServeError::Runtime(failure.into());
        match self.frames.get() {
            Some(alarm) => alarm.raise(error),
            None if !self.failed.is_cancelled() => (self.hook)(&error),
            None => {}
        }
        self.failed.cancel();
    }
}

async fn run(
    config: HostConfig,
    listening: Listening,
    mut sockets: Sockets,
    stdio: Option<Stdio>,
) -> Result<Ended, String> {
    hear_signals(config.drain.as_ref())?;
    let plan = config
        .drain
        .clone()
        .unwrap_or_else(|| listening.new_drain());
    let hook = exit_in_time();
    let drain = CancellationSignal::new();
    let end = CancellationSignal::new();
    let failing = Arc::new(Failing {
        hook: Arc::clone(&hook),
        frames: OnceLock::new(),
        failed: CancellationSignal::new(),
    });
    let handle = tokio::runtime::Handle::current();
    let supervisor = Arc::clone(&failing) as Arc<dyn Supervisor>;
    let runtime = Runtime::new(config.runtime.clone(), handle, Some(supervisor))
        .map_err(|error| error.to_string())?;
    let figures = runtime.clone();
    let runtime: Arc<dyn Sessions> = Arc::new(runtime);
    let kept_output_bytes = config.limits.kept_output_bytes;
    let served = Served::new(Door::keeping(kept_output_bytes, Arc::clone(&runtime))).await;

    let mut listeners = JoinSet::new();
    listen(&listening, &mut sockets, &served, &drain, &mut listeners)?;
    publish_metrics(&mut sockets, &served, figures, end.clone())?;
    let (stdio, output_thread) = match (stdio, listening.stdio) {
        (Some(stdio), Some(spoken)) => {
            let mut ends = stdio.connect().map_err(|error| error.to_string())?;
            let output_thread = ends.output_thread.take();
            let config = HostConfig {
                on_failure: Some(hook),
                ..config
            };
            let frames = FramesDoor {
                config,
                runtime,
                failing: Arc::clone(&failing),
            };
            let serve = serve_stdio(spoken, ends, served.clone(), frames, drain.clone());
            (Some(tokio::spawn(serve)), output_thread)
        }
        _ => (None, None),
    };
    let mut stdio = stdio;
    let status = tokio::select! {
        status = ended(&mut stdio) => status,
        () = plan.begun() => EXIT_SUCCESS,
        () = failing.failed.cancelled() => EXIT_INTERNAL,
    };
    served.drain().await;
    if status == EXIT_SUCCESS {
        // Cells of clients that are gone are about to end; those that are not get their time. Their
        // connections go on until then, since the answers to their calls are requests.
        if !plan.wait_for(served.door().quiet()).await {
            tracing::warn!("cells still run; they are ended");
        }
    }
    // The connections go on until their sessions are closed, so that what clients still ask is answered.
    if timeout(CLOSE_TIMEOUT, served.door().close_all())
        .await
        .is_err()
    {
        tracing::warn!("sessions are still open; they are dropped");
    }
    drain.cancel();
    let closing = async {
        while listeners.join_next().await.is_some() {}
        if plan.is_begun() && stdio.is_some() {
            ended(&mut stdio).await;
        }
    };
    if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::warn!("connections are still open; they are dropped");
    }
    end.cancel();
    Ok(Ended {
        status: match failing.failed.is_cancelled() {
            true => EXIT_INTERNAL,
            false => status,
        },
        output_thread,
    })
}

/// What a connection of V1 beside sockets needs.
struct FramesDoor {
    config: HostConfig,
    runtime: Arc<dyn Sessions>,
    failing: Arc<Failing>,
}

/// Resolves when the connection on standard input and output has ended, with the exit status that it
/// gives; never where there is none.
async fn ended(stdio: &mut Option<JoinHandle<u8>>) -> u8 {
    let Some(task) = stdio else {
        return std::future::pending().await;
    };
    let status = task.await.unwrap_or(EXIT_INTERNAL);
    *stdio = None;
    status
}

/// Serves standard input and output until its client is gone: the exit status that this gives.
async fn serve_stdio(
    spoken: Spoken,
    ends: Ends,
    served: Served,
    frames: FramesDoor,
    drain: CancellationSignal,
) -> u8 {
    match spoken {
        // The reason of a failure is told when it comes up.
        Spoken::Frames => {
            let FramesDoor {
                config,
                runtime,
                failing,
            } = frames;
            let start = move |alarm| {
                // There is one connection over standard input and output.
                let _ = failing.frames.set(alarm);
                Ok(runtime)
            };
            let config = config.of_connection();
            let direct = Some(ends.direct);
            let served = code_mode_frames::serve(ends.source, ends.sink, direct, config, start);
            let served = served.await;
            served.map_or_else(|error| exit_status(&error), |()| EXIT_SUCCESS)
        }
        Spoken::Grpc => {
            let options = ConnectionOptions {
                owner: Owner::of_new_connection(),
                tokens: None,
                keepalive: false,
                drain,
            };
            let io = tokio::io::join(ends.source, ends.sink);
            match serve_connection(&served, io, options).await {
                Ok(()) => EXIT_SUCCESS,
                Err(error) => {
                    complain(&format!("the connection failed: {error}"));
                    EXIT_FAILURE
                }
            }
        }
    }
}

/// Says where the sockets are, and serves them until the drain begins.
fn listen(
    listening: &Listening,
    sockets: &mut Sockets,
    served: &Served,
    drain: &CancellationSignal,
    listeners: &mut JoinSet<()>,
) -> Result<(), String> {
    let tls = match &listening.tls {
        None => None,
        Some((certificate, key)) => {
            let tls = Tls::read(certificate, key).map_err(|error| error.to_string())?;
            Some(Arc::new(tls))
        }
    };
    let tokens = match &listening.tokens {
        None => None,
        Some(path) => Some(Arc::new(
            Tokens::read(path).map_err(|error| error.to_string())?,
        )),
    };
    let options = TcpOptions { tls, tokens };
    for listener in sockets.take_tcp()? {
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        announce(listening, &format!("{scheme}://{}", address_of(&listener)?))?;
        let task = serve_tcp(served.clone(), listener, options.clone(), drain.clone());
        listeners.spawn(task);
    }
    for (path, listener) in sockets.take_unix()? {
        let users = listening.allowed_users.clone();
        announce(listening, &format!("grpc+unix://{}", path.display()))?;
        let task = serve_unix(served.clone(), listener, users, drain.clone());
        listeners.spawn(task);
    }
    for listener in sockets.take_inherited()? {
        let users = listening.allowed_users.clone();
        announce(listening, &format!("grpc+unix://{}", path_of(&listener)))?;
        let task = serve_inherited_unix(served.clone(), listener, users, drain.clone());
        listeners.spawn(task);
    }
    Ok(())
}

/// Serves the figures of the door and of the runtime, if they are wanted.
fn publish_metrics(
    sockets: &mut Sockets,
    served: &Served,
    runtime: Runtime,
    end: CancellationSignal,
) -> Result<(), String> {
    let Some(listener) = sockets.take_metrics()? else {
        return Ok(());
    };
    let place = address_of(&listener)?;
    complain(&format!("metrics at http://{place}/metrics"));
    let door = Arc::clone(served.door().metrics());
    let more = Arc::new(move || metrics::render(&runtime));
    tokio::spawn(serve_metrics(listener, door, more, end));
    Ok(())
}

/// Where a Unix socket is that was handed over; one in the abstract namespace has no path.
fn path_of(listener: &UnixListener) -> String {
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    path.map_or_else(|| "(no path)".to_owned(), |path| path.display().to_string())
}

fn address_of(listener: &TcpListener) -> Result<std::net::SocketAddr, String> {
    listener
        .local_addr()
        .map_err(|error| format!("Failed to read the address of a listener: {error}"))
}

/// Says where a listener is: on standard output, unless that is a connection itself.
fn announce(listening: &Listening, place: &str) -> Result<(), String> {
    if listening.stdio.is_some() {
        complain(&format!("listening on {place}"));
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{place}")
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("Failed to say where the host listens: {error}"))
}
