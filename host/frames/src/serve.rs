// SPDX-License-Identifier: Apache-2.0
//! One connection from its first byte to its last: the tasks, their supervision, and the end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use code_mode_api::waist;
use code_mode_protocol::{
    DecodeError, Extension, FrameReader, HelloError, HostMessage, HostOffer, ReadError,
    RejectReason, SupportedVersions, decode_hello, negotiate,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, timeout_at};

use crate::config::PROMISED_DELEGATE_CALLS;
use crate::connection::Connection;
use crate::direct::DirectOutput;
use crate::dispatch::{Dispatcher, close_session};
use crate::sessions::Sessions;
use crate::writer::write_frames;
use crate::{Config, Drain, ServeError};

/// Why the reader has nothing more to do.
enum ReadEnd {
    /// The client has closed its side at a frame boundary.
    EndOfInput,
    /// The hello was rejected for what it asks; the rejection is queued.
    Rejected,
    /// The host was told to end, and cells have had their time.
    Drained,
}

/// A connection that can be failed from outside, for instance when what runs cells has failed.
#[derive(Clone)]
pub struct Alarm(Arc<Connection>);

impl Alarm {
    /// Fails the connection: whoever waits for an answer is told, and it ends. Never waits.
    pub fn raise(&self, error: ServeError) {
        self.0.fail(error);
    }
}

/// Serves one connection until the client closes it or it fails.
///
/// `start` gives what runs cells. It is called once the client has been greeted, so that whatever it
/// takes does not hold up the answer to the hello; what it is given fails this connection. With
/// `direct`, a second descriptor of `writer`, each frame is written by the thread that has it while the
/// client reads as fast as the host writes.
///
/// Must be called within a Tokio runtime. At the end no cell of the connection runs any more, or
/// [`ServeError::CellsRunOn`] says so.
///
/// # Errors
/// Whatever ended the connection, except a clean end of input and a rejected hello.
pub async fn serve<R, W, S>(
    reader: R,
    writer: W,
    direct: Option<DirectOutput>,
    config: Config,
    start: S,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
    S: FnOnce(Alarm) -> Result<Arc<dyn waist::Sessions>, ServeError> + Send + 'static,
{
    let connection = Arc::new(Connection::new(&config, direct));
    let close_deadline = config.limits.close_deadline;
    let drain = config.drain.clone();
    let sessions = Arc::new(Sessions::new(config.limits.remembered_sessions));

    let write_task = tokio::spawn({
        let connection = Arc::clone(&connection);
        let stall_deadline = config.limits.stall_deadline;
        async move { write_frames(writer, &connection.outgoing, stall_deadline).await }
    });
    let read_task = tokio::spawn({
        let (connection, sessions) = (Arc::clone(&connection), Arc::clone(&sessions));
        async move {
            let mut reader = FrameReader::new(reader);
            match shake_hands(&mut reader, &connection, config.version).await? {
                Some(end) => Ok(end),
                None => {
                    let dispatcher = Dispatcher {
                        engine: start(Alarm(Arc::clone(&connection)))?,
                        connection,
                        sessions,
                        last_session: AtomicU64::new(1),
                        default_yield_time: config.default_yield_time,
                        kept_output_bytes: config.limits.kept_output_bytes,
                    };
                    read_messages(&mut reader, &dispatcher).await
                }
            }
        }
    });
    let carry_task = tokio::spawn({
        let connection = Arc::clone(&connection);
        async move { connection.word.carry_on(&connection.outgoing).await }
    });

    Supervision {
        connection,
        sessions,
        write_task,
        read_task,
        carry_task,
    }
    .run(close_deadline, drain.as_ref())
    .await
}

/// Answers the hello. `Some` when the connection is over with that.
async fn shake_hands<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    connection: &Connection,
    version: &str,
) -> Result<Option<ReadEnd>, ServeError> {
    let Some(payload) = reader.next_payload().await? else {
        return Ok(Some(ReadEnd::EndOfInput));
    };
    let reject = |reason: RejectReason| connection.send(&HostMessage::Rejected { reason }, None);
    let hello = match decode_hello(payload) {
        Ok(hello) => hello,
        Err(HelloError::Invalid(reason)) => {
            let message = reason.to_string();
            reject(reason);
            return Err(ServeError::Violation(message));
        }
        Err(error @ HelloError::NotHello) => {
            // The contract has a reason for this, so the client is told before the close.
            reject(RejectReason::InvalidHello {
                message: error.to_string(),
            });
            return Err(ServeError::Violation(error.to_string()));
        }
        Err(error) => return Err(ServeError::Violation(error.to_string())),
    };
    let offer = HostOffer {
        versions: SupportedVersions::v1(),
        capabilities: Extension::capabilities(&offered(connection)),
    };
    match negotiate(&hello, &offer) {
        Ok(agreement) => {
            connection.send(&agreement.to_ready(), None);
            tracing::info!(
                version,
                client = ?hello.supported_versions().as_slice(),
                "the handshake is done"
            );
            connection.agree(agreement.capabilities);
            Ok(None)
        }
        Err(reason) => {
            tracing::warn!(%reason, "the client's hello is rejected");
            reject(reason);
            Ok(Some(ReadEnd::Rejected))
        }
    }
}

/// What this host has: everything, but it promises no more open delegate calls than its operator
/// allows.
fn offered(connection: &Connection) -> Vec<Extension> {
    let holds_promise = connection.calls.max_open() >= PROMISED_DELEGATE_CALLS;
    Extension::ALL
        .into_iter()
        .filter(|extension| *extension != Extension::DelegateCapacity || holds_promise)
        .collect()
}

async fn read_messages<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    dispatcher: &Dispatcher,
) -> Result<ReadEnd, ServeError> {
    let connection = &dispatcher.connection;
    let agreed = connection.agreed();
    loop {
        match reader.next_message(&agreed).await {
            Ok(Some(message)) => dispatcher.dispatch(message)?,
            Ok(None) => return Ok(ReadEnd::EndOfInput),
            Err(ReadError::Malformed(DecodeError::OutOfRange { id, message })) => {
                dispatcher.out_of_range(id, message)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for the first thing that ends the connection, then brings everything to its end.
struct Supervision {
    connection: Arc<Connection>,
    sessions: Arc<Sessions>,
    write_task: JoinHandle<Result<(), ServeError>>,
    read_task: JoinHandle<Result<ReadEnd, ServeError>>,
    /// Ends by itself once there is nothing to carry any more.
    carry_task: JoinHandle<()>,
}

impl Supervision {
    async fn run(
        mut self,
        close_deadline: Duration,
        drain: Option<&Drain>,
    ) -> Result<(), ServeError> {
        let connection = Arc::clone(&self.connection);
        let outcome = tokio::select! {
            biased;
            error = connection.failure() => Err(error),
            written = &mut self.write_task => Err(match ended("writer", written) {
                Ok(()) => ServeError::Task { task: "writer", reason: "nothing to write".into() },
                Err(error) => error,
            }),
            read = &mut self.read_task => ended("reader", read),
            () = connection.open_cells.drained(drain) => Ok(ReadEnd::Drained),
            carried = &mut self.carry_task => Err(ServeError::Task {
                task: "courier",
                reason: match carried.map_err(JoinError::try_into_panic) {
                    Err(Ok(panic)) => panic_message(&*panic),
                    Ok(()) | Err(Err(_)) => "nothing to carry".into(),
                },
            }),
        };
        self.read_task.abort();
        let deadline = Instant::now() + close_deadline;
        let closed = match &outcome {
            Ok(end) => self.close(end, deadline).await,
            Err(error) => {
                // A failure that was found here is told like one that was reported.
                self.connection.announce(error);
                self.abandon(error, deadline).await;
                Ok(())
            }
        };
        self.write_task.abort();
        self.connection.word.close();
        // Whatever was not answered knows its session, which knows the connection.
        drop(self.connection.requests.finish_all());
        // A cell that runs on keeps the queue, but not the output.
        self.connection.outgoing.close();
        outcome.and(closed)
    }

    /// A clean end: sessions are shut down, what their cells still say is written.
    async fn close(&mut self, end: &ReadEnd, deadline: Instant) -> Result<(), ServeError> {
        let close_deadline = deadline.saturating_duration_since(Instant::now());
        self.connection.outgoing.stop_waiting();
        let cells_ended = self.shut_sessions_down();
        let all_ended = timeout_at(deadline, cells_ended).await.is_ok();
        if let Some(error) = self.connection.take_failure() {
            return Err(error);
        }
        if !all_ended {
            let error = ServeError::CellsRunOn {
                deadline: close_deadline,
            };
            self.connection.announce(&error);
            return Err(error);
        }
        self.connection.outgoing.close();
        match timeout_at(deadline, &mut self.write_task).await {
            Ok(written) => match (end, ended("writer", written)) {
                // A client that has closed its side need not read what is left.
                (ReadEnd::EndOfInput | ReadEnd::Drained, Err(error @ ServeError::Write(_))) => {
                    tracing::debug!(%error, "the client has gone");
                    Ok(())
                }
                (_, written) => written,
            },
            Err(_) => {
                tracing::debug!("the client does not read what is left");
                Ok(())
            }
        }
    }

    /// The end of a connection that has failed: whoever waits is told, if that is still possible.
    async fn abandon(&mut self, error: &ServeError, deadline: Instant) {
        if !error.is_by_client() {
            self.connection.answer_all(error);
        }
        self.connection.outgoing.close();
        let cells_ended = self.shut_sessions_down();
        if !self.write_task.is_finished()
            && timeout_at(deadline, &mut self.write_task).await.is_err()
        {
            tracing::debug!("the client does not read what is left");
        }
        if timeout_at(deadline, cells_ended).await.is_err() {
            tracing::error!("cells run on although they were told to stop");
        }
    }

    /// Tells every session to end; resolves when all have.
    fn shut_sessions_down(&self) -> impl Future<Output = ()> + use<> {
        let (ended, mut all_ended) = mpsc::channel::<()>(1);
        for (session_id, session) in self.sessions.all() {
            let ended = ended.clone();
            close_session(&self.sessions, &session_id, &session, move |_| drop(ended));
        }
        drop(ended);
        async move {
            // Nothing is ever sent: the channel ends when the last session has dropped its sender.
            while all_ended.recv().await.is_some() {}
        }
    }
}

/// What a task gave; its panic or cancellation is a failure of the connection.
fn ended<T>(
    task: &'static str,
    joined: Result<Result<T, ServeError>, JoinError>,
) -> Result<T, ServeError> {
    joined.unwrap_or_else(|error| {
        let reason = match error.try_into_panic() {
            Ok(panic) => panic_message(&*panic),
            Err(error) => error.to_string(),
        };
        Err(ServeError::Task { task, reason })
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.as_deref().unwrap_or("no message"))
}
