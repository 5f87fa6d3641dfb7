// SPDX-License-Identifier: Apache-2.0
//! One session: its lease, its calls, and the order that V1 promises of them.
//!
//! The host's streams have no order among each other. What must come before something else is told before
//! it: calls wait for the start of their cell; a result waits until the lease has said that its cell is
//! closed, which it says last, until the last call has come, and until the client has taken the
//! notifications; and that the cell is closed is told after that.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use code_mode_api::{
    CellId, CellResponse, CellStatus, Notification, SessionId, SideEffects, ToolError,
};
use code_mode_client::SentExecutes;
use code_mode_grpc::extensions::code_mode_extensions_client::CodeModeExtensionsClient;
use code_mode_grpc::tonic::codegen::tokio_stream::Stream;
use code_mode_grpc::tonic::{Status, Streaming};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_protocol::{
    DelegateRequest, DelegateRequestId, DelegateValue, HostMessage, OperationRequest,
    OperationValue, RequestId, WaitOutcome, WireError,
};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::cells::{Cells, Leaves, Ready};
use crate::convert;
use crate::tell::Tell;
use crate::wire::{Requests, is_broken, is_lost, why};

/// Bits of a delegate request's id that count within one session; the others have the session's number.
const CALL_BITS: u32 = 40;

/// Answers of calls that are under way that may wait for the session.
const ANSWERS: usize = 64;

/// The number of the session that has given an id.
pub(crate) fn number_of(id: DelegateRequestId) -> i64 {
    id.get() >> CALL_BITS
}

/// What the client wants of a session.
#[expect(
    clippy::large_enum_variant,
    reason = "a wish is moved twice and kept nowhere; a box would cost each request more"
)]
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
        result: Result<DelegateValue, ToolError>,
    },
}

/// A session that is to be opened.
pub(crate) struct Opening {
    /// The client's request.
    pub(crate) request: RequestId,
    pub(crate) session_id: SessionId,
    /// Whether the host is to cut the session's output.
    pub(crate) cuts_output: bool,
    /// The session's number on its connection, from 1.
    pub(crate) number: i64,
    pub(crate) host: CodeModeHostClient<Requests>,
    pub(crate) extensions: CodeModeExtensionsClient<Requests>,
    pub(crate) tell: Tell,
    /// Which executes of the connection may have run.
    pub(crate) sent: SentExecutes,
}

/// What a task that makes one call has to say.
pub(crate) enum Said {
    Started {
        id: RequestId,
        started: v1::ExecutionStarted,
    },
    /// The one outcome of an execute; `None` when the host gave none, which closing a session does.
    Outcome {
        id: RequestId,
        outcome: Result<Option<v1::ExecutionOutcome>, Status>,
    },
    /// The host has refused an execute unseen, and its session goes on.
    Refused { id: RequestId, why: String },
    /// The answer of everything else.
    Answer {
        id: RequestId,
        result: Result<OperationValue, WireError>,
    },
    /// The session is closed.
    Closed { id: RequestId },
}

/// A call or notification that the client has not answered.
pub(crate) struct Open {
    /// The execute of its cell.
    pub(crate) execute: RequestId,
    pub(crate) asks: Asks,
}

/// What a call or notification is, with the host's id of it.
#[derive(PartialEq, Eq)]
pub(crate) enum Asks {
    Call(String),
    Notification(String),
}

/// A request of the client that has not been answered.
pub(crate) enum Asked {
    /// An execute without an outcome, and the task that reads its stream.
    Execute(AbortHandle),
    /// A wait or terminate.
    Observer {
        cell_id: CellId,
        /// The execute of the cell, if it is not closed.
        execute: Option<RequestId>,
        observes: Observes,
    },
    Other,
}

/// How a request observes a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observes {
    Wait,
    /// A wait that the client has taken back.
    CancelledWait,
    Terminate,
}

/// Whether a session goes on.
enum Turn {
    On,
    /// The client wants nothing more.
    Over,
    /// Nothing more can be had of the host, which was told.
    Lost,
}

pub(crate) struct Session {
    pub(crate) opening: Opening,
    /// The host's own id.
    pub(crate) id: String,
    pub(crate) cells: Cells,
    pub(crate) asked: HashMap<RequestId, Asked>,
    /// The client has asked for the session's end.
    pub(crate) closing: bool,
    /// The host has closed the session; the request to answer when all others are.
    closed: Option<RequestId>,
    /// The host has ended the session by itself, in order, and what this is to be called.
    pub(crate) ended_by_host: Option<&'static str>,
    /// The lease has ended, as it does when the session is closed.
    lease_ended: bool,
    /// So has the stream of calls.
    calls_ended: bool,
    pub(crate) open: HashMap<DelegateRequestId, Open>,
    next_call: i64,
    pub(crate) said: mpsc::Sender<Said>,
    pub(crate) tasks: JoinSet<()>,
}

/// Opens a session and serves it until it is closed; its lease ends with this.
pub(crate) async fn run(opening: Opening, mut wishes: mpsc::Receiver<Wish>) {
    let tell = opening.tell.clone();
    let speaking = tell.begin();
    let request = opening.request;
    match open(opening).await {
        Ok((mut session, mut lease, mut calls, mut said)) => {
            let session_id = session.opening.session_id.clone();
            let value = OperationValue::SessionReady { session_id };
            session.answer(request, Ok(value)).await;
            let ended = session.serve(&mut wishes, &mut lease, &mut calls, &mut said);
            if let Some(why) = ended.await {
                tell.lost_in_turn(speaking, why).await;
            }
        }
        Err(status) if is_broken(&status) => tell.lost(why(&status)),
        // Other sessions of the connection go on.
        Err(status) => {
            let result = Err(convert::error(&status, SideEffects::None));
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
    let cuts_output = opening.cuts_output;
    let truncation = if cuts_output {
        v1::OutputTruncation::Server
    } else {
        v1::OutputTruncation::Unspecified
    };
    let lease = opening.host.open_session(v1::OpenSessionRequest {
        output_truncation: truncation.into(),
        ..Default::default()
    });
    let mut lease = lease.await?.into_inner();
    let id = match lease.message().await?.and_then(|event| event.event) {
        Some(Event::Opened(opened)) => {
            if cuts_output && opened.output_truncation() != v1::OutputTruncation::Server {
                return Err(Status::unimplemented("the host does not cut output"));
            }
            opened.session_id
        }
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
        ended_by_host: None,
        lease_ended: false,
        calls_ended: false,
        open: HashMap::new(),
        next_call: 1,
        said: sender,
        tasks: JoinSet::new(),
    };
    Ok((session, lease, calls.into_inner(), said))
}

/// What a stream holds now, or that it has ended; `None` when neither.
async fn now<T>(stream: &mut Streaming<T>) -> Option<Result<Option<T>, Status>> {
    let stream = &mut *stream;
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *stream).poll_next(context) {
            Poll::Ready(next) => Some(next.transpose()),
            Poll::Pending => None,
        })
    })
    .await
}

impl Session {
    /// Serves until the session is closed or lost; gives why, if the host has ended it in order.
    async fn serve(
        &mut self,
        wishes: &mut mpsc::Receiver<Wish>,
        lease: &mut Streaming<v1::SessionEvent>,
        calls: &mut Streaming<v1::ToolCall>,
        said: &mut mpsc::Receiver<Said>,
    ) -> Option<&'static str> {
        loop {
            let deadline = self.cells.deadline();
            let turn = tokio::select! {
                biased;
                next = lease.message(), if !self.lease_ended => self.leased(next).await,
                next = calls.message(), if !self.calls_ended => self.called(next).await,
                Some(said) = said.recv() => self.caught_up(said, lease, calls).await,
                wish = wishes.recv() => match wish {
                    Some(wish) => {
                        self.wish(wish).await;
                        Turn::On
                    }
                    None => Turn::Over,
                },
                Some(_) = self.tasks.join_next() => Turn::On,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let overdue = self.cells.overdue(Instant::now());
                    self.tell_all(overdue).await;
                    Turn::On
                }
            };
            match turn {
                Turn::On => {}
                Turn::Over => return None,
                Turn::Lost => {
                    // It may still come to light of executes that they have not run. The bridge ends this.
                    while self.tasks.join_next().await.is_some() {}
                    return None;
                }
            }
            // What the host has answered before it ended the session is told first.
            if let Some(why) = self.ended_by_host
                && !self.closing
                && self.asked.is_empty()
                && self.cells.deadline().is_none()
            {
                return Some(why);
            }
            if let Some(id) = self.closed
                && self.lease_ended
                && self.asked.is_empty()
            {
                let session_id = self.opening.session_id.clone();
                let value = OperationValue::SessionClosed { session_id };
                self.answer(id, Ok(value)).await;
                return None;
            }
        }
    }

    /// Hands on what the lease says.
    async fn leased(&mut self, next: Result<Option<v1::SessionEvent>, Status>) -> Turn {
        match next {
            Ok(Some(event)) => {
                self.event(event).await;
                return Turn::On;
            }
            Ok(None) => {
                if !self.closing {
                    self.ended_by_host = Some("the host has ended the session");
                }
                self.lease_ended = true;
                let ended = self.cells.end();
                self.tell_all(ended).await;
                return Turn::On;
            }
            Err(status) => self.lost(why(&status)),
        }
        Turn::Lost
    }

    /// Hands on what the stream of calls says.
    async fn called(&mut self, next: Result<Option<v1::ToolCall>, Status>) -> Turn {
        match next {
            Ok(Some(call)) => {
                self.call(call).await;
                return Turn::On;
            }
            Ok(None) => {
                if !self.closing {
                    self.ended_by_host
                        .get_or_insert("the host gives out no calls any more");
                }
                self.calls_ended = true;
                let ended = self.cells.end_calls();
                self.tell_all(ended).await;
                return Turn::On;
            }
            Err(status) => self.lost(why(&status)),
        }
        Turn::Lost
    }

    /// Hands on what a task has said, after what has come before it.
    async fn caught_up(
        &mut self,
        said: Said,
        lease: &mut Streaming<v1::SessionEvent>,
        calls: &mut Streaming<v1::ToolCall>,
    ) -> Turn {
        while !self.lease_ended
            && let Some(next) = now(lease).await
        {
            if let Turn::Lost = self.leased(next).await {
                return Turn::Lost;
            }
        }
        while !self.calls_ended
            && let Some(next) = now(calls).await
        {
            if let Turn::Lost = self.called(next).await {
                return Turn::Lost;
            }
        }
        self.said(said).await;
        Turn::On
    }

    /// Whether a request has failed because the host has ended the session. It gets no answer of its own: what
    /// it observed is lost with the rest. A refusal by a host that is about to end is none: that execute can
    /// be sent elsewhere.
    fn is_lost_with_session(&self, error: &WireError) -> bool {
        self.ended_by_host.is_some() && !self.closing && !convert::is_draining(error)
    }

    pub(crate) fn lost(&self, why: impl Into<String>) {
        self.opening.tell.lost(why);
    }

    pub(crate) async fn answer(&self, id: RequestId, result: Result<OperationValue, WireError>) {
        let message = HostMessage::OperationResponse { id, result };
        self.opening.tell.client(message).await;
    }

    pub(crate) async fn tell_all(&mut self, ready: impl IntoIterator<Item = Ready>) {
        for ready in ready {
            let message = match ready {
                Ready::Ended(execute) => {
                    self.cancel_all(execute).await;
                    continue;
                }
                Ready::Answer(message) => message,
                Ready::Cancel(id) => HostMessage::DelegateCancel { id },
                Ready::Closed(cell_id) => HostMessage::CellClosed {
                    session_id: self.opening.session_id.clone(),
                    cell_id,
                },
                Ready::Request(id, request) => HostMessage::DelegateRequest {
                    id,
                    request: *request,
                },
            };
            self.opening.tell.client(message).await;
        }
    }

    /// Cancels what a cell that has ended still waits for.
    async fn cancel_all(&mut self, execute: RequestId) {
        let of_cell = |open: &Open| open.execute == execute;
        let mut ids: Vec<DelegateRequestId> = self
            .open
            .iter()
            .filter_map(|(id, open)| of_cell(open).then_some(*id))
            .collect();
        ids.sort_unstable_by_key(|id| id.get());
        for id in ids {
            self.open.remove(&id);
            let message = HostMessage::DelegateCancel { id };
            self.opening.tell.client(message).await;
        }
    }

    /// The id under which the client knows a call or notification.
    fn known_as(&self, asks: &Asks) -> Option<DelegateRequestId> {
        let mut open = self.open.iter();
        open.find_map(|(id, open)| (open.asks == *asks).then_some(*id))
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
                let asks = Asks::Call(cancelled.invocation_id);
                match (self.known_as(&asks), asks) {
                    (Some(id), _) => self.cancel(id).await,
                    (None, Asks::Call(invocation)) => self.cells.cancelled_early(invocation),
                    (None, Asks::Notification(_)) => {}
                }
            }
            Some(Event::Notification(notification)) => {
                let Some(execute) = self.cells.find(&notification.execution_id) else {
                    return;
                };
                let cell_id = match convert::cell_id(&notification.cell_id) {
                    Ok(cell_id) => cell_id,
                    Err(why) => return self.lost(why),
                };
                let id = self.next_id();
                let asks = Asks::Notification(notification.notification_id);
                self.open.insert(id, Open { execute, asks });
                let request = DelegateRequest::NotificationSend {
                    notification: Notification {
                        session_id: self.opening.session_id.clone(),
                        cell_id,
                        exec_call_id: notification.call_id,
                        text: notification.text,
                    },
                };
                let ready = self.cells.request(execute, id, request);
                self.tell_all(ready).await;
            }
            Some(Event::NotificationCancelled(cancelled)) => {
                let asks = Asks::Notification(cancelled.notification_id);
                if let Some(id) = self.known_as(&asks) {
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
        let Some(Open { execute, asks }) = self.open.remove(&id) else {
            return;
        };
        let cancel = self.cells.cancel(execute, id);
        self.tell_all(cancel).await;
        if let Asks::Notification(_) = asks {
            let ready = self.cells.notified(execute);
            self.tell_all(ready).await;
        }
    }

    async fn call(&mut self, call: v1::ToolCall) {
        let (invocation_id, sequence) = (call.invocation_id.clone(), call.sequence);
        let was_cancelled = self.cells.was_cancelled(&invocation_id);
        let Some(execute) = self.cells.find(&call.execution_id) else {
            return;
        };
        let session_id = self.opening.session_id.clone();
        let invocation = match convert::invocation(session_id, call) {
            Ok(invocation) => invocation,
            Err(why) => return self.lost(why),
        };
        let id = self.next_id();
        let asks = Asks::Call(invocation_id);
        self.open.insert(id, Open { execute, asks });
        let request = DelegateRequest::ToolInvoke { invocation };
        let ready = self.cells.request(execute, id, request);
        self.tell_all(ready).await;
        if was_cancelled {
            self.cancel(id).await;
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
                let cell_id = match convert::cell_id(&started.cell_id) {
                    Ok(cell_id) => cell_id,
                    Err(why) => return self.lost(why),
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
            Said::Refused { id, why } => {
                if self.asked.remove(&id).is_some() {
                    self.cells.abandon(id);
                    self.answer(id, Err(convert::refused(&why))).await;
                }
            }
            Said::Answer {
                id,
                result: Err(error),
            } if self.is_lost_with_session(&error) => {
                self.asked.remove(&id);
            }
            Said::Answer { id, result } => match self.asked.remove(&id) {
                Some(Asked::Observer {
                    cell_id,
                    execute,
                    observes,
                }) => self.observed(id, result, cell_id, execute, observes).await,
                Some(Asked::Execute(_) | Asked::Other) | None => self.answer(id, result).await,
            },
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
            (Err(status), started) => {
                let side_effects = match started {
                    None => convert::side_effects(&status),
                    Some(_) => SideEffects::Possible,
                };
                let error = convert::error(&status, side_effects);
                if self.is_lost_with_session(&error) {
                    return;
                }
                if started.is_none() {
                    self.cells.abandon(id);
                    return self.answer(id, Err(error)).await;
                }
                Err(error)
            }
            (Ok(Some(outcome)), Some(_)) => match convert::response(outcome, None) {
                Ok(response) => Ok(response),
                Err(why) => return self.lost(why),
            },
            // Its session is being closed, and its cell has ended with it.
            (Ok(None), Some(cell_id)) if self.closing => Ok(convert::terminated(cell_id)),
            // So has the host, and the results of others may be on their way.
            (Ok(None), _) => {
                self.ended_by_host
                    .get_or_insert("an execute without an outcome");
                return;
            }
            (Ok(Some(_)), None) => return self.lost("an outcome before its start"),
        };
        let leaves = result.as_ref().map_or(Leaves::Running, leaves);
        let message = HostMessage::ExecuteInitialResponse { id, result };
        let ready = self.cells.answered(id, message, leaves, Instant::now());
        self.tell_all(ready).await;
    }

    /// Hands on the answer to a wait or terminate.
    async fn observed(
        &mut self,
        id: RequestId,
        result: Result<OperationValue, WireError>,
        cell_id: CellId,
        execute: Option<RequestId>,
        observes: Observes,
    ) {
        let result = match result {
            // The host ends the waits of a session that it closes, and their cells.
            Err(error)
                if self.closing
                    && observes != Observes::CancelledWait
                    && convert::is_cancellation(&error) =>
            {
                let outcome = WaitOutcome::LiveCell(convert::terminated(cell_id));
                Ok(OperationValue::WaitCompleted { outcome })
            }
            result => result,
        };
        let leaves = match &result {
            Ok(OperationValue::WaitCompleted {
                outcome: WaitOutcome::LiveCell(response),
            }) => leaves(response),
            _ => Leaves::Running,
        };
        let message = HostMessage::OperationResponse { id, result };
        let ready = match execute {
            Some(execute) => self
                .cells
                .answered(execute, message, leaves, Instant::now()),
            None => vec![Ready::Answer(message)],
        };
        self.tell_all(ready).await;
    }
}

/// How a response leaves its cell.
fn leaves(response: &CellResponse) -> Leaves {
    match response.status {
        CellStatus::Yielded => Leaves::Running,
        CellStatus::Completed { .. } => Leaves::Completed,
        CellStatus::Terminated => Leaves::Terminated,
    }
}
