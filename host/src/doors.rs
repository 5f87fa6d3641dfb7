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
    TcpOptions, Tls, bind_unix, serve_metrics, serve_tcp, serve_unix,
};
use code_mode_host_grpc::{ConnectionOptions, Door, Owner, Served, Tokens, serve_connection};
use code_mode_runtime::{Runtime, RuntimeFailure, Supervisor};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::listening::{DEFAULT_DRAIN, Listening, Spoken};
use crate::process::{
    EXIT_FAILURE, EXIT_SUCCESS, EXIT_USAGE, complain, exit_in_time, exit_now, keep_freed_memory,
};
use crate::stdio::{Ends, Stdio};
use crate::{FailureHook, HostConfig, ServeError};

/// Threads for the connections of sockets: encryption and the encoding of large messages for one
/// client are not to hold up all others. On standard input and output alone one thread is faster.
const SOCKET_THREADS: usize = 2;

/// Serves until the client of standard input and output is gone, SIGTERM comes, or something fails.
pub(crate) fn serve(config: HostConfig, listening: Listening) -> ExitCode {
    keep_freed_memory();
    // Descriptor 1 is kept apart before anything could write to it.
    let stdio = match listening.stdio.map(|_| Stdio::take()).transpose() {
        Ok(stdio) => stdio,
        Err(error) => return unusable(&error),
    };
    let only_stdio = listening.tcp.is_empty() && listening.unix.is_empty();
    let tokio = if only_stdio {
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
    let served = tokio.block_on(run(config, listening, stdio));
    match served {
        Ok(ended) => {
            let flushed = match ended.output_thread.map(ThreadHandle::join) {
                None | Some(Ok(Ok(_))) => true,
                Some(Ok(Err(_)) | Err(_)) => false,
            };
            let good = ended.good && flushed;
            exit_now(if good { EXIT_SUCCESS } else { EXIT_FAILURE })
        }
        Err(message) => unusable(&message),
    }
}

fn unusable(reason: &dyn std::fmt::Display) -> ExitCode {
    complain(&reason.to_string());
    ExitCode::from(EXIT_USAGE)
}

/// How it ended.
struct Ended {
    good: bool,
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
    stdio: Option<Stdio>,
) -> Result<Ended, String> {
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| format!("Failed to hear SIGTERM: {error}"))?;
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
    let runtime: Arc<dyn Sessions> = Arc::new(runtime);
    let served = Served::new(Door::new(Arc::clone(&runtime))).await;

    let mut listeners = JoinSet::new();
    listen(&listening, &served, &drain, &end, &mut listeners).await?;
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
    let stdio_ended = async {
        match stdio {
            Some(stdio) => stdio.await.unwrap_or(false),
            None => std::future::pending().await,
        }
    };

    let good = tokio::select! {
        good = stdio_ended => good,
        _ = terminated.recv() => {
            tracing::info!("SIGTERM: the host drains");
            true
        }
        () = failing.failed.cancelled() => false,
    };
    served.drain().await;
    if good {
        let time = listening.drain.unwrap_or(DEFAULT_DRAIN);
        // Cells of clients that are gone are about to end; those that are not get their time. Their
        // connections go on until then, since the answers to their calls are requests.
        if timeout(time, served.door().quiet()).await.is_err() {
            tracing::warn!("cells still run; they are ended");
        }
    }
    drain.cancel();
    let closing = async {
        served.door().close_all().await;
        while listeners.join_next().await.is_some() {}
    };
    if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
        tracing::warn!("connections are still open; they are dropped");
    }
    end.cancel();
    Ok(Ended {
        good: good && !failing.failed.is_cancelled(),
        output_thread,
    })
}

/// What a connection of V1 beside sockets needs.
struct FramesDoor {
    config: HostConfig,
    runtime: Arc<dyn Sessions>,
    failing: Arc<Failing>,
}

/// Serves standard input and output until its client is gone; whether all was well.
async fn serve_stdio(
    spoken: Spoken,
    ends: Ends,
    served: Served,
    frames: FramesDoor,
    drain: CancellationSignal,
) -> bool {
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
            served.await.is_ok()
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
                Ok(()) => true,
                Err(error) => {
                    complain(&format!("the connection failed: {error}"));
                    false
                }
            }
        }
    }
}

/// Binds all sockets, says where they are, and serves them.
async fn listen(
    listening: &Listening,
    served: &Served,
    drain: &CancellationSignal,
    end: &CancellationSignal,
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
    for address in &listening.tcp {
        let listener = bind(*address).await?;
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        announce(listening, &format!("{scheme}://{}", address_of(&listener)?))?;
        let task = serve_tcp(served.clone(), listener, options.clone(), drain.clone());
        listeners.spawn(task);
    }
    for path in &listening.unix {
        let users = listening.allowed_users.clone();
        let listener = bind_unix(path, !users.is_empty()).map_err(|error| error.to_string())?;
        announce(listening, &format!("grpc+unix://{}", path.display()))?;
        let task = serve_unix(served.clone(), listener, users, drain.clone());
        listeners.spawn(task);
    }
    if let Some(address) = listening.metrics {
        let listener = bind(address).await?;
        let where_it_is = format!("metrics at http://{}/metrics", address_of(&listener)?);
        complain(&where_it_is);
        let metrics = Arc::clone(served.door().metrics());
        tokio::spawn(serve_metrics(
            listener,
            metrics,
            runtime_metrics,
            end.clone(),
        ));
    }
    Ok(())
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("Failed to listen on {address}: {error}"))
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

fn runtime_metrics() -> String {
    format!(
        "# HELP code_mode_v8_threads V8 threads that were made and have not ended.\n\
         # TYPE code_mode_v8_threads gauge\n\
         code_mode_v8_threads {}\n",
        Runtime::v8_threads()
    )
}
