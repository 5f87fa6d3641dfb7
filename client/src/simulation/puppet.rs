// SPDX-License-Identifier: Apache-2.0
//! A host in memory that the test itself plays, message by message, in virtual time.

use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, CellResponse, CellStatus, CellTimings, CodeModeSession,
    ExecuteRequest, Notification, RawJson, SessionDelegate, SessionError, SessionId,
    SessionOptions, SessionProvider, ToolError, ToolInvocation, ToolKind, ToolName,
};
use code_mode_protocol::{
    AgreedCapabilities, CapabilitySet, ClientMessage, DelegateRequest, DelegateRequestId,
    EncodedFrame, Extension, FrameReader, FrameWriter, HostMessage, OperationRequest,
    OperationValue, ProtocolVersion, RequestId, WireError,
};
use tokio::io::{AsyncRead, AsyncReadExt, DuplexStream, ReadBuf, duplex};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::delegate::Delegate;
use super::rng::Rng;
use crate::config::ProviderConfig;
use crate::hosts::Launcher;
use crate::process::{Exit, HostOutput, HostProcess, Link, SpawnError};
use crate::provider::ProcessSessionProvider;

/// Bytes that the simulated pipes hold.
const PIPE_BYTES: usize = 1 << 20;
/// Guards against a hang, in real time.
const GUARD: Duration = Duration::from_secs(30);

/// Hands each launched host to the test.
struct PuppetLauncher(mpsc::UnboundedSender<Puppet>);

/// What is read, over and over, after the puppet has shut its output down; nothing by default.
#[derive(Default)]
struct Endless {
    bytes: Arc<Mutex<Vec<u8>>>,
    position: usize,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // Like every source of tokio's own.
        let progress = ready!(tokio::task::coop::poll_proceed(context));
        progress.made_progress();
        let bytes = Arc::clone(&self.bytes);
        let bytes = bytes.lock().expect("no panic");
        let part = &bytes[self.position..];
        let part = &part[..part.len().min(buffer.remaining())];
        buffer.put_slice(part);
        self.position = (self.position + part.len()) % bytes.len().max(1);
        Poll::Ready(Ok(()))
    }
}

struct Puppet {
    endless: Arc<Mutex<Vec<u8>>>,
    input: FrameReader<DuplexStream>,
    output: FrameWriter<DuplexStream>,
    exit: Arc<watch::Sender<Option<Exit>>>,
}

impl Launcher for PuppetLauncher {
    fn launch(&self) -> BoxFuture<'_, Result<Link, SpawnError>> {
        let (client_input, host_input) = duplex(PIPE_BYTES);
        let (host_output, client_output) = duplex(PIPE_BYTES);
        let (exit_sender, exit) = watch::channel(None);
        let exit_sender = Arc::new(exit_sender);
        let endless = Endless::default();
        let puppet = Puppet {
            endless: Arc::clone(&endless.bytes),
            input: FrameReader::new(host_input),
            output: FrameWriter::new(host_output),
            exit: Arc::clone(&exit_sender),
        };
        self.0
            .send(puppet)
            .unwrap_or_else(|_| panic!("the test plays the host"));
        let kill = move || {
            let killed = Exit(ExitStatus::from_raw(libc::SIGKILL));
            exit_sender.send_modify(|exit| {
                exit.get_or_insert(killed);
            });
        };
        let process = HostProcess::simulated(exit, kill);
        let link = Link {
            input: Box::new(client_input),
            output: HostOutput::of_stream(Box::new(client_output.chain(endless))),
            process,
            sent: None,
        };
        Box::pin(async move { Ok(link) })
    }
}

impl Puppet {
    async fn next(&mut self) -> ClientMessage {
        let message = self.input.next_message(&store()).await;
        message.expect("a message").expect("the client is there")
    }

    async fn request(&mut self) -> (RequestId, OperationRequest) {
        match self.next().await {
            ClientMessage::OperationRequest { id, request } => (id, request),
            other => panic!("must be a request: {other:?}"),
        }
    }

    async fn send(&mut self, message: HostMessage) {
        let frame = EncodedFrame::encode(&message, &store()).expect("a frame");
        self.output.write(&frame).await.expect("written");
    }

    async fn answer(&mut self, id: RequestId, result: Result<OperationValue, WireError>) {
        self.send(HostMessage::OperationResponse { id, result })
            .await;
    }

    async fn refuse_next(&mut self) {
        let (id, _) = self.request().await;
        self.answer(id, Err(WireError::new("no"))).await;
    }

    async fn open(&mut self) {
        self.open_with(CapabilitySet::empty()).await;
    }

    async fn open_with(&mut self, capabilities: CapabilitySet) {
        self.next().await;
        let selected_version = ProtocolVersion::V1;
        self.send(HostMessage::Ready {
            selected_version,
            capabilities,
        })
        .await;
        let (id, request) = self.request().await;
        let session_id = request.session_id().clone();
        let result = Ok(OperationValue::SessionReady { session_id });
        self.answer(id, result).await;
    }
}

/// What some puppets agree to.
fn store() -> AgreedCapabilities {
    AgreedCapabilities::new(Extension::capabilities(&[Extension::Store]))
}

/// A provider, a session of it, and the hosts that it will start.
async fn stage(
    config: ProviderConfig,
) -> (
    ProcessSessionProvider,
    Arc<dyn CodeModeSession>,
    mpsc::UnboundedReceiver<Puppet>,
) {
    let (sender, puppets) = mpsc::unbounded_channel();
    let launcher = Box::new(PuppetLauncher(sender));
    let provider = ProcessSessionProvider::with_launcher(Arc::new(config), launcher);
    let delegate = Delegate::new(Rng::new(1));
    let session = provider
        .open_session(SessionOptions::default(), delegate)
        .await;
    (provider, session.expect("a session"), puppets)
}

fn execute(session: &Arc<dyn CodeModeSession>) -> tokio::task::JoinHandle<Option<SessionError>> {
    let session = Arc::clone(session);
    tokio::spawn(async move { session.execute(ExecuteRequest::new("text(1)")).await.err() })
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_100_ms_for_bad_news() {
    let (_provider, session, mut puppets) = stage(ProviderConfig::new("a puppet")).await;
    let call = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    puppet.request().await;
    // It is dead, but a child of it holds the pipes open and says nothing.
    puppet
        .exit
        .send_replace(Some(Exit(ExitStatus::from_raw(libc::SIGSEGV))));
    let death = Instant::now();
    let error = call.await.expect("no panic").expect("the host is dead");
    assert!(matches!(error, SessionError::RuntimeLost { .. }), "{error}");
    assert!(
        death.elapsed() <= Duration::from_millis(100),
        "{:?}",
        death.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn callers_beyond_the_bound_wait_for_a_slot() {
    let mut config = ProviderConfig::new("a puppet");
    config.limits.max_calls = 1;
    let (_provider, session, mut puppets) = stage(config).await;
    let calls = [execute(&session), execute(&session)];
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    let (first, _) = puppet.request().await;
    let second = timeout(Duration::from_secs(1), puppet.request()).await;
    assert!(second.is_err(), "the second call must wait");
    let refusal = || Err(WireError::new("no"));
    puppet
        .send(HostMessage::OperationResponse {
            id: first,
            result: refusal(),
        })
        .await;
    let (second, _) = puppet.request().await;
    puppet
        .send(HostMessage::OperationResponse {
            id: second,
            result: refusal(),
        })
        .await;
    for call in calls {
        let error = call.await.expect("no panic").expect("refused");
        assert!(matches!(error, SessionError::Refused { .. }), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_beyond_the_outgoing_bytes_wait_for_the_host_to_read() {
    let mut config = ProviderConfig::new("a puppet");
    config.limits.max_outgoing_bytes = 1;
    let (_provider, session, mut puppets) = stage(config).await;
    let first = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    puppet.request().await;
    // Fills the pipe, so that this frame keeps the whole budget.
    let large = {
        let session = Arc::clone(&session);
        let source = "x".repeat(4 << 20);
        tokio::spawn(async move { session.execute(ExecuteRequest::new(source)).await.err() })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let third = execute(&session);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for call in [&first, &large, &third] {
        assert!(!call.is_finished(), "nothing was answered");
    }
    let (_, request) = puppet.request().await;
    assert!(
        matches!(request, OperationRequest::Execute { request, .. } if request.source.len() > 4)
    );
    let (_, request) = puppet.request().await;
    assert!(
        matches!(request, OperationRequest::Execute { request, .. } if request.source.len() < 10)
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_read_has_failed_after_the_write_deadline() {
    let mut config = ProviderConfig::new("a puppet");
    config.deadlines.write = Duration::from_secs(3);
    let (_provider, session, mut puppets) = stage(config).await;
    let first = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    puppet.request().await;
    let begun = Instant::now();
    let source = "x".repeat(2 * PIPE_BYTES);
    let large = session.execute(ExecuteRequest::new(source)).await;
    let error = large.err().expect("the host does not read").to_string();
    assert!(
        error.contains("has not read its input for 3000 ms"),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_millis(3100));
    first.await.expect("no panic").expect("the host has failed");
    // The input ends within the frame, although the driver is still about to see the host end.
    assert!(puppet.input.next_payload().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_shut_down_is_never_stuck_on_a_full_pipe() {
    let mut config = ProviderConfig::new("a puppet");
    config.deadlines.shutdown = Duration::from_secs(3);
    let (provider, session, mut puppets) = stage(config).await;
    let call = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    puppet.request().await;
    // A frame on its way to the host is cut short by the end.
    let source = "x".repeat(2 * PIPE_BYTES);
    let large = {
        let session = Arc::clone(&session);
        tokio::spawn(async move { session.execute(ExecuteRequest::new(source)).await.err() })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let shutdown = tokio::spawn(async move { provider.shutdown().await });
    for call in [call, large] {
        call.await.expect("no panic").expect("the host is over");
    }
    assert!(puppet.input.next_payload().await.is_err());
    let last_words = HostMessage::OperationResponse {
        id: RequestId::new(-1),
        result: Err(WireError::new("x".repeat(PIPE_BYTES))),
    };
    for _ in 0..3 {
        let heard = timeout(Duration::from_secs(1), puppet.send(last_words.clone())).await;
        heard.expect("the client takes it");
    }
    puppet
        .exit
        .send_replace(Some(Exit(ExitStatus::from_raw(0))));
    shutdown.await.expect("no panic");
}

#[tokio::test]
async fn a_host_that_never_stops_talking_starves_no_caller() {
    let (_provider, session, mut puppets) = stage(ProviderConfig::new("a puppet")).await;
    let _first = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    puppet.request().await;
    let cancel = HostMessage::DelegateCancel {
        id: DelegateRequestId::new(-1),
    };
    let frame = EncodedFrame::encode(&cancel, &AgreedCapabilities::none()).expect("a frame");
    let frames = frame.as_bytes().repeat(1000);
    *puppet.endless.lock().expect("no panic") = frames;
    // What follows its own output now never ends and is always there.
    puppet.output.shutdown().await.expect("an end");
    let _second = execute(&session);
    let heard = timeout(GUARD, puppet.input.next_payload()).await;
    heard
        .expect("in time")
        .expect("a frame")
        .expect("the input is open");
}

#[tokio::test(start_paused = true)]
async fn several_sessions_share_one_start_of_a_host() {
    let (provider, first, mut puppets) = stage(ProviderConfig::new("a puppet")).await;
    let delegate = Delegate::new(Rng::new(2));
    let second = provider
        .open_session(SessionOptions::default(), delegate)
        .await;
    let second = second.expect("a session");
    let calls = [execute(&first), execute(&second)];
    let puppet = puppets.recv().await.expect("a host");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(puppets.try_recv().is_err(), "one host for both");
    puppet
        .exit
        .send_replace(Some(Exit(ExitStatus::from_raw(256))));
    drop(puppet);
    for call in calls {
        let error = call.await.expect("no panic").expect("the host is dead");
        assert!(matches!(error, SessionError::StartFailed { .. }), "{error}");
    }
    let begun = Instant::now();
    // The first failure costs no pause; from the second on there is one.
    for _ in 0..2 {
        let call = execute(&first);
        let puppet = puppets.recv().await.expect("another try");
        puppet
            .exit
            .send_replace(Some(Exit(ExitStatus::from_raw(256))));
        drop(puppet);
        call.await.expect("no panic");
    }
    assert!(
        begun.elapsed() >= crate::FIRST_RESTART_PAUSE,
        "{:?}",
        begun.elapsed()
    );
}

fn tool_call(id: i64, session_id: &SessionId) -> HostMessage {
    HostMessage::DelegateRequest {
        id: DelegateRequestId::new(id),
        request: DelegateRequest::ToolInvoke {
            invocation: ToolInvocation {
                session_id: session_id.clone(),
                cell_id: CellId::new("1"),
                call_id: format!("tool-{id}"),
                exec_call_id: String::new(),
                tool_name: ToolName {
                    name: "t".to_owned(),
                    namespace: None,
                },
                tool_kind: ToolKind::Function,
                input: serde_json::value::RawValue::NULL.to_owned(),
            },
        },
    }
}

impl Puppet {
    /// Starts the cell of the execute that comes next.
    async fn start_cell(&mut self) -> SessionId {
        let (id, request) = self.request().await;
        let cell_id = CellId::new("1");
        let result = Ok(OperationValue::ExecutionStarted { cell_id });
        self.answer(id, result).await;
        request.session_id().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_calls_without_end_and_reads_no_answer_is_held_back() {
    let mut config = ProviderConfig::new("a puppet");
    config.limits.max_delegate_calls = 0;
    let (_provider, session, mut puppets) = stage(config).await;
    let _call = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    let session_id = puppet.start_cell().await;
    let most = 4 * crate::connection::MAX_OWN_BYTES / 100;
    let mut calls = 0;
    while calls < most {
        let call = tool_call(calls as i64, &session_id);
        let sent = timeout(Duration::from_secs(1), puppet.send(call)).await;
        if sent.is_err() {
            break;
        }
        calls += 1;
    }
    assert!(calls < most, "the client has taken {calls} calls");
    // Once the host reads, it gets every answer, also to the calls that lay in the pipe.
    for _ in 0..calls {
        let answer = timeout(Duration::from_secs(1), puppet.next()).await;
        let answer = answer.expect("in time");
        assert!(
            matches!(answer, ClientMessage::DelegateResponse { .. }),
            "{answer:?}"
        );
    }
}

/// A tool that says when its signal has fired and, 900 ms later, that it has made an end.
struct Orderly(mpsc::UnboundedSender<&'static str>);

impl SessionDelegate for Orderly {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let heard = self.0.clone();
        let patient = invocation.call_id == "tool-1";
        Box::pin(async move {
            let _ = heard.send("called");
            cancel.cancelled().await;
            let _ = heard.send("cancelled");
            if !patient {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(crate::CANCEL_GRACE * 9 / 10).await;
            let _ = heard.send("made an end");
            Err(ToolError::new("cancelled"))
        })
    }

    fn notify(
        &self,
        _: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }

    fn cell_closed(&self, _: &SessionId, _: &CellId) {
        let _ = self.0.send("closed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_has_a_second_to_act_on_its_signal_and_is_then_dropped() {
    for (call, expected) in [
        (1, vec!["called", "cancelled", "made an end", "closed"]),
        (2, vec!["called", "cancelled", "closed"]),
    ] {
        let (sender, mut heard) = mpsc::unbounded_channel();
        let (provider, _, mut puppets) = stage(ProviderConfig::new("a puppet")).await;
        let session = provider
            .open_session(SessionOptions::default(), Arc::new(Orderly(sender)))
            .await
            .expect("a session");
        let execute = execute(&session);
        let mut puppet = puppets.recv().await.expect("a host");
        puppet.open().await;
        let session_id = puppet.start_cell().await;
        execute.await.expect("no panic");
        puppet.send(tool_call(call, &session_id)).await;
        assert_eq!(heard.recv().await, Some("called"));
        let begun = Instant::now();
        let id = DelegateRequestId::new(call);
        puppet.send(HostMessage::DelegateCancel { id }).await;
        // The execute was dropped with its task, so the client ends the cell.
        let mut all = vec!["called"];
        drop(puppet);
        drop((session, provider));
        while let Some(word) = heard.recv().await {
            all.push(word);
        }
        assert_eq!(all, expected);
        assert!(begun.elapsed() <= 2 * crate::CANCEL_GRACE);
    }
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_session_is_free_when_the_host_has_closed_it_and_not_before() {
    let mut config = ProviderConfig::new("a puppet");
    config.max_sessions = 2;
    let (provider, session, mut puppets) = stage(config).await;
    let open = async || {
        let delegate = Delegate::new(Rng::new(1));
        let options = SessionOptions::default();
        provider.open_session(options, delegate).await
    };
    let second = open().await.expect("there is room");
    assert!(open().await.is_err(), "both places are taken");
    second.shutdown().await.expect("it was never bound");
    let third = open().await.expect("shut down, although it is still held");

    let call = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open().await;
    puppet.start_cell().await;
    call.await.expect("no panic");
    drop(session);
    // The cell that nobody took is ended, and the session is closed; but the host has not said so.
    let id = loop {
        if let (id, OperationRequest::Shutdown { .. }) = puppet.request().await {
            break id;
        }
    };
    assert!(open().await.is_err(), "the host still has the session");
    let result = Err(WireError::new("too much to do"));
    puppet.answer(id, result).await;
    let (id, request) = puppet.request().await;
    assert!(open().await.is_err(), "the host still has the session");
    let session_id = request.session_id().clone();
    let result = Ok(OperationValue::SessionClosed { session_id });
    puppet.answer(id, result).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    open().await.expect("it is closed");
    drop(third);
}

/// Runs a cell of the session to its end and gives what its first response says of a loss.
async fn run_a_cell(
    session: &Arc<dyn CodeModeSession>,
    puppet: &mut Puppet,
) -> Option<code_mode_api::StateLost> {
    let running = {
        let session = Arc::clone(session);
        tokio::spawn(async move {
            let started = session.execute(ExecuteRequest::new("text(1)")).await;
            started.expect("started").first_response.await
        })
    };
    let (id, _) = puppet.request().await;
    let cell_id = CellId::new("1");
    let result = Ok(OperationValue::ExecutionStarted {
        cell_id: cell_id.clone(),
    });
    puppet.answer(id, result).await;
    let result = Ok(CellResponse {
        cell_id,
        status: CellStatus::Completed { error_text: None },
        content_items: Vec::new(),
        timings: CellTimings::default(),
        state_lost: None,
    });
    puppet
        .send(HostMessage::ExecuteInitialResponse { id, result })
        .await;
    let response = running.await.expect("no panic").expect("a response");
    response.state_lost
}

#[tokio::test(start_paused = true)]
async fn stored_values_are_put_back_on_a_fresh_host_and_the_response_says_so() {
    let mut config = ProviderConfig::new("a puppet");
    config.keep_store = true;
    let (_provider, session, mut puppets) = stage(config).await;
    let values: std::collections::BTreeMap<_, _> = [(
        "n".to_owned(),
        serde_json::value::RawValue::from_string("1".to_owned()).expect("JSON"),
    )]
    .into();
    let first_use = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open_with(store().as_set().clone()).await;
    puppet.refuse_next().await;
    first_use.await.expect("no panic").expect("refused");
    assert_eq!(run_a_cell(&session, &mut puppet).await, None);
    let (id, request) = puppet.request().await;
    assert!(matches!(request, OperationRequest::ExportStore { .. }));
    let result = Ok(OperationValue::StoreExported {
        values: values.clone(),
    });
    puppet.answer(id, result).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    puppet
        .exit
        .send_replace(Some(Exit(ExitStatus::from_raw(libc::SIGKILL))));
    drop(puppet);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let copied = session.export_store().await.expect("the copy");
    assert_eq!(copied["n"].get(), "1");

    let session_too = Arc::clone(&session);
    let again = tokio::spawn(async move {
        let mut puppet = puppets.recv().await.expect("another host");
        puppet.open_with(store().as_set().clone()).await;
        let (id, request) = puppet.request().await;
        let OperationRequest::ImportStore { values, .. } = request else {
            panic!("the values come first: {request:?}");
        };
        let result = Ok(OperationValue::StoreImported {});
        puppet.answer(id, result).await;
        (puppet, values)
    });
    // The wish for a cell is what brings the host; it is answered once the values are there.
    let wish = execute(&session_too);
    let (mut puppet, put_back) = again.await.expect("no panic");
    assert_eq!(
        serde_json::to_string(&put_back).expect("JSON"),
        serde_json::to_string(&values).expect("JSON")
    );
    puppet.refuse_next().await;
    wish.await.expect("no panic").expect("refused");
    let lost = run_a_cell(&session, &mut puppet).await.expect("is told");
    let restored = code_mode_api::RestoredStore {
        values: 1,
        is_current: true,
    };
    assert_eq!(lost.restored, Some(restored));
}

#[tokio::test(start_paused = true)]
async fn a_session_may_keep_no_copy_where_others_do() {
    let mut config = ProviderConfig::new("a puppet");
    config.keep_store = true;
    let (provider, _other, mut puppets) = stage(config).await;
    let options = SessionOptions {
        keep_store: Some(false),
        ..SessionOptions::default()
    };
    let opened = provider.open_session(options, Delegate::new(Rng::new(1)));
    let session = opened.await.expect("a session");
    let first_use = execute(&session);
    let mut puppet = puppets.recv().await.expect("a host");
    puppet.open_with(store().as_set().clone()).await;
    puppet.refuse_next().await;
    first_use.await.expect("no panic").expect("refused");
    assert_eq!(run_a_cell(&session, &mut puppet).await, None);
    // Nobody has asked for the values, so this is the first request after the cell.
    let wish = execute(&session);
    let (_, request) = puppet.request().await;
    assert!(
        matches!(request, OperationRequest::Execute { .. }),
        "{request:?}"
    );
    puppet
        .exit
        .send_replace(Some(Exit(ExitStatus::from_raw(libc::SIGKILL))));
    drop(puppet);
    wish.await.expect("no panic").expect("the host is dead");
    let lost = session.export_store().await.expect_err("nobody has them");
    assert!(matches!(lost, SessionError::RuntimeLost { .. }), "{lost}");
}
