// SPDX-License-Identifier: Apache-2.0
//! One session: its lease, its calls, and the order that V1 promises of them.
//!
//! The host's streams have no order among each other, except that what it sends first on the connection
//! comes first. So before an answer is handed on, whatever the lease and the calls hold by then is; calls
//! that come before their cell has started, and the closure of a cell before its outcome or its last call,
//! wait for it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use code_mode_grpc::extensions as ours;
use code_mode_grpc::extensions::code_mode_extensions_client::CodeModeExtensionsClient;
use code_mode_grpc::tonic::codegen::tokio_stream::Stream;
use code_mode_grpc::tonic::{Code, Status, Streaming};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_protocol::{
    CellId, DelegateError, DelegateRequest, DelegateRequestId, DelegateValue, HostMessage,
    OperationRequest, OperationValue, RequestId, SessionId, SideEffects, WaitOutcome, WireError,
};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::bridge::Tell;
use crate::cells::{Cells, Ready};
use crate::frames;
use crate::wire::{Requests, is_lost, why};

/// Bits of a delegate request's id that count within one session; the others have the session's number.
const CALL_BITS: u32 = 40;

/// Answers of calls that are under way that may wait for the session.
const ANSWERS: usize = 64;

/// The metadata that says how long a result had waited for its observer, in nanoseconds.
const BUFFERED_FOR: &str = "codex-code-mode-result-buffered-for-ns";

/// The number of the session that has given an id.
pub(crate) fn number_of(id: DelegateRequestId) -> i64 {
    id.get() >> CALL_BITS
}

/// What the client wants of a session.
pub(crate) enum Wish {
    /// It asks.
    Asked {
        id: RequestId,
        request: OperationRequest,
    },
    /// It waits for an answer no longer; the request may be another session's.
    Cancelled { id: RequestId },
    /// It answers a call or notification.
    Answered {
        id: DelegateRequestId,
        result: Result<DelegateValue, DelegateError>,
    },
}

/// A session that is to be opened.
pub(crate) struct Opening {
    /// The client's request.
    pub(crate) request: RequestId,
    pub(crate) session_id: SessionId,
    /// The session's number on its connection, from 1.
    pub(crate) number: i64,
    pub(crate) host: CodeModeHostClient<Requests>,
    pub(crate) extensions: CodeModeExtensionsClient<Requests>,
    pub(crate) tell: Tell,
}

/// What a task that makes one call has to say.
enum Said {
    Started {
        id: RequestId,
        started: v1::ExecutionStarted,
    },
    /// The one outcome of an execute; `None` when the host gave none, which closing a session does.
    Outcome {
        id: RequestId,
        outcome: Result<Option<v1::ExecutionOutcome>, Status>,
    },
    /// The answer of everything else.
    Answer {
        id: RequestId,
        result: Result<OperationValue, WireError>,
    },
    /// The session is closed.
    Closed { id: RequestId },
}

/// A call or notification that the client has not answered.
enum Open {
    Call(String),
    Notification(String),
}

/// A request of the client that has not been answered in full.
enum Asked {
    /// An execute without an outcome, and the task that reads its stream.
    Execute(AbortHandle),
    /// A wait; whether the client has taken it back.
    Wait {
        cell_id: CellId,
        cancelled: bool,
    },
    Other,
}

struct Session {
    opening: Opening,
    /// The host's own id.
    id: String,
    cells: Cells,
    asked: HashMap<RequestId, Asked>,
    /// The client has asked for the session's end.
    closing: bool,
    /// The host has closed the session; the request to answer when all others are.
    closed: Option<RequestId>,
    /// The lease has ended, as it does when the session is closed.
    lease_ended: bool,
    open: HashMap<DelegateRequestId, Open>,
    next_call: i64,
    said: mpsc::Sender<Said>,
    tasks: JoinSet<()>,
}

/// Opens a session and serves it until it is closed; its lease ends with this.
pub(crate) async fn run(opening: Opening, mut wishes: mpsc::Receiver<Wish>) {
    let tell = opening.tell.clone();
    let request = opening.request;
    match open(opening).await {
        Ok((mut session, mut lease, mut calls, mut said)) => {
            let session_id = session.opening.session_id.clone();
            let value = OperationValue::SessionReady { session_id };
            session.answer(request, Ok(value)).await;
            session
                .serve(&mut wishes, &mut lease, &mut calls, &mut said)
                .await;
        }
        Err(status) if is_lost(&status) => tell.lost(why(&status)),
        Err(status) => {
            let result = Err(frames::error(&status, SideEffects::None));
            let id = request;
            tell.client(HostMessage::OperationResponse { id, result })
                .await;
        }
    }
}

type Opened = (
    Session,
    Streaming<v1::SessionEvent>,
    Streaming<v1::ToolCall>,
    mpsc::Receiver<Said>,
);

async fn open(mut opening: Opening) -> Result<Opened, Status> {
    use v1::session_event::Event;
    let lease = opening.host.open_session(v1::OpenSessionRequest::default());
    let mut lease = lease.await?.into_inner();
    let id = match lease.message().await?.and_then(|event| event.event) {
        Some(Event::Opened(opened)) => opened.session_id,
        _ => {
            return Err(Status::internal(
                "a lease that does not begin with `opened`",
            ));
        }
    };
    let every_tool = v1::SubscribeToToolCallsRequest {
        session_id: id.clone(),
        tool_names: Vec::new(),
    };
    let calls = opening.host.subscribe_to_tool_calls(every_tool).await?;
    let (sender, said) = mpsc::channel(ANSWERS);
    let session = Session {
        opening,
        id,
        cells: Cells::default(),
        asked: HashMap::new(),
        closing: false,
        closed: None,
        lease_ended: false,
        open: HashMap::new(),
        next_call: 1,
        said: sender,
        tasks: JoinSet::new(),
    };
    Ok((session, lease, calls.into_inner(), said))
}

/// What a stream holds now; `None` when nothing.
async fn now<T>(stream: &mut Streaming<T>) -> Option<Result<T, Status>> {
    let stream = &mut *stream;
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *stream).poll_next(context) {
            Poll::Ready(next) => next,
            Poll::Pending => None,
        })
    })
    .await
}

impl Session {
    async fn serve(
        &mut self,
        wishes: &mut mpsc::Receiver<Wish>,
        lease: &mut Streaming<v1::SessionEvent>,
        calls: &mut Streaming<v1::ToolCall>,
        said: &mut mpsc::Receiver<Said>,
    ) {
        loop {
            tokio::select! {
                biased;
                event = lease.message(), if !self.lease_ended => match event {
                    Ok(Some(event)) => self.event(event).await,
                    Ok(None) if self.closing => self.lease_ended = true,
                    Ok(None) => return self.lost("the host has ended the session"),
                    Err(status) => return self.lost(why(&status)),
                },
                call = calls.message(), if !self.closing => match call {
                    Ok(Some(call)) => self.call(call).await,
                    Ok(None) => return self.lost("the host gives out no calls any more"),
                    Err(status) => return self.lost(why(&status)),
                },
                Some(said) = said.recv() => {
                    while let Some(Ok(event)) = now(lease).await {
                        self.event(event).await;
                    }
                    while let Some(Ok(call)) = now(calls).await {
                        self.call(call).await;
                    }
                    self.said(said).await;
                }
                wish = wishes.recv() => match wish {
                    Some(wish) => self.wish(wish).await,
                    None => return,
                },
                Some(_) = self.tasks.join_next() => {}
            }
            if let Some(id) = self.closed
                && self.asked.is_empty()
            {
                let session_id = self.opening.session_id.clone();
                let value = OperationValue::SessionClosed { session_id };
                return self.answer(id, Ok(value)).await;
            }
        }
    }

    fn lost(&self, why: impl Into<String>) {
        self.opening.tell.lost(why);
    }

    async fn answer(&self, id: RequestId, result: Result<OperationValue, WireError>) {
        let message = HostMessage::OperationResponse { id, result };
        self.opening.tell.client(message).await;
    }

    async fn tell_all(&self, ready: impl IntoIterator<Item = Ready>) {
        for ready in ready {
            let session_id = self.opening.session_id.clone();
            let message = match ready {
                Ready::Closed(cell_id) => HostMessage::CellClosed {
                    session_id,
                    cell_id,
                },
                Ready::Request(id, request) => HostMessage::DelegateRequest {
                    id,
                    session_id,
                    request: *request,
                },
            };
            self.opening.tell.client(message).await;
        }
    }

    fn next_id(&mut self) -> DelegateRequestId {
        let id = self.opening.number << CALL_BITS | self.next_call;
        self.next_call += 1;
        DelegateRequestId::new(id)
    }

    async fn event(&mut self, event: v1::SessionEvent) {
        use v1::session_event::Event;
        match event.event {
            Some(Event::ToolCallCancelled(cancelled)) => {
                let invocation = cancelled.invocation_id;
                let id = self.open.iter().find_map(|(id, open)| {
                    matches!(open, Open::Call(known) if *known == invocation).then_some(*id)
                });
                match id {
                    Some(id) => self.cancel(id).await,
                    None => self.cells.cancelled_early(invocation),
                }
            }
            Some(Event::Notification(notification)) => {
                let Some(execute) = self.cells.find(&notification.execution_id) else {
                    return;
                };
                let Ok(cell_id) = CellId::new(&notification.cell_id) else {
                    return self.lost("a notification of no cell");
                };
                let id = self.next_id();
                let known = Open::Notification(notification.notification_id);
                self.open.insert(id, known);
                let request = DelegateRequest::NotificationSend {
                    call_id: notification.call_id,
                    cell_id,
                    text: notification.text,
                };
                let ready = self.cells.request(execute, id, request);
                self.tell_all(ready).await;
            }
            Some(Event::NotificationCancelled(cancelled)) => {
                let notification = cancelled.notification_id;
                let id = self.open.iter().find_map(|(id, open)| {
                    matches!(open, Open::Notification(known) if *known == notification)
                        .then_some(*id)
                });
                if let Some(id) = id {
                    self.cancel(id).await;
                }
            }
            Some(Event::CellClosed(closed)) => {
                if let Some(execute) = self.cells.find(&closed.execution_id) {
                    let last = closed.final_tool_call_sequence;
                    let ready = self.cells.close(execute, last);
                    self.tell_all(ready).await;
                }
            }
            Some(Event::Opened(_)) => self.lost("a lease that begins twice"),
            // A newer host may say what this client does not know.
            None => {}
        }
    }

    /// The host waits for this no longer.
    async fn cancel(&mut self, id: DelegateRequestId) {
        self.open.remove(&id);
        if !self.cells.forget(id) {
            let message = HostMessage::DelegateCancel { id };
            self.opening.tell.client(message).await;
        }
    }

    async fn call(&mut self, call: v1::ToolCall) {
        let (invocation_id, sequence) = (call.invocation_id.clone(), call.sequence);
        let is_wanted = self.cells.is_wanted(&invocation_id);
        let Some(execute) = self.cells.find(&call.execution_id) else {
            return;
        };
        if is_wanted {
            let invocation = match frames::invocation(call) {
                Ok(invocation) => invocation,
                Err(why) => return self.lost(why),
            };
            let id = self.next_id();
            self.open.insert(id, Open::Call(invocation_id));
            let request = DelegateRequest::ToolInvoke { invocation };
            let ready = self.cells.request(execute, id, request);
            self.tell_all(ready).await;
        }
        let ready = self.cells.seen(execute, sequence);
        self.tell_all(ready).await;
    }

    /// Hands on what a task has said.
    async fn said(&mut self, said: Said) {
        match said {
            Said::Started { id, started } => {
                if !self.asked.contains_key(&id) {
                    // It was taken back meanwhile; its stream is gone, and so is its cell.
                    return;
                }
                let Ok(cell_id) = CellId::new(&started.cell_id) else {
                    return self.lost("the start of no cell");
                };
                let value = OperationValue::ExecutionStarted {
                    cell_id: cell_id.clone(),
                };
                self.answer(id, Ok(value)).await;
                let ready = self.cells.started(id, cell_id);
                self.tell_all(ready).await;
            }
            Said::Outcome { id, outcome } => {
                // One that was taken back before its start has had its answer.
                if self.asked.remove(&id).is_some() {
                    self.outcome(id, outcome).await;
                }
            }
            Said::Answer { id, result } => {
                let asked = self.asked.remove(&id);
                let result = match (asked, result) {
                    // The host ends the waits of a session that it closes, and their cells.
                    (
                        Some(Asked::Wait {
                            cell_id,
                            cancelled: false,
                        }),
                        Err(error),
                    ) if self.closing && frames::is_cancellation(&error) => {
                        let outcome = WaitOutcome::LiveCell(frames::terminated(cell_id));
                        Ok(OperationValue::WaitCompleted { outcome })
                    }
                    (_, result) => result,
                };
                self.answer(id, result).await;
            }
            Said::Closed { id } => self.closed = Some(id),
        }
    }

    async fn outcome(
        &mut self,
        id: RequestId,
        outcome: Result<Option<v1::ExecutionOutcome>, Status>,
    ) {
        let started = self.cells.id(id);
        let result = match (outcome, started) {
            (Err(status), _) if is_lost(&status) => return self.lost(why(&status)),
            (Err(status), None) => {
                self.cells.abandon(id);
                let result = Err(frames::error(&status, SideEffects::None));
                return self.answer(id, result).await;
            }
            (Err(status), Some(_)) => Err(frames::error(&status, SideEffects::Possible)),
            (Ok(Some(outcome)), Some(_)) => match frames::response(outcome, None) {
                Ok(response) => Ok(response),
                Err(why) => return self.lost(why),
            },
            // Its session is being closed, and its cell has ended with it.
            (Ok(None), Some(cell_id)) if self.closing => Ok(frames::terminated(cell_id)),
            (Ok(None), _) => return self.lost("an execute without an outcome"),
            (Ok(Some(_)), None) => return self.lost("an outcome before its start"),
        };
        let message = HostMessage::ExecuteInitialResponse { id, result };
        self.opening.tell.client(message).await;
        let ready = self.cells.answered(id);
        self.tell_all(ready).await;
    }

    async fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Asked { id, request } => self.ask(id, request),
            Wish::Cancelled { id } => self.cancelled(id).await,
            Wish::Answered { id, result } => self.answered(id, result),
        }
    }

    fn ask(&mut self, id: RequestId, request: OperationRequest) {
        let said = self.said.clone();
        let tell = self.opening.tell.clone();
        let mut host = self.opening.host.clone();
        let mut extensions = self.opening.extensions.clone();
        let session_id = self.id.clone();
        match request {
            OperationRequest::Execute { request, .. } => {
                let asked = frames::execute(&session_id, id.get().to_string(), request);
                self.cells.begin(id);
                let task = self.tasks.spawn(async move {
                    let outcome = match host.execute(asked).await {
                        Ok(events) => follow(id, events.into_inner(), &said).await,
                        Err(status) => Err(status),
                    };
                    let _ = said.send(Said::Outcome { id, outcome }).await;
                });
                self.asked.insert(id, Asked::Execute(task));
            }
            OperationRequest::Wait { request, .. } => {
                let asked = v1::WaitRequest {
                    session_id,
                    cell_id: request.cell_id.to_string(),
                    wait_id: id.get().to_string(),
                    yield_time_ms: request.yield_time_ms.unwrap_or_default(),
                    max_output_tokens: None,
                };
                let wait = Asked::Wait {
                    cell_id: request.cell_id,
                    cancelled: false,
                };
                self.asked.insert(id, wait);
                self.tasks.spawn(async move {
                    let answered = host.wait(asked).await;
                    tell_answer(
                        id,
                        answered.map(observed),
                        SideEffects::Possible,
                        &said,
                        &tell,
                    )
                    .await;
                });
            }
            OperationRequest::Terminate { cell_id, .. } => {
                let asked = v1::TerminateRequest {
                    session_id,
                    cell_id: cell_id.to_string(),
                    max_output_tokens: None,
                };
                self.asked.insert(id, Asked::Other);
                self.tasks.spawn(async move {
                    let answered = host.terminate(asked).await;
                    tell_answer(
                        id,
                        answered.map(observed),
                        SideEffects::Possible,
                        &said,
                        &tell,
                    )
                    .await;
                });
            }
            OperationRequest::Shutdown { .. } => {
                self.closing = true;
                self.tasks.spawn(async move {
                    let closed = host.close_session(v1::CloseSessionRequest { session_id });
                    let _ = match closed.await {
                        Ok(_) => said.send(Said::Closed { id }).await,
                        // It had ended before.
                        Err(status) if status.code() == Code::NotFound => {
                            said.send(Said::Closed { id }).await
                        }
                        Err(status) => return tell.lost(why(&status)),
                    };
                });
            }
            OperationRequest::ExportStore { .. } => {
                self.asked.insert(id, Asked::Other);
                self.tasks.spawn(async move {
                    let asked = ours::ExportStoreRequest { session_id };
                    let exported = extensions.export_store(asked).await.map(|exported| {
                        let values = frames::values(exported.into_inner().values)?;
                        Ok(OperationValue::StoreExported { values })
                    });
                    tell_answer(id, exported, SideEffects::None, &said, &tell).await;
                });
            }
            OperationRequest::ImportStore { values, .. } => {
                self.asked.insert(id, Asked::Other);
                self.tasks.spawn(async move {
                    let asked = ours::ImportStoreRequest {
                        session_id,
                        values: frames::stored(values),
                    };
                    let imported = extensions.import_store(asked).await;
                    let imported = imported.map(|_| Ok(OperationValue::StoreImported {}));
                    tell_answer(id, imported, SideEffects::None, &said, &tell).await;
                });
            }
            // The bridge opens sessions.
            OperationRequest::Open { .. } => {}
        }
    }

    async fn cancelled(&mut self, id: RequestId) {
        match self.asked.get_mut(&id) {
            // A wait is over when the host has said so, and tells itself how it ended.
            Some(Asked::Wait { cancelled, .. }) => {
                *cancelled = true;
                let mut host = self.opening.host.clone();
                let asked = v1::CancelWaitRequest {
                    session_id: self.id.clone(),
                    wait_id: id.get().to_string(),
                };
                self.tasks.spawn(async move {
                    let _ = host.cancel_wait(asked).await;
                });
            }
            // The stream is dropped, and the host ends the cell if there is one by then. After its start,
            // the client itself has the cell terminated.
            Some(Asked::Execute(task)) if self.cells.id(id).is_none() => {
                task.abort();
                self.asked.remove(&id);
                self.cells.abandon(id);
                let status = Status::cancelled("the execute was cancelled");
                let result = Err(frames::error(&status, SideEffects::Possible));
                self.answer(id, result).await;
            }
            Some(Asked::Execute(_) | Asked::Other) | None => {}
        }
    }

    fn answered(&mut self, id: DelegateRequestId, result: Result<DelegateValue, DelegateError>) {
        use v1::complete_tool_call_request::Outcome;
        let mut host = self.opening.host.clone();
        let session_id = self.id.clone();
        let tell = self.opening.tell.clone();
        match self.open.remove(&id) {
            Some(Open::Call(invocation_id)) => {
                let failed = |message| Outcome::Failed(v1::ToolCallFailed { message });
                let outcome = match result {
                    Ok(DelegateValue::ToolResult { result }) => {
                        Outcome::Succeeded(v1::ToolCallSucceeded {
                            output_json: frames::bytes(result),
                        })
                    }
                    Ok(DelegateValue::NotificationDelivered {}) => {
                        failed("the client has answered something else".to_owned())
                    }
                    Err(error) => failed(error.message),
                };
                self.tasks.spawn(async move {
                    let asked = |outcome| v1::CompleteToolCallRequest {
                        session_id: session_id.clone(),
                        invocation_id: invocation_id.clone(),
                        outcome: Some(outcome),
                    };
                    let completed = host.complete_tool_call(asked(outcome)).await;
                    match completed {
                        Ok(_) => {}
                        Err(status) if is_lost(&status) => tell.lost(why(&status)),
                        // The call was cancelled meanwhile.
                        Err(status) if status.code() == Code::NotFound => {}
                        Err(status) => {
                            let message =
                                format!("the tool's result cannot be sent: {}", status.message());
                            let failed = failed(message);
                            if let Err(status) = host.complete_tool_call(asked(failed)).await {
                                tracing::warn!(%status, "a tool call could not be answered");
                            }
                        }
                    }
                });
            }
            Some(Open::Notification(notification_id)) => {
                self.tasks.spawn(async move {
                    let asked = v1::AcknowledgeNotificationRequest {
                        session_id,
                        notification_id,
                    };
                    if let Err(status) = host.acknowledge_notification(asked).await
                        && is_lost(&status)
                    {
                        tell.lost(why(&status));
                    }
                });
            }
            None => {}
        }
    }
}

/// Reads the events of an execute to its outcome.
async fn follow(
    id: RequestId,
    mut events: Streaming<v1::ExecuteEvent>,
    said: &mpsc::Sender<Said>,
) -> Result<Option<v1::ExecutionOutcome>, Status> {
    use v1::execute_event::Event;
    while let Some(event) = events.message().await? {
        match event.event {
            Some(Event::Started(started)) => {
                let _ = said.send(Said::Started { id, started }).await;
            }
            Some(Event::Outcome(outcome)) => return Ok(Some(outcome)),
            None => {}
        }
    }
    Ok(None)
}

/// What a wait or terminate gave.
fn observed(
    response: code_mode_grpc::tonic::Response<v1::WaitResponse>,
) -> Result<OperationValue, String> {
    use v1::wait_response::Outcome;
    let buffered_for = response.metadata().get(BUFFERED_FOR);
    let buffered_for = buffered_for.and_then(|time| time.to_str().ok()?.parse().ok());
    let outcome = match response.into_inner().outcome {
        Some(Outcome::LiveCell(outcome)) => {
            WaitOutcome::LiveCell(frames::response(outcome, buffered_for)?)
        }
        Some(Outcome::MissingCell(outcome)) => {
            WaitOutcome::MissingCell(frames::response(outcome, None)?)
        }
        None => return Err("an answer without an outcome".to_owned()),
    };
    Ok(OperationValue::WaitCompleted { outcome })
}

/// Says how a call went, or that it shows the connection to be lost.
async fn tell_answer(
    id: RequestId,
    answered: Result<Result<OperationValue, String>, Status>,
    side_effects: SideEffects,
    said: &mpsc::Sender<Said>,
    tell: &Tell,
) {
    let result = match answered {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => return tell.lost(why),
        Err(status) if is_lost(&status) => return tell.lost(why(&status)),
        Err(status) => Err(frames::error(&status, side_effects)),
    };
    let _ = said.send(Said::Answer { id, result }).await;
}
