// SPDX-License-Identifier: Apache-2.0
//! A host that exists only in memory and acts as its seed says: by the contract, until it is told
//! to break it in one way.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use code_mode_api::{
    CellId, CellResponse, CellState, CellStatus, CellSummary, CellTimings, ContentItem,
    Notification, SessionId, ToolInvocation, ToolKind, ToolName,
};
use code_mode_protocol::{
    AgreedCapabilities, ClientMessage, DelegateRequest, DelegateRequestId, EncodedFrame, Extension,
    FrameReader, HostMessage, OperationRequest, OperationValue, ProtocolVersion, RejectReason,
    RequestId, SupportedVersions, WaitOutcome, WireError,
};
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::fault::Fault;
use super::rng::Rng;
use crate::messages::OFFERED;
use crate::process::{Exit, HostOutput, HostProcess, Link};

/// Bytes that the simulated pipes hold; small, so that back-pressure happens.
const PIPE_BYTES: usize = 512;

/// Virtual time within which the client must notice what it can notice.
const NOTICE: Duration = Duration::from_millis(100);

/// What the hosts of one seed have done.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) live_hosts: AtomicUsize,
    /// Whether the fault was acted out.
    pub(super) acted: AtomicBool,
    /// Faults after which the client went on as if nothing had happened.
    pub(super) unnoticed: AtomicUsize,
}

struct LiveHost(Arc<Counters>);

impl LiveHost {
    fn new(counters: &Arc<Counters>) -> Self {
        counters.live_hosts.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for LiveHost {
    fn drop(&mut self) {
        self.0.live_hosts.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts a host; with a fault, it acts it out as soon as it can after `patience` steps.
pub(super) fn launch(rng: Rng, fault: Option<Fault>, counters: &Arc<Counters>) -> Link {
    let (client_input, host_input) = duplex(PIPE_BYTES);
    let (host_output, client_output) = duplex(PIPE_BYTES);
    let (exit_sender, exit) = watch::channel(None);
    let live = LiveHost::new(counters);
    let exit_sender = Arc::new(exit_sender);
    let exits = Arc::clone(&exit_sender);
    let task = tokio::spawn(async move {
        let _live = live;
        let (input, _unused) = split(host_input);
        let (_unused_too, output) = split(host_output);
        let mut host = Host::new(rng, fault, input, output, Arc::clone(&_live.0));
        let status = host.run().await;
        exits.send_replace(Some(Exit(ExitStatus::from_raw(status << 8))));
        if host.fault == Some(Fault::Exits) && host.acted {
            // A child of the host keeps its pipes open.
            std::future::pending::<()>().await;
        }
    });
    let kill = move || {
        task.abort();
        exit_sender.send_if_modified(|exit| {
            let alive = exit.is_none();
            exit.get_or_insert(Exit(ExitStatus::from_raw(libc::SIGKILL)));
            alive
        });
    };
    let process = HostProcess::simulated(exit, kill);
    Link {
        input: Box::new(client_input),
        output: HostOutput::of_stream(Box::new(client_output)),
        process,
        sent: None,
    }
}

pub(super) struct Host {
    rng: Rng,
    pub(super) fault: Option<Fault>,
    /// Whether the fault has been acted out.
    pub(super) acted: bool,
    counters: Arc<Counters>,
    /// Steps before the fault.
    patience: u64,
    pub(super) frames: FrameReader<ReadHalf<DuplexStream>>,
    pub(super) output: WriteHalf<DuplexStream>,
    agreed: AgreedCapabilities,
    /// Requests that are not answered yet and not begun.
    pub(super) waiting: Vec<(RequestId, OperationRequest)>,
    pub(super) sessions: BTreeMap<String, Session>,
    /// The last message of some kinds, for faults that repeat.
    pub(super) last_response: Option<HostMessage>,
    pub(super) last_closed: Option<(SessionId, CellId)>,
    next_delegate: i64,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) last_cell: u64,
    pub(super) cells: BTreeMap<u64, Cell>,
}

#[derive(Default)]
pub(super) struct Cell {
    pub(super) initial: Option<RequestId>,
    waiter: Option<RequestId>,
    pub(super) calls: Vec<DelegateRequestId>,
    /// The number of the next text.
    next_text: u64,
    output: Vec<ContentItem>,
    /// The cell has ended, and this is for the next wait.
    pub(super) kept: Option<CellResponse>,
}

/// The host's work is over, with this exit code.
pub(super) struct Ended(pub(super) i32);

pub(super) type Work = Result<(), Ended>;

impl Host {
    fn new(
        mut rng: Rng,
        fault: Option<Fault>,
        input: ReadHalf<DuplexStream>,
        output: WriteHalf<DuplexStream>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            patience: rng.below(12),
            rng,
            fault,
            acted: false,
            counters,
            frames: FrameReader::new(input),
            output,
            agreed: AgreedCapabilities::none(),
            waiting: Vec::new(),
            sessions: BTreeMap::new(),
            last_response: None,
            last_closed: None,
            next_delegate: 1,
        }
    }

    async fn run(&mut self) -> i32 {
        match self.serve().await {
            Ok(()) => 0,
            Err(Ended(status)) => status,
        }
    }

    async fn serve(&mut self) -> Work {
        self.greet().await?;
        loop {
            let pause = Duration::from_micros(self.rng.below(2000));
            tokio::select! {
                biased;
                message = self.frames.next_message::<ClientMessage>(&self.agreed) => {
                    match message.map_err(|_| Ended(2))? {
                        Some(message) => self.receive(message).await?,
                        None => return Ok(()),
                    }
                }
                () = sleep(pause) => self.step().await?,
            }
        }
    }

    async fn greet(&mut self) -> Work {
        let hello = self
            .frames
            .next_message::<ClientMessage>(&self.agreed)
            .await;
        let Ok(Some(ClientMessage::Hello(_))) = hello else {
            return Err(Ended(2));
        };
        let capabilities = Extension::capabilities(&OFFERED);
        let mut version = ProtocolVersion::V1;
        match self.fault {
            Some(Fault::NoGreeting) => {
                self.act();
                std::future::pending::<()>().await;
            }
            Some(Fault::Reject) => {
                self.act();
                let supported_versions = SupportedVersions::v1();
                let reason = RejectReason::NoCompatibleVersion { supported_versions };
                self.send(HostMessage::Rejected { reason }).await?;
                return Err(Ended(1));
            }
            Some(Fault::WrongVersion) => {
                self.act();
                version = ProtocolVersion::new(2).expect("not 0");
            }
            _ => {}
        }
        let ready = HostMessage::Ready {
            selected_version: version,
            capabilities,
        };
        self.send(ready.clone()).await?;
        self.agreed = AgreedCapabilities::new(Extension::capabilities(&OFFERED));
        match self.fault {
            Some(Fault::GreetTwice) => {
                self.act();
                self.send(ready).await?;
                self.expect_notice().await
            }
            Some(Fault::WrongVersion) => self.expect_notice().await,
            _ => Ok(()),
        }
    }

    pub(super) fn act(&mut self) {
        self.acted = true;
        self.counters.acted.store(true, Ordering::Relaxed);
    }

    /// Says nothing more, and expects to be killed or at least to be told to end.
    pub(super) async fn expect_notice(&mut self) -> Work {
        let told = async { while let Ok(Some(_)) = self.frames.next_payload().await {} };
        // An answer to the open call may have been under way, and then nothing was wrong.
        let certain = self.fault != Some(Fault::ClosedWithOpenCall);
        if timeout(NOTICE, told).await.is_err() && certain {
            self.counters.unnoticed.fetch_add(1, Ordering::Relaxed);
        }
        Err(Ended(0))
    }

    pub(super) async fn send(&mut self, message: HostMessage) -> Work {
        let frame = EncodedFrame::encode(&message, &self.agreed).expect("a small message");
        if matches!(message, HostMessage::OperationResponse { .. }) {
            self.last_response = Some(message);
        }
        self.send_bytes(frame.as_bytes()).await
    }

    async fn send_bytes(&mut self, bytes: &[u8]) -> Work {
        // Frames come in pieces, as they do from a real pipe.
        let cut = self.rng.index(bytes.len());
        let (first, second) = bytes.split_at(cut);
        self.output.write_all(first).await.map_err(|_| Ended(3))?;
        if self.rng.percent(20) {
            sleep(Duration::from_micros(50)).await;
        }
        self.output.write_all(second).await.map_err(|_| Ended(3))
    }

    async fn respond(&mut self, id: RequestId, result: Result<OperationValue, WireError>) -> Work {
        self.send(HostMessage::OperationResponse { id, result })
            .await
    }

    async fn refuse(&mut self, id: RequestId, text: &str) -> Work {
        self.respond(id, Err(WireError::new(text))).await
    }

    async fn receive(&mut self, message: ClientMessage) -> Work {
        match message {
            // Our client does not offer what the second of them needs.
            ClientMessage::Hello(_) | ClientMessage::OperationYield { .. } => Err(Ended(2)),
            ClientMessage::OperationRequest { id, request } => {
                self.waiting.push((id, request));
                Ok(())
            }
            ClientMessage::OperationCancel { id } => self.cancel(id).await,
            ClientMessage::DelegateResponse { id, .. } => {
                for cell in self
                    .sessions
                    .values_mut()
                    .flat_map(|s| s.cells.values_mut())
                {
                    cell.calls.retain(|call| *call != id);
                }
                Ok(())
            }
        }
    }

    async fn cancel(&mut self, id: RequestId) -> Work {
        if let Some(position) = self.waiting.iter().position(|(waiting, _)| *waiting == id) {
            self.waiting.remove(position);
            return self.refuse(id, "cancelled").await;
        }
        let mut cells = self
            .sessions
            .values_mut()
            .flat_map(|s| s.cells.values_mut());
        if let Some(cell) = cells.find(|cell| cell.waiter == Some(id)) {
            cell.waiter = None;
            return self.refuse(id, "cancelled").await;
        }
        Ok(())
    }

    /// One step of the host's own accord.
    async fn step(&mut self) -> Work {
        if let Some(fault) = self.fault.filter(|_| !self.acted) {
            if self.patience == 0 {
                self.act_out(fault).await?;
            }
            self.patience = self.patience.saturating_sub(1);
        }
        if !self.waiting.is_empty() && self.rng.percent(60) {
            let position = self.rng.index(self.waiting.len());
            let (id, request) = self.waiting.remove(position);
            return self.begin(id, request).await;
        }
        let running: Vec<_> = self
            .sessions
            .iter()
            .flat_map(|(name, session)| {
                let alive = session.cells.iter().filter(|(_, cell)| cell.kept.is_none());
                alive.map(move |(number, _)| (name.clone(), *number))
            })
            .collect();
        if running.is_empty() {
            return Ok(());
        }
        let (session, number) = running[self.rng.index(running.len())].clone();
        match self.rng.below(10) {
            0..=2 => {
                self.cell(&session, number).print();
                Ok(())
            }
            3..=4 => self.call(&session, number).await,
            5 => self.cancel_call(&session, number).await,
            6..=7 => self.yield_cell(&session, number).await,
            _ => self.end_cell(&session, number, false).await,
        }
    }

    pub(super) fn cell(&mut self, session: &str, number: u64) -> &mut Cell {
        let session = self
            .sessions
            .get_mut(session)
            .expect("a session of this host");
        session.cells.get_mut(&number).expect("a cell of this host")
    }

    async fn begin(&mut self, id: RequestId, request: OperationRequest) -> Work {
        let name = request.session_id().to_string();
        if let OperationRequest::Open { session_id, .. } = request {
            if self.sessions.contains_key(&name) {
                return Err(Ended(2));
            }
            if self.rng.percent(5) {
                return self.refuse(id, "no room for a session").await;
            }
            self.sessions.insert(name, Session::default());
            return self
                .respond(id, Ok(OperationValue::SessionReady { session_id }))
                .await;
        }
        if !self.sessions.contains_key(&name) {
            return self.refuse(id, "unknown code-mode session").await;
        }
        match request {
            OperationRequest::Open { .. } => Ok(()),
            OperationRequest::Execute { .. } => self.execute(id, &name).await,
            OperationRequest::Wait {
                request,
                output_range: Some(range),
                ..
            } => {
                let read = OperationValue::OutputRead {
                    cell_id: request.cell_id,
                    offset: range.offset,
                    total_bytes: range.offset,
                    text: String::new(),
                };
                self.respond(id, Ok(read)).await
            }
            OperationRequest::Wait { request, .. } => self.wait(id, &name, &request.cell_id).await,
            OperationRequest::Terminate { cell_id, .. } => {
                self.terminate(id, &name, &cell_id).await
            }
            OperationRequest::Shutdown { session_id } => {
                let running: Vec<_> = self.sessions[&name]
                    .cells
                    .iter()
                    .filter(|(_, cell)| cell.kept.is_none())
                    .map(|(number, _)| *number)
                    .collect();
                for number in running {
                    self.end_cell(&name, number, true).await?;
                }
                self.sessions.remove(&name);
                self.respond(id, Ok(OperationValue::SessionClosed { session_id }))
                    .await
            }
            OperationRequest::ListCells { .. } => {
                let cells = self.sessions[&name].cells.iter();
                let cells = cells.map(|(number, cell)| CellSummary {
                    cell_id: CellId::new(number.to_string()),
                    exec_call_id: String::new(),
                    state: match cell.kept {
                        Some(_) => CellState::Ended,
                        None => CellState::Running,
                    },
                    age: Duration::ZERO,
                    output_bytes: 0,
                    unread_bytes: 0,
                });
                let cells = cells.collect();
                self.respond(id, Ok(OperationValue::CellsListed { cells }))
                    .await
            }
            OperationRequest::ExportStore { .. } => {
                let values = BTreeMap::new();
                self.respond(id, Ok(OperationValue::StoreExported { values }))
                    .await
            }
            OperationRequest::ImportStore { .. } => {
                self.respond(id, Ok(OperationValue::StoreImported {})).await
            }
        }
    }

    async fn execute(&mut self, id: RequestId, name: &str) -> Work {
        if self.rng.percent(10) {
            return self.refuse(id, "too many active cells").await;
        }
        let session = self.sessions.get_mut(name).expect("checked by the caller");
        session.last_cell += 1;
        let number = session.last_cell;
        session.cells.insert(
            number,
            Cell {
                initial: Some(id),
                ..Cell::default()
            },
        );
        self.respond(
            id,
            Ok(OperationValue::ExecutionStarted {
                cell_id: cell_id(number),
            }),
        )
        .await
    }

    async fn wait(&mut self, id: RequestId, name: &str, cell: &CellId) -> Work {
        let session = self.sessions.get_mut(name).expect("checked by the caller");
        let number = cell.as_str().parse().unwrap_or(0);
        let outcome = match session.cells.get_mut(&number) {
            None => {
                let error_text = Some(format!("exec cell {number} not found"));
                let status = CellStatus::Completed { error_text };
                WaitOutcome::MissingCell(response(number, status, Vec::new()))
            }
            Some(cell) if cell.kept.is_some() => {
                let cell = session.cells.remove(&number).expect("just found");
                WaitOutcome::LiveCell(cell.kept.expect("just checked"))
            }
            Some(cell) if cell.initial.is_some() || cell.waiter.is_some() => {
                return self.refuse(id, "the cell is being observed").await;
            }
            Some(cell) => {
                cell.waiter = Some(id);
                return Ok(());
            }
        };
        self.respond(id, Ok(OperationValue::WaitCompleted { outcome }))
            .await
    }

    async fn terminate(&mut self, id: RequestId, name: &str, cell: &CellId) -> Work {
        let number = cell.as_str().parse().unwrap_or(0);
        let running = self.sessions[name]
            .cells
            .get(&number)
            .is_some_and(|c| c.kept.is_none());
        if !running {
            return self.wait(id, name, cell).await;
        }
        let cell = self.cell(name, number);
        let observed = cell.initial.is_some() || cell.waiter.is_some();
        let items = if observed {
            Vec::new()
        } else {
            std::mem::take(&mut cell.output)
        };
        self.end_cell(name, number, true).await?;
        // Whoever terminates takes the result; nothing is kept.
        if let Some(session) = self.sessions.get_mut(name) {
            session.cells.remove(&number);
        }
        let outcome = WaitOutcome::LiveCell(response(number, CellStatus::Terminated, items));
        self.respond(id, Ok(OperationValue::WaitCompleted { outcome }))
            .await
    }

    async fn yield_cell(&mut self, name: &str, number: u64) -> Work {
        let cell = self.cell(name, number);
        let Some(observer) = cell.observer() else {
            return Ok(());
        };
        let items = std::mem::take(&mut cell.output);
        self.observe(observer, response(number, CellStatus::Yielded, items))
            .await
    }

    async fn observe(&mut self, observer: Observer, response: CellResponse) -> Work {
        let message = match observer {
            Observer::Initial(id) => HostMessage::ExecuteInitialResponse {
                id,
                result: Ok(response),
            },
            Observer::Waiter(id) => {
                let outcome = WaitOutcome::LiveCell(response);
                let result = Ok(OperationValue::WaitCompleted { outcome });
                HostMessage::OperationResponse { id, result }
            }
        };
        self.send(message).await
    }

    async fn call(&mut self, name: &str, number: u64) -> Work {
        let id = DelegateRequestId::new(self.next_delegate);
        self.next_delegate += 1;
        self.cell(name, number).calls.push(id);
        let session_id = session_id(name);
        let request = if self.rng.percent(30) {
            let notification = Notification {
                session_id,
                cell_id: cell_id(number),
                exec_call_id: "call".to_owned(),
                text: "half way".to_owned(),
            };
            DelegateRequest::NotificationSend { notification }
        } else {
            tool_request(session_id, number)
        };
        self.send(HostMessage::DelegateRequest { id, request })
            .await
    }

    async fn cancel_call(&mut self, name: &str, number: u64) -> Work {
        match self.cell(name, number).calls.pop() {
            Some(id) => self.send(HostMessage::DelegateCancel { id }).await,
            None => Ok(()),
        }
    }

    async fn end_cell(&mut self, name: &str, number: u64, terminated: bool) -> Work {
        let cell = self.cell(name, number);
        let calls = std::mem::take(&mut cell.calls);
        let observer = cell.observer();
        let items = std::mem::take(&mut cell.output);
        for id in calls {
            self.send(HostMessage::DelegateCancel { id }).await?;
        }
        let status = if terminated {
            CellStatus::Terminated
        } else {
            CellStatus::Completed { error_text: None }
        };
        let response = response(number, status, items);
        match observer {
            Some(observer) => {
                self.sessions
                    .get_mut(name)
                    .expect("its session")
                    .cells
                    .remove(&number);
                self.observe(observer, response).await?;
            }
            None => self.cell(name, number).kept = Some(response),
        }
        let (session_id, cell_id) = (session_id(name), cell_id(number));
        self.last_closed = Some((session_id.clone(), cell_id.clone()));
        self.send(HostMessage::CellClosed {
            session_id,
            cell_id,
        })
        .await
    }
}

enum Observer {
    Initial(RequestId),
    Waiter(RequestId),
}

impl Cell {
    /// Takes the cell's observer.
    fn observer(&mut self) -> Option<Observer> {
        let initial = self.initial.take().map(Observer::Initial);
        initial.or_else(|| self.waiter.take().map(Observer::Waiter))
    }

    fn print(&mut self) {
        self.output
            .push(ContentItem::Text(self.next_text.to_string()));
        self.next_text += 1;
    }
}

pub(super) fn cell_id(number: u64) -> CellId {
    CellId::new(number.to_string())
}

pub(super) fn session_id(name: &str) -> SessionId {
    SessionId::new(name).expect("not empty")
}

fn response(number: u64, status: CellStatus, content_items: Vec<ContentItem>) -> CellResponse {
    CellResponse {
        cell_id: cell_id(number),
        status,
        content_items,
        timings: CellTimings::default(),
        state_lost: None,
    }
}

pub(super) fn initial(id: RequestId, number: u64) -> HostMessage {
    let result = Ok(response(number, CellStatus::Yielded, Vec::new()));
    HostMessage::ExecuteInitialResponse { id, result }
}

pub(super) fn started(id: RequestId, cell_id: CellId) -> HostMessage {
    HostMessage::OperationResponse {
        id,
        result: Ok(OperationValue::ExecutionStarted { cell_id }),
    }
}

pub(super) fn tool_request(session_id: SessionId, number: u64) -> DelegateRequest {
    DelegateRequest::ToolInvoke {
        invocation: ToolInvocation {
            session_id,
            cell_id: cell_id(number),
            call_id: "tool-1".to_owned(),
            exec_call_id: String::new(),
            tool_name: ToolName {
                name: "look".to_owned(),
                namespace: None,
            },
            tool_kind: ToolKind::Function,
            input: RawValue::from_string("null".to_owned()).expect("JSON"),
        },
    }
}
