//! A host that exists only in memory and acts as its seed says: by the contract, until it is told
//! to break it in one way.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use code_mode_protocol::{
    AgreedCapabilities, CellId, CellOutput, CellResponse, ClientMessage, ContentItem,
    DelegateRequest, DelegateRequestId, EncodedFrame, Extension, FrameReader, HostMessage,
    OperationRequest, OperationValue, ProtocolVersion, RejectReason, RequestId, SessionId,
    SupportedVersions, Timings, ToolInvocation, ToolKind, ToolName, WaitOutcome, WireError,
};
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::rng::Rng;
use crate::process::{Exit, HostProcess, Link};

/// Bytes that the simulated pipes hold; small, so that back-pressure happens.
const PIPE_BYTES: usize = 512;

/// How a host breaks the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    NoGreeting,
    Reject,
    WrongVersion,
    GreetTwice,
    ResponseToNothing,
    ResponseTwice,
    ResponseOfWrongKind,
    InitialToNothing,
    InitialBeforeStarted,
    CellIdTwice,
    CellIdNoNumber,
    WrongCell,
    ToolForNoCell,
    ToolAfterClosed,
    ClosedTwice,
    ClosedWithOpenCall,
    DelegateIdTwice,
    Garbage,
    UnknownField,
    TooLong,
    Truncated,
    OutputEnds,
    Exits,
    ExitsInWords,
    Hangs,
    StopsReading,
}

/// Every fault.
pub(super) const FAULTS: [Fault; 26] = [
    Fault::NoGreeting,
    Fault::Reject,
    Fault::WrongVersion,
    Fault::GreetTwice,
    Fault::ResponseToNothing,
    Fault::ResponseTwice,
    Fault::ResponseOfWrongKind,
    Fault::InitialToNothing,
    Fault::InitialBeforeStarted,
    Fault::CellIdTwice,
    Fault::CellIdNoNumber,
    Fault::WrongCell,
    Fault::ToolForNoCell,
    Fault::ToolAfterClosed,
    Fault::ClosedTwice,
    Fault::ClosedWithOpenCall,
    Fault::DelegateIdTwice,
    Fault::Garbage,
    Fault::UnknownField,
    Fault::TooLong,
    Fault::Truncated,
    Fault::OutputEnds,
    Fault::Exits,
    Fault::ExitsInWords,
    Fault::Hangs,
    Fault::StopsReading,
];

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
    Link { input: Box::new(client_input), output: Box::new(client_output), process }
}

struct Host {
    rng: Rng,
    fault: Option<Fault>,
    /// Whether the fault has been acted out.
    acted: bool,
    counters: Arc<Counters>,
    /// Steps before the fault.
    patience: u64,
    frames: FrameReader<ReadHalf<DuplexStream>>,
    output: WriteHalf<DuplexStream>,
    agreed: AgreedCapabilities,
    /// Requests that are not answered yet and not begun.
    waiting: Vec<(RequestId, OperationRequest)>,
    sessions: BTreeMap<String, Session>,
    /// The last message of some kinds, for faults that repeat.
    last_response: Option<HostMessage>,
    last_closed: Option<(SessionId, CellId)>,
    next_delegate: i64,
}

#[derive(Default)]
struct Session {
    last_cell: u64,
    cells: BTreeMap<u64, Cell>,
}

#[derive(Default)]
struct Cell {
    initial: Option<RequestId>,
    waiter: Option<RequestId>,
    calls: Vec<DelegateRequestId>,
    /// The number of the next text.
    next_text: u64,
    output: Vec<ContentItem>,
    /// The cell has ended, and this is for the next wait.
    kept: Option<CellResponse>,
}

/// The host's work is over, with this exit code.
struct Ended(i32);

type Work = Result<(), Ended>;

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
        let hello = self.frames.next_message::<ClientMessage>(&self.agreed).await;
        let Ok(Some(ClientMessage::Hello(_))) = hello else { return Err(Ended(2)) };
        let capabilities = Extension::all_capabilities();
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
        let ready = HostMessage::Ready { selected_version: version, capabilities };
        self.send(ready.clone()).await?;
        self.agreed = AgreedCapabilities::new(Extension::all_capabilities());
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

    fn act(&mut self) {
        self.acted = true;
        self.counters.acted.store(true, Ordering::Relaxed);
    }

    /// Says nothing more, and expects to be killed or at least to be told to end.
    async fn expect_notice(&mut self) -> Work {
        let told = async { while let Ok(Some(_)) = self.frames.next_payload().await {} };
        // An answer to the open call may have been under way, and then nothing was wrong.
        let certain = self.fault != Some(Fault::ClosedWithOpenCall);
        if timeout(NOTICE, told).await.is_err() && certain {
            self.counters.unnoticed.fetch_add(1, Ordering::Relaxed);
        }
        Err(Ended(0))
    }

    async fn send(&mut self, message: HostMessage) -> Work {
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
        self.send(HostMessage::OperationResponse { id, result }).await
    }

    async fn refuse(&mut self, id: RequestId, text: &str) -> Work {
        self.respond(id, Err(WireError::new(text))).await
    }

    async fn receive(&mut self, message: ClientMessage) -> Work {
        match message {
            ClientMessage::Hello(_) => Err(Ended(2)),
            ClientMessage::OperationRequest { id, request } => {
                self.waiting.push((id, request));
                Ok(())
            }
            ClientMessage::OperationCancel { id } => self.cancel(id).await,
            ClientMessage::DelegateResponse { id, .. } => {
                for cell in self.sessions.values_mut().flat_map(|s| s.cells.values_mut()) {
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
        let mut cells = self.sessions.values_mut().flat_map(|s| s.cells.values_mut());
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

    fn cell(&mut self, session: &str, number: u64) -> &mut Cell {
        let session = self.sessions.get_mut(session).expect("a session of this host");
        session.cells.get_mut(&number).expect("a cell of this host")
    }

    async fn begin(&mut self, id: RequestId, request: OperationRequest) -> Work {
        let name = request.session_id().to_string();
        if let OperationRequest::Open { session_id } = request {
            if self.sessions.contains_key(&name) {
                return Err(Ended(2));
            }
            if self.rng.percent(5) {
                return self.refuse(id, "no room for a session").await;
            }
            self.sessions.insert(name, Session::default());
            return self.respond(id, Ok(OperationValue::SessionReady { session_id })).await;
        }
        if !self.sessions.contains_key(&name) {
            return self.refuse(id, "unknown code-mode session").await;
        }
        match request {
            OperationRequest::Open { .. } => Ok(()),
            OperationRequest::Execute { .. } => self.execute(id, &name).await,
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
                self.respond(id, Ok(OperationValue::SessionClosed { session_id })).await
            }
            OperationRequest::ExportStore { .. } => {
                let values = BTreeMap::new();
                self.respond(id, Ok(OperationValue::StoreExported { values })).await
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
        session.cells.insert(number, Cell { initial: Some(id), ..Cell::default() });
        self.respond(id, Ok(OperationValue::ExecutionStarted { cell_id: cell_id(number) })).await
    }

    async fn wait(&mut self, id: RequestId, name: &str, cell: &CellId) -> Work {
        let session = self.sessions.get_mut(name).expect("checked by the caller");
        let number = cell.as_str().parse().unwrap_or(0);
        let outcome = match session.cells.get_mut(&number) {
            None => WaitOutcome::MissingCell(CellResponse::Result {
                output: output(number, Vec::new()),
                error_text: Some(format!("exec cell {number} not found")),
            }),
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
        self.respond(id, Ok(OperationValue::WaitCompleted { outcome })).await
    }

    async fn terminate(&mut self, id: RequestId, name: &str, cell: &CellId) -> Work {
        let number = cell.as_str().parse().unwrap_or(0);
        let running = self.sessions[name].cells.get(&number).is_some_and(|c| c.kept.is_none());
        if !running {
            return self.wait(id, name, cell).await;
        }
        let cell = self.cell(name, number);
        let observed = cell.initial.is_some() || cell.waiter.is_some();
        let items = if observed { Vec::new() } else { std::mem::take(&mut cell.output) };
        self.end_cell(name, number, true).await?;
        // Whoever terminates takes the result; nothing is kept.
        if let Some(session) = self.sessions.get_mut(name) {
            session.cells.remove(&number);
        }
        let outcome = WaitOutcome::LiveCell(CellResponse::Terminated(output(number, items)));
        self.respond(id, Ok(OperationValue::WaitCompleted { outcome })).await
    }

    async fn yield_cell(&mut self, name: &str, number: u64) -> Work {
        let cell = self.cell(name, number);
        let Some(observer) = cell.observer() else { return Ok(()) };
        let items = std::mem::take(&mut cell.output);
        self.observe(observer, CellResponse::Yielded(output(number, items))).await
    }

    async fn observe(&mut self, observer: Observer, response: CellResponse) -> Work {
        let message = match observer {
            Observer::Initial(id) => {
                HostMessage::ExecuteInitialResponse { id, result: Ok(response) }
            }
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
        let request = if self.rng.percent(30) {
            DelegateRequest::NotificationSend {
                call_id: "call".to_owned(),
                cell_id: cell_id(number),
                text: "half way".to_owned(),
            }
        } else {
            tool_request(number)
        };
        let session_id = session_id(name);
        self.send(HostMessage::DelegateRequest { id, session_id, request }).await
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
        let output = output(number, std::mem::take(&mut cell.output));
        for id in calls {
            self.send(HostMessage::DelegateCancel { id }).await?;
        }
        let response = if terminated {
            CellResponse::Terminated(output)
        } else {
            CellResponse::Result { output, error_text: None }
        };
        match observer {
            Some(observer) => {
                self.sessions.get_mut(name).expect("its session").cells.remove(&number);
                self.observe(observer, response).await?;
            }
            None => self.cell(name, number).kept = Some(response),
        }
        let (session_id, cell_id) = (session_id(name), cell_id(number));
        self.last_closed = Some((session_id.clone(), cell_id.clone()));
        self.send(HostMessage::CellClosed { session_id, cell_id }).await
    }

    /// Breaks the contract, if there is what it takes.
    async fn act_out(&mut self, fault: Fault) -> Work {
        let session = self.sessions.keys().next().cloned();
        let running = self.sessions.iter().find_map(|(name, session)| {
            let mut cells = session.cells.iter();
            let (number, _) = cells.find(|(_, cell)| cell.kept.is_none())?;
            Some((name.clone(), *number))
        });
        let waiting_execute = self
            .waiting
            .iter()
            .find(|(_, request)| matches!(request, OperationRequest::Execute { .. }))
            .map(|(id, request)| (*id, request.session_id().to_string()));
        let unknown = RequestId::new(-7);
        let messages = match (fault, session, running, waiting_execute) {
            (Fault::ResponseToNothing, ..) => vec![HostMessage::OperationResponse {
                id: unknown,
                result: Ok(OperationValue::StoreImported {}),
            }],
            (Fault::InitialToNothing, ..) => vec![initial(unknown, 1)],
            (Fault::ResponseTwice, ..) => self.last_response.clone().into_iter().collect(),
            (Fault::ResponseOfWrongKind, _, _, Some((id, _))) => {
                vec![HostMessage::OperationResponse {
                    id,
                    result: Ok(OperationValue::StoreImported {}),
                }]
            }
            (Fault::InitialBeforeStarted, _, _, Some((id, _))) => vec![initial(id, 1)],
            (Fault::CellIdTwice, _, _, Some((id, name))) if self.sessions.contains_key(&name) => {
                match self.sessions[&name].last_cell {
                    0 => Vec::new(),
                    last => vec![started(id, cell_id(last))],
                }
            }
            (Fault::CellIdNoNumber, _, _, Some((id, _))) => {
                vec![started(id, CellId::new("first").expect("not empty"))]
            }
            (Fault::WrongCell, _, Some((name, number)), _) => {
                let initial_of = self.cell(&name, number).initial;
                initial_of.map(|id| initial(id, number + 100)).into_iter().collect()
            }
            (Fault::ToolForNoCell, Some(name), ..) => vec![HostMessage::DelegateRequest {
                id: DelegateRequestId::new(-1),
                session_id: session_id(&name),
                request: tool_request(999),
            }],
            (Fault::ToolAfterClosed, ..) => {
                let closed = self.last_closed.clone();
                closed
                    .map(|(session_id, cell_id)| HostMessage::DelegateRequest {
                        id: DelegateRequestId::new(-1),
                        session_id,
                        request: tool_request(cell_id.as_str().parse().expect("a number")),
                    })
                    .into_iter()
                    .collect()
            }
            (Fault::ClosedTwice, ..) => {
                let closed = self.last_closed.clone();
                closed
                    .map(|(session_id, cell_id)| HostMessage::CellClosed { session_id, cell_id })
                    .into_iter()
                    .collect()
            }
            (Fault::ClosedWithOpenCall, _, Some((name, number)), _) => {
                let cell = self.cell(&name, number);
                if cell.initial.is_some() || cell.calls.is_empty() {
                    Vec::new()
                } else {
                    let (session_id, cell_id) = (session_id(&name), cell_id(number));
                    vec![HostMessage::CellClosed { session_id, cell_id }]
                }
            }
            (Fault::DelegateIdTwice, _, Some((name, number)), _) => {
                let request = HostMessage::DelegateRequest {
                    id: DelegateRequestId::new(-2),
                    session_id: session_id(&name),
                    request: tool_request(number),
                };
                vec![request.clone(), request]
            }
            (Fault::Garbage, ..) => return self.act_bytes(b"\x02\0\0\0{]").await,
            (Fault::UnknownField, ..) => {
                let payload = br#"{"type":"delegate/cancel","id":1,"why":"because"}"#;
                let mut bytes = u32::try_from(payload.len()).expect("short").to_le_bytes().to_vec();
                bytes.extend_from_slice(payload);
                return self.act_bytes(&bytes).await;
            }
            (Fault::TooLong, ..) => return self.act_bytes(&[0xff; 4]).await,
            (Fault::Truncated, ..) => {
                return self.act_bytes(b"\x20\0\0\0{\"type\":").await;
            }
            (Fault::OutputEnds, ..) => {
                self.act();
                self.output.shutdown().await.map_err(|_| Ended(3))?;
                return self.expect_notice().await;
            }
            (Fault::Exits | Fault::ExitsInWords, ..) => {
                self.act();
                return Err(Ended(17));
            }
            (Fault::Hangs, ..) => {
                self.act();
                // Goes on reading, so only a call's deadline can tell.
                loop {
                    match self.frames.next_payload().await {
                        Ok(Some(_)) => {}
                        _ => return Ok(()),
                    }
                }
            }
            (Fault::StopsReading, ..) => {
                self.act();
                std::future::pending::<()>().await;
                return Ok(());
            }
            _ => Vec::new(),
        };
        if messages.is_empty() {
            return Ok(());
        }
        self.act();
        for message in messages {
            self.send(message).await?;
        }
        self.expect_notice().await
    }

    async fn act_bytes(&mut self, bytes: &[u8]) -> Work {
        self.act();
        self.output.write_all(bytes).await.map_err(|_| Ended(3))?;
        if self.fault == Some(Fault::Truncated) {
            return Err(Ended(9));
        }
        self.expect_notice().await
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
        self.output.push(ContentItem::InputText { text: self.next_text.to_string() });
        self.next_text += 1;
    }
}

fn cell_id(number: u64) -> CellId {
    CellId::new(number.to_string()).expect("not empty")
}

fn session_id(name: &str) -> SessionId {
    SessionId::new(name).expect("not empty")
}

fn output(number: u64, content_items: Vec<ContentItem>) -> CellOutput {
    CellOutput { cell_id: cell_id(number), content_items, timings: Timings::default() }
}

fn initial(id: RequestId, number: u64) -> HostMessage {
    let result = Ok(CellResponse::Yielded(output(number, Vec::new())));
    HostMessage::ExecuteInitialResponse { id, result }
}

fn started(id: RequestId, cell_id: CellId) -> HostMessage {
    HostMessage::OperationResponse { id, result: Ok(OperationValue::ExecutionStarted { cell_id }) }
}

fn tool_request(number: u64) -> DelegateRequest {
    DelegateRequest::ToolInvoke {
        invocation: ToolInvocation {
            cell_id: cell_id(number),
            runtime_tool_call_id: "tool-1".to_owned(),
            tool_name: ToolName { name: "look".to_owned(), namespace: None },
            tool_kind: ToolKind::Function,
            input: RawValue::from_string("null".to_owned()).expect("JSON"),
        },
    }
}
