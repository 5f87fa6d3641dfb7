// SPDX-License-Identifier: Apache-2.0
//! Sessions that a test plays, and a client of the door.

use std::sync::Arc;
use std::task::{Context, Poll};

use code_mode_api::waist::{
    Answer, Ask, AskId, Bell, Budget, CallId, Event, Outbox, OutboxOwner, Ringer, Session, Sessions,
};
use code_mode_api::{
    CancellationSignal, CellId, CellResponse, CellStatus, CellTimings, ContentItem, Notification,
    RawJson, SessionError, SessionId, SessionOptions, ToolError, ToolInvocation, ToolKind,
    ToolName,
};
use code_mode_grpc::tonic::codegen::{Service, http::Uri};
use code_mode_grpc::tonic::transport::{Channel, Endpoint};
use code_mode_grpc::tonic::{Code, Status, Streaming};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_host_grpc::{ConnectionOptions, Door, Owner, Served, Tokens, serve_connection};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes that an outbox of these sessions holds before a cell has to wait.
pub const OUTBOX_BYTES: usize = 4 << 20;

/// What the door did to a session.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a test looks at a few of them, one after the other"
)]
pub enum Done {
    /// It asked.
    Asked(AskId, Ask),
    /// It took a wait back.
    Withdrew(AskId),
    /// It answered a call or notification.
    Answered(CallId, Result<String, ToolError>),
    /// It let go of the session.
    Dropped,
}

/// Sessions that do nothing by themselves.
pub struct Played {
    opened: mpsc::UnboundedSender<PlayedSession>,
}

/// The test's side of one session.
pub struct PlayedSession {
    pub id: SessionId,
    pub done: mpsc::UnboundedReceiver<Done>,
    pub bell: Arc<dyn Bell>,
    pub budget: Arc<Budget>,
    pub outbox: Arc<Outbox>,
}

struct DoorSide(mpsc::UnboundedSender<Done>);

impl Sessions for Played {
    fn open(
        &self,
        options: SessionOptions,
        bell: Arc<dyn Bell>,
    ) -> Result<Arc<dyn Session>, SessionError> {
        let (door, done) = mpsc::unbounded_channel();
        let budget = Budget::new(2 * OUTBOX_BYTES);
        let session = PlayedSession {
            id: options.session_id.expect("the door chooses the id"),
            done,
            outbox: Outbox::new(
                OutboxOwner::Session,
                OUTBOX_BYTES,
                Arc::clone(&bell),
                Arc::clone(&budget),
            ),
            bell,
            budget,
        };
        match self.opened.send(session) {
            Ok(()) => Ok(Arc::new(DoorSide(door))),
            Err(_) => Err(SessionError::StartFailed {
                cause: "the test is over".to_owned(),
            }),
        }
    }
}

impl Session for DoorSide {
    fn ask(&self, id: AskId, ask: Ask) {
        // By name, since build systems call this crate differently.
        tracing::warn!(target: "door_side", "a session is asked");
        let _ = self.0.send(Done::Asked(id, ask));
    }

    fn withdraw(&self, id: AskId) {
        let _ = self.0.send(Done::Withdrew(id));
    }

    fn answer(&self, call: CallId, result: Result<RawJson, ToolError>) {
        let result = result.map(|json| json.get().to_owned());
        let _ = self.0.send(Done::Answered(call, result));
    }
}

impl Drop for DoorSide {
    fn drop(&mut self) {
        let _ = self.0.send(Done::Dropped);
    }
}

/// The test's side of one cell.
pub struct PlayedCell {
    pub id: CellId,
    session: SessionId,
    pub outbox: Arc<Outbox>,
}

impl PlayedSession {
    pub async fn next(&mut self) -> Done {
        self.done.recv().await.expect("the door does something")
    }

    /// The next ask.
    pub async fn asked(&mut self) -> (AskId, Ask) {
        match self.next().await {
            Done::Asked(id, ask) => (id, ask),
            other => panic!("{other:?}"),
        }
    }

    pub fn cell(&self, id: &str) -> PlayedCell {
        let id = CellId::new(id);
        PlayedCell {
            outbox: Outbox::new(
                OutboxOwner::Cell(id.clone()),
                OUTBOX_BYTES,
                Arc::clone(&self.bell),
                Arc::clone(&self.budget),
            ),
            session: self.id.clone(),
            id,
        }
    }

    /// Starts the cell of the execute that comes next.
    pub async fn start(&mut self, id: &str) -> (AskId, PlayedCell) {
        let (ask, Ask::Execute(_)) = self.asked().await else {
            panic!("no execute");
        };
        let cell = self.cell(id);
        cell.put(Event::Started {
            ask,
            cell_id: cell.id.clone(),
        });
        (ask, cell)
    }

    pub fn answer(&self, ask: AskId, result: Result<Answer, SessionError>) {
        self.outbox
            .put(Event::Answered { ask, result }, Ringer::Helper);
    }

    /// Answers the shutdown that comes next.
    pub async fn end(&mut self) {
        let (ask, Ask::Shutdown) = self.asked().await else {
            panic!("no shutdown");
        };
        self.answer(ask, Ok(Answer::Done));
    }
}

impl PlayedCell {
    pub fn put(&self, event: Event) {
        self.outbox.put(event, Ringer::Cell);
    }

    pub fn call(&self, call: u64, tool: &str, input: &str) {
        let input = RawValue::from_string(input.to_owned()).expect("is JSON");
        self.put(Event::Call {
            call: CallId(call),
            invocation: ToolInvocation {
                session_id: self.session.clone(),
                cell_id: self.id.clone(),
                call_id: format!("tool-{call}"),
                exec_call_id: "call".to_owned(),
                tool_name: ToolName {
                    name: tool.to_owned(),
                    namespace: None,
                },
                tool_kind: ToolKind::Function,
                input,
            },
        });
    }

    pub fn notify(&self, call: u64, text: &str) {
        self.put(Event::Notify {
            call: CallId(call),
            notification: Notification {
                session_id: self.session.clone(),
                cell_id: self.id.clone(),
                exec_call_id: "call".to_owned(),
                text: text.to_owned(),
            },
        });
    }

    pub fn observed(&self, ask: AskId, status: CellStatus, text: &str) {
        self.put(Event::Observed {
            ask,
            response: self.response(status, text),
        });
    }

    pub fn response(&self, status: CellStatus, text: &str) -> CellResponse {
        CellResponse {
            cell_id: self.id.clone(),
            status,
            content_items: vec![ContentItem::Text(text.to_owned())],
            timings: CellTimings::default(),
            state_lost: None,
        }
    }

    pub fn closed(&self) {
        self.put(Event::CellClosed {
            cell_id: self.id.clone(),
        });
    }
}

/// Makes connections to a served door.
#[derive(Clone)]
struct Connector {
    served: Served,
    owner: Owner,
    tokens: Option<Arc<Tokens>>,
    drain: CancellationSignal,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<DuplexStream>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let served = self.served.clone();
        let options = ConnectionOptions {
            owner: self.owner.clone(),
            tokens: self.tokens.clone(),
            keepalive: false,
            drain: self.drain.clone(),
        };
        tokio::spawn(async move { serve_connection(&served, theirs, options).await });
        std::future::ready(Ok(TokioIo::new(ours)))
    }
}

pub type Client = CodeModeHostClient<Channel>;

/// A door, the sessions behind it, and what drains it.
pub struct Fixture {
    pub served: Served,
    pub opened: mpsc::UnboundedReceiver<PlayedSession>,
    pub drain: CancellationSignal,
    /// What requests must show, on connections that are made from now on.
    pub tokens: Option<Arc<Tokens>>,
}

impl Fixture {
    pub async fn new() -> Self {
        let (opened, sessions) = mpsc::unbounded_channel();
        let door = Door::new(Arc::new(Played { opened }));
        Self {
            served: Served::new(door).await,
            opened: sessions,
            drain: CancellationSignal::new(),
            tokens: None,
        }
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        self.channel_of(Owner::of_new_connection()).await
    }

    /// A connection on which `owner` speaks.
    pub async fn channel_of(&self, owner: Owner) -> Channel {
        let connector = Connector {
            served: self.served.clone(),
            owner,
            tokens: self.tokens.clone(),
            drain: self.drain.clone(),
        };
        Endpoint::from_static("http://code-mode-host")
            .connect_with_connector(connector)
            .await
            .expect("it connects")
    }

    pub async fn client(&self) -> Client {
        CodeModeHostClient::new(self.channel().await)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// A connection of its own for a client that makes its own frames, and what serves it.
    pub fn io(&self) -> (DuplexStream, JoinHandle<Result<(), hyper::Error>>) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let served = self.served.clone();
        let options = ConnectionOptions {
            owner: Owner::of_new_connection(),
            tokens: self.tokens.clone(),
            keepalive: false,
            drain: self.drain.clone(),
        };
        let serving = async move { serve_connection(&served, theirs, options).await };
        (ours, tokio::spawn(serving))
    }

    /// Opens a session, and gives both its sides.
    pub async fn open(
        &mut self,
        client: &mut Client,
        request: v1::OpenSessionRequest,
    ) -> (Lease, PlayedSession) {
        let opened = client.open_session(request).await.expect("it opens");
        let mut lease = Lease {
            events: opened.into_inner(),
            id: String::new(),
        };
        let v1::session_event::Event::Opened(opened) = lease.event().await else {
            panic!("the first event is another");
        };
        lease.id = opened.session_id;
        let session = self.opened.recv().await.expect("it was opened");
        assert_eq!(session.id.as_str(), lease.id);
        (lease, session)
    }
}

/// The client's lease of a session.
pub struct Lease {
    pub events: Streaming<v1::SessionEvent>,
    pub id: String,
}

impl Lease {
    pub async fn event(&mut self) -> v1::session_event::Event {
        let event = self.events.message().await.expect("no error");
        event.expect("it goes on").event.expect("it is known")
    }

    pub fn execute(&self, execution_id: &str) -> v1::ExecuteRequest {
        v1::ExecuteRequest {
            session_id: self.id.clone(),
            execution_id: execution_id.to_owned(),
            tool_call_id: "call".to_owned(),
            source: "text(1)".to_owned(),
            ..Default::default()
        }
    }

    pub fn wait(&self, cell: &str, wait_id: &str) -> v1::WaitRequest {
        v1::WaitRequest {
            session_id: self.id.clone(),
            cell_id: cell.to_owned(),
            wait_id: wait_id.to_owned(),
            yield_time_ms: 1_000,
            max_output_tokens: None,
        }
    }

    pub fn subscribe(&self, names: &[&str]) -> v1::SubscribeToToolCallsRequest {
        v1::SubscribeToToolCallsRequest {
            session_id: self.id.clone(),
            tool_names: names
                .iter()
                .map(|name| v1::ToolName {
                    name: (*name).to_owned(),
                    namespace: None,
                })
                .collect(),
        }
    }

    pub fn complete(&self, invocation: &str, output: &'static str) -> v1::CompleteToolCallRequest {
        use v1::complete_tool_call_request::Outcome;
        v1::CompleteToolCallRequest {
            session_id: self.id.clone(),
            invocation_id: invocation.to_owned(),
            outcome: Some(Outcome::Succeeded(v1::ToolCallSucceeded {
                output_json: output.as_bytes().into(),
            })),
        }
    }
}

/// The code and message of a refusal.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("it is refused");
    (status.code(), status.message().to_owned())
}

pub async fn started(events: &mut Streaming<v1::ExecuteEvent>) -> v1::ExecutionStarted {
    let event = events
        .message()
        .await
        .expect("no error")
        .expect("it goes on");
    match event.event {
        Some(v1::execute_event::Event::Started(started)) => started,
        other => panic!("{other:?}"),
    }
}

pub async fn outcome(events: &mut Streaming<v1::ExecuteEvent>) -> v1::ExecutionOutcome {
    let event = events
        .message()
        .await
        .expect("no error")
        .expect("it goes on");
    match event.event {
        Some(v1::execute_event::Event::Outcome(outcome)) => outcome,
        other => panic!("{other:?}"),
    }
}

pub fn completed() -> CellStatus {
    CellStatus::Completed { error_text: None }
}
