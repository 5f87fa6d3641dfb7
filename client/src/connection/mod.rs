// SPDX-License-Identifier: Apache-2.0
//! One connection to one host: handles for callers, and the tasks behind them.
//!
//! # Tasks
//! A driver, which reads, writes and alone owns the state; a watcher of the process; a task per
//! delegate call. What the host says and what callers and delegates want are [`inputs::Input`]s to
//! one state, and what follows from them is written in the same turn of the driver: a tool call or
//! its answer crosses the client without a change of task except the one to the delegate's own.
//! Callers and delegates encode their frames themselves, and frames that are ready together are
//! written together.
//!
//! # Fail-stop
//! The first failure is the last: every pending call is answered with its cause and with what is
//! known of side effects, delegate calls are cancelled, cells closed, the child killed and reaped.
//! Nothing is repaired in place; whoever needs a host starts a fresh one.

mod awake;
mod budget;
mod cell_ids;
mod delegate_tasks;
mod driver;
pub(crate) mod inputs;
mod reader;
mod state;
mod ticket;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use code_mode_api::{
    CellSummary, DEFAULT_YIELD_TIME, ExecuteRequest, KeptText, RawJson, ReadOutputRequest,
    SessionError, SideEffects,
};
use code_mode_protocol::{AgreedCapabilities, EncodedFrame, EncodedTools, Extension, RequestId};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::ProviderConfig;
use crate::error::CallError;
use crate::messages::{self, Requests};
use crate::process::{Exit, Link};
use awake::AfterAnswer;
use budget::ByteBudget;
pub use delegate_tasks::CANCEL_GRACE;
use delegate_tasks::DelegateTasks;
use driver::Driver;
use inputs::{
    Frame, Handover, Input, Inputs, Observed, OpenSession, Operation, Reply, Request, SessionAsk,
};
use reader::Reader;
use state::ConnectionState;
#[cfg(test)]
pub(crate) use state::MAX_OWN_BYTES;
use ticket::{TakesBack, Ticket};
use writer::Writer;

/// What is known of a host that has greeted.
#[derive(Debug, Clone)]
pub struct HostInfo {
    /// The process id of the program that was started, which may be one that stands in front of
    /// the host.
    pub process_id: Option<u32>,
    /// From the start of the program to its greeting.
    pub startup: Duration,
    /// The capabilities that host and client have in common.
    pub capabilities: Vec<String>,
}

/// A connection to a host that has greeted. Cheap to clone; the host is shut down when the last
/// clone is dropped, or by [`close`](Self::close).
#[derive(Clone)]
pub(crate) struct Connection(Arc<Inner>);

/// A host of which the holder only wants to end it and to see it ended.
#[derive(Clone)]
pub(crate) struct HostHandle {
    inputs: Inputs,
    ended: watch::Receiver<()>,
}

/// A host that has not greeted yet.
pub(crate) struct Greeting {
    handle: HostHandle,
    connection: ConnectionParts,
    greeted: oneshot::Receiver<Result<AgreedCapabilities, Arc<str>>>,
    closer: CloseOnDrop,
}

/// What a connection is made of, except what the host's greeting says.
struct ConnectionParts {
    ids: Arc<AtomicI64>,
    max_calls: usize,
    budget: ByteBudget,
    process_id: Option<u32>,
    begun: Instant,
    failure: Arc<OnceLock<Arc<str>>>,
    exit: watch::Receiver<Option<Exit>>,
}

struct Inner {
    handle: HostHandle,
    ids: Arc<AtomicI64>,
    /// Slots for calls that may take as long as a script does.
    slots: Arc<Semaphore>,
    /// Slots for calls that end something, so that they never wait behind what they would end.
    ending_slots: Arc<Semaphore>,
    budget: ByteBudget,
    agreed: AgreedCapabilities,
    info: HostInfo,
    ready_at: Instant,
    failure: Arc<OnceLock<Arc<str>>>,
    exit: watch::Receiver<Option<Exit>>,
    loss_noted: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handle.close();
    }
}

impl Connection {
    /// Greets the host behind `link`, whose program was started at `begun`.
    ///
    /// # Errors
    /// When the greeting cannot be made, for people.
    pub(crate) fn greet(
        link: Link,
        config: &ProviderConfig,
        begun: Instant,
    ) -> Result<Greeting, Arc<str>> {
        let Link {
            input,
            output,
            process,
            sent,
        } = link;
        let process_id = process.pid;
        let hello = messages::hello().map_err(|error| error.to_string())?;
        let hello_frame =
            messages::hello_frame(hello.clone()).map_err(|error| error.to_string())?;
        let (inputs, receiver) = mpsc::unbounded_channel();
        let (greeted_sender, greeted) = oneshot::channel();
        let (ended_sender, ended) = watch::channel(());
        let ids = Arc::new(AtomicI64::new(1));
        let budget = ByteBudget::new(config.limits.max_outgoing_bytes);
        let failure = Arc::new(OnceLock::new());
        let now = Instant::now();
        let mut state = ConnectionState::new(
            config.limits,
            config.deadlines,
            inputs.clone(),
            Arc::clone(&ids),
            now,
        );
        state.sent = sent;
        state.outbox.push(Frame {
            bytes: hello_frame,
            request: None,
            _share: None,
        });

        let exit = process.exit.clone();
        watch_exit(exit.clone(), inputs.clone());
        let driver = Driver {
            state,
            inputs: receiver,
            delegates: DelegateTasks::new(inputs.clone(), budget.clone()),
            process,
            reader: Some(Reader::new(output, hello)),
            after_answer: AfterAnswer::new(),
            writer: Writer::new(input, config.deadlines.write),
            greeted: Some(greeted_sender),
            failure: Arc::clone(&failure),
            shutdown_deadline: config.deadlines.shutdown,
            _ended: ended_sender,
        };
        tokio::spawn(driver.run());
        let max_calls = config.limits.max_calls.max(1);
        Ok(Greeting {
            closer: CloseOnDrop(Some(inputs.clone())),
            handle: HostHandle { inputs, ended },
            connection: ConnectionParts {
                ids,
                max_calls,
                budget,
                process_id,
                begun,
                failure,
                exit,
            },
            greeted,
        })
    }

    /// What is known of the host.
    /// Whether an exec may say which globals its script has.
    pub(crate) fn can_choose_globals(&self) -> bool {
        let named = Extension::Globals.name();
        self.info().capabilities.iter().any(|name| name == named)
    }

    pub(crate) fn info(&self) -> &HostInfo {
        &self.0.info
    }

    /// Whether both are the same connection.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// When the host greeted.
    pub(crate) fn ready_at(&self) -> Instant {
        self.0.ready_at
    }

    /// Why the connection is over; `None` while it is not.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.0.failure.get().cloned()
    }

    /// Where it is told how the host's process has ended.
    pub(crate) fn exit(&self) -> watch::Receiver<Option<Exit>> {
        self.0.exit.clone()
    }

    /// Takes note that the loss of this host was counted; `true` for the first to do so.
    pub(crate) fn note_loss(&self) -> bool {
        !self.0.loss_noted.swap(true, Ordering::Relaxed)
    }

    /// Ends the host without waiting: its input is closed, and after the shutdown deadline it is
    /// killed. Everything pending is answered at once.
    pub(crate) fn close(&self) {
        self.0.handle.close();
    }

    /// Resolves when the host has ended and was reaped.
    pub(crate) async fn ended(&self) {
        self.0.handle.clone().ended().await;
    }

    /// Opens a session.
    pub(crate) async fn open(&self, session: OpenSession) -> Result<(), CallError> {
        let wire_id = Arc::clone(&session.wire_id);
        let cuts_output = session.cuts_output;
        let encode = |id| self.requests(&wire_id).open(id, cuts_output);
        self.call(&self.0.slots, encode, |reply| Operation::Open {
            session,
            reply,
        })
        .await?
        .await
    }

    /// Starts a cell; `tools` are those of the request, if they were encoded before.
    pub(crate) async fn execute(
        &self,
        session: &Arc<str>,
        request: ExecuteRequest,
        tools: Option<EncodedTools>,
    ) -> Result<Handover, CallError> {
        let exec_call_id = Arc::from(request.exec_call_id.as_str());
        let yield_time = request.yield_time.unwrap_or(DEFAULT_YIELD_TIME);
        let encode = |id| self.requests(session).execute(id, request, tools);
        let session = Arc::clone(session);
        self.call(&self.0.slots, encode, |reply| Operation::Execute {
            session,
            exec_call_id,
            yield_time,
            reply,
        })
        .await?
        .await
    }

    /// Observes a cell.
    pub(crate) async fn wait(
        &self,
        session: &Arc<str>,
        cell: &str,
        yield_time: Option<Duration>,
    ) -> Result<Observed, CallError> {
        let encode = |id| self.requests(session).wait(id, cell, yield_time);
        let (session, cell) = (Arc::clone(session), Arc::from(cell));
        let yield_time = yield_time.unwrap_or(DEFAULT_YIELD_TIME);
        self.call(&self.0.slots, encode, |reply| Operation::Wait {
            session,
            cell,
            yield_time,
            reply,
        })
        .await?
        .await
    }

    /// Ends a cell.
    pub(crate) async fn terminate(
        &self,
        session: &Arc<str>,
        cell: &str,
    ) -> Result<Observed, CallError> {
        let encode = |id| self.requests(session).terminate(id, cell);
        let (session, cell) = (Arc::clone(session), Arc::from(cell));
        self.call(&self.0.ending_slots, encode, |reply| Operation::Terminate {
            session,
            cell,
            reply,
        })
        .await?
        .await
    }

    /// Ends a session and its cells.
    pub(crate) async fn close_session(&self, session: &Arc<str>) -> Result<(), CallError> {
        let encode = |id| self.requests(session).shutdown(id);
        let session = Arc::clone(session);
        self.call(&self.0.ending_slots, encode, |reply| {
            Operation::CloseSession { session, reply }
        })
        .await?
        .await
    }

    /// The cells of a session, under the host's own ids.
    pub(crate) async fn list_cells(
        &self,
        session: &Arc<str>,
    ) -> Result<Vec<CellSummary>, CallError> {
        let encode = |id| self.requests(session).list_cells(id);
        let ask = |reply| Operation::OfSession(SessionAsk::ListCells(reply));
        self.call(&self.0.slots, encode, ask).await?.await
    }

    /// A part of what was cut out of a cell's responses; the cell is named by the host's own id.
    pub(crate) async fn read_output(
        &self,
        session: &Arc<str>,
        request: ReadOutputRequest,
    ) -> Result<KeptText, CallError> {
        let encode = |id| self.requests(session).read_output(id, request);
        let ask = |reply| Operation::OfSession(SessionAsk::ReadOutput(reply));
        self.call(&self.0.slots, encode, ask).await?.await
    }

    /// The stored values of a session.
    pub(crate) async fn export_store(
        &self,
        session: &Arc<str>,
    ) -> Result<BTreeMap<String, RawJson>, CallError> {
        let encode = |id| self.requests(session).export_store(id);
        let ask = |reply| Operation::OfSession(SessionAsk::ExportStore(reply));
        self.call(&self.0.slots, encode, ask).await?.await
    }

    /// Stores values in a session.
    pub(crate) async fn import_store(
        &self,
        session: &Arc<str>,
        values: BTreeMap<String, RawJson>,
    ) -> Result<(), CallError> {
        let encode = |id| self.requests(session).import_store(id, values);
        let ask = |reply| Operation::OfSession(SessionAsk::ImportStore(reply));
        self.call(&self.0.slots, encode, ask).await?.await
    }

    /// Says that nobody holds a session any more; the driver ends it.
    pub(crate) fn session_gone(&self, session: &Arc<str>) {
        drop(
            self.0
                .handle
                .inputs
                .send(Input::SessionGone(Arc::clone(session))),
        );
    }

    fn requests<'a>(&'a self, session: &'a str) -> Requests<'a> {
        Requests {
            session,
            agreed: &self.0.agreed,
        }
    }

    /// Queues a request, waiting for a call slot and for room in the outgoing budget.
    async fn call<T>(
        &self,
        slots: &Arc<Semaphore>,
        encode: impl FnOnce(RequestId) -> Result<EncodedFrame, SessionError>,
        operation: impl FnOnce(Reply<T>) -> Operation,
    ) -> Result<Ticket<T, Inputs>, CallError>
    where
        Inputs: TakesBack<T>,
    {
        // Fails only on a closed semaphore, and nothing closes these.
        let slot = Arc::clone(slots)
            .acquire_owned()
            .await
            .map_err(|_| self.lost())?;
        let id = RequestId::new(self.0.ids.fetch_add(1, Ordering::Relaxed));
        let bytes = encode(id).map_err(CallError::Refused)?;
        let _share = Some(self.0.budget.acquire(bytes.wire_bytes()).await);
        let (reply, answer) = oneshot::channel();
        let frame = Frame {
            bytes,
            request: Some(id),
            _share,
        };
        let request = Request {
            id,
            operation: operation(reply),
            frame,
            slot,
        };
        self.0
            .handle
            .inputs
            .send(Input::Request(request))
            .map_err(|_| self.lost())?;
        Ok(Ticket::new(id, answer, self.0.handle.inputs.clone()))
    }

    /// The connection was over before a request could be sent.
    fn lost(&self) -> CallError {
        let cause = self
            .0
            .failure
            .get()
            .map_or("the connection is over", |cause| cause);
        CallError::Lost {
            cause: cause.to_owned(),
            side_effects: SideEffects::None,
        }
    }
}

impl Greeting {
    /// A handle to the host that does not wait for the greeting.
    pub(crate) fn handle(&self) -> HostHandle {
        self.handle.clone()
    }

    /// Waits for the greeting. Dropping the future ends the host.
    ///
    /// # Errors
    /// Why there is no connection, for people. The host has been killed then.
    pub(crate) async fn connect(mut self) -> Result<Connection, Arc<str>> {
        let agreed = self
            .greeted
            .await
            .unwrap_or_else(|_| Err(Arc::from("the client's async runtime shut down")))?;
        self.closer.0 = None;
        let parts = self.connection;
        let capabilities = agreed
            .as_set()
            .as_slice()
            .iter()
            .map(ToString::to_string)
            .collect();
        let startup = parts.begun.elapsed();
        Ok(Connection(Arc::new(Inner {
            handle: self.handle,
            ids: parts.ids,
            slots: Arc::new(Semaphore::new(parts.max_calls)),
            ending_slots: Arc::new(Semaphore::new(parts.max_calls)),
            budget: parts.budget,
            agreed,
            info: HostInfo {
                process_id: parts.process_id,
                startup,
                capabilities,
            },
            ready_at: Instant::now(),
            failure: parts.failure,
            exit: parts.exit,
            loss_noted: AtomicBool::new(false),
        })))
    }
}

impl HostHandle {
    /// Ends the host without waiting; see [`Connection::close`].
    pub(crate) fn close(&self) {
        // A driver that has ended needs no word.
        drop(self.inputs.send(Input::Close));
    }

    /// Whether the host has not ended yet.
    pub(crate) fn is_live(&self) -> bool {
        self.ended.has_changed().is_ok()
    }

    /// Resolves when the host has ended and was reaped.
    pub(crate) async fn ended(mut self) {
        // The channel never changes its value: it closes with the driver.
        let _ = self.ended.changed().await;
    }
}

/// Ends the host of a greeting that nobody waits for any more.
struct CloseOnDrop(Option<Inputs>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(inputs) = &self.0 {
            drop(inputs.send(Input::Close));
        }
    }
}

/// Tells the driver when the process ends. The task ends with the process.
fn watch_exit(mut exit: watch::Receiver<Option<Exit>>, inputs: Inputs) {
    tokio::spawn(async move {
        let exit = exit
            .wait_for(Option::is_some)
            .await
            .map_or(None, |exit| *exit);
        drop(inputs.send(Input::Exited(exit)));
    });
}
