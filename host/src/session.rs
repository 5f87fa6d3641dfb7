//! One session of the connection: forwards its cells' events to the client, in their order.

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, CellResponse, CellStatus, CellTimings, Notification,
    RawJson, SessionDelegate, SessionError, SessionId, ToolError, ToolInvocation,
};
use code_mode_protocol::{
    DelegateRequest, DelegateRequestId, EncodeError, HostMessage, OperationValue, RequestId,
    WaitOutcome,
};
use code_mode_runtime::Observer;
use tokio::sync::oneshot;

use crate::ServeError;
use crate::calls::Answer;
use crate::closing::{Closing, WhenOver};
use crate::config::V1Timings;
use crate::connection::{Connection, Refusal};
use crate::output::SessionOutput;

/// What the events of a session's cells go through.
///
/// Its methods are called by the runtime on whatever thread an event happens, in the order of the
/// events of each cell; each encodes its message there and queues it, so the order on the wire is
/// the same.
pub(crate) struct SessionLink {
    connection: Arc<Connection>,
    session_id: SessionId,
    pub(crate) closing: Closing,
    /// What is done to output on its way.
    pub(crate) output: SessionOutput,
}

impl SessionLink {
    pub(crate) fn new(
        connection: Arc<Connection>,
        session_id: SessionId,
        output: SessionOutput,
    ) -> Self {
        Self {
            connection,
            session_id,
            closing: Closing::default(),
            output,
        }
    }

    /// What takes the answer of a wait or a terminate.
    pub(crate) fn wait_observer(
        self: &Arc<Self>,
        id: RequestId,
        max_tokens: Option<u64>,
    ) -> Observer {
        let link = Arc::clone(self);
        Box::new(move |result| link.answer_wait(id, result, max_tokens))
    }

    /// What takes the first response of a cell.
    pub(crate) fn first_observer(
        self: &Arc<Self>,
        id: RequestId,
        max_tokens: Option<u64>,
    ) -> Observer {
        let link = Arc::clone(self);
        Box::new(move |result| link.answer_first(id, result, max_tokens))
    }

    /// Answers a wait or a terminate.
    pub(crate) fn answer_wait(
        &self,
        id: RequestId,
        result: Result<CellResponse, SessionError>,
        max_tokens: Option<u64>,
    ) {
        let closes = self.closes(&result);
        let answer = match result {
            Ok(response) => Ok(WaitOutcome::LiveCell(
                self.response(id, response, max_tokens),
            )),
            Err(
                ref error @ (SessionError::MissingCell { ref cell_id }
                | SessionError::CellFinished { ref cell_id }),
            ) => {
                let error_text = error.to_string();
                Ok(WaitOutcome::MissingCell(CellResponse {
                    cell_id: cell_id.clone(),
                    content_items: self.output.of_missing(&error_text, max_tokens),
                    status: CellStatus::Completed {
                        error_text: Some(error_text),
                    },
                    timings: self.timings(id, Some(Duration::ZERO)),
                    state_lost: None,
                }))
            }
            Err(error) => Err(Refusal::from(error)),
        };
        let answer = answer.map(|outcome| OperationValue::WaitCompleted { outcome });
        self.connection.answer(id, answer);
        self.send_closed_if(closes);
    }

    fn answer_first(
        &self,
        id: RequestId,
        result: Result<CellResponse, SessionError>,
        max_tokens: Option<u64>,
    ) {
        let closes = self.closes(&result);
        let answer = result
            .map(|response| self.response(id, response, max_tokens))
            .map_err(Refusal::from);
        self.connection.answer_initial(id, answer);
        self.send_closed_if(closes);
    }

    /// The cell whose `cell/closed` is to follow this answer, if it ends a cell that is closed.
    ///
    /// To be asked before the answer is queued, so that no shutdown can close the cell in between.
    fn closes(&self, result: &Result<CellResponse, SessionError>) -> Option<CellId> {
        ended_cell(result).filter(|cell_id| self.closing.result_given(cell_id))
    }

    fn send_closed_if(&self, cell_id: Option<CellId>) {
        if let Some(cell_id) = cell_id {
            self.send_closed(&cell_id);
        }
    }

    /// The runtime has ended the session's cells: closes those that are left, then does `when_over`.
    pub(crate) fn shut_down(&self, when_over: WhenOver) {
        let (closed, end) = self.closing.shut_down(when_over);
        for cell_id in closed {
            self.send_closed(&cell_id);
        }
        for when_over in end {
            when_over();
        }
    }

    /// Says that nothing more about a cell will follow.
    fn send_closed(&self, cell_id: &CellId) {
        self.connection.open_cells.closed();
        self.connection.send(&HostMessage::CellClosed {
            session_id: self.session_id.clone(),
            cell_id: cell_id.clone(),
        });
        for when_over in self.closing.told(cell_id) {
            when_over();
        }
    }

    /// A request's response as its client gets it.
    fn response(
        &self,
        id: RequestId,
        mut response: CellResponse,
        max_tokens: Option<u64>,
    ) -> CellResponse {
        self.output.cut(&mut response, max_tokens);
        response.timings = self.timings(id, response.timings.result_buffered_for);
        response
    }

    /// The timings of a response that this client gets. `buffered` is the time that a finished result
    /// has waited for its observer.
    fn timings(&self, id: RequestId, buffered: Option<Duration>) -> CellTimings {
        let which = self.connection.timings();
        if which == V1Timings::None {
            return CellTimings::default();
        }
        CellTimings {
            // From the receipt of the request.
            host_duration: self.connection.requests.age(id),
            result_buffered_for: buffered.filter(|_| which == V1Timings::Both),
        }
    }

    /// Opens a call, sends its request and gives what cancels it when dropped.
    fn call(&self, answer: Answer, request: DelegateRequest) -> Result<OpenCall, ToolError> {
        let connection = &self.connection;
        let Some(id) = connection.calls.open(answer) else {
            return Err(ToolError::new(format!(
                "the limit of {} open delegate calls on this connection is reached; await some first",
                connection.calls.max_open()
            )));
        };
        let message = HostMessage::DelegateRequest {
            id: DelegateRequestId::new(id),
            request,
        };
        let queued = match connection.encode(&message) {
            // On a thread of its own a script can wait for room; in a task, that would keep the
            // writer from making any, so the task of a process asks for room before it goes on.
            Ok(frame) if tokio::task::try_id().is_none() => connection.outgoing.push_waiting(frame),
            Ok(frame) => connection.outgoing.push(frame),
            Err(error) => {
                connection.calls.withdraw(id);
                let message = error.to_string();
                if !matches!(error, EncodeError::TooLong { .. }) {
                    connection.fail(ServeError::Encode(error));
                }
                return Err(ToolError::new(message));
            }
        };
        if queued.is_err() {
            connection.calls.withdraw(id);
            return Err(ToolError::new("the connection to the client is closing"));
        }
        Ok(OpenCall {
            connection: Arc::clone(connection),
            id,
        })
    }
}

impl SessionDelegate for SessionLink {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let (sender, receiver) = oneshot::channel();
        answered(
            self.call(
                Answer::Tool(sender),
                DelegateRequest::ToolInvoke { invocation },
            ),
            receiver,
        )
    }

    fn notify(
        &self,
        notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        let (sender, receiver) = oneshot::channel();
        let request = DelegateRequest::NotificationSend { notification };
        answered(self.call(Answer::Notification(sender), request), receiver)
    }

    fn room(&self, _cell_id: &CellId) -> Option<BoxFuture<'static, ()>> {
        if self.connection.outgoing.has_room() {
            return None;
        }
        let connection = Arc::clone(&self.connection);
        Some(Box::pin(async move { connection.outgoing.room().await }))
    }

    fn cell_closed(&self, _session_id: &SessionId, cell_id: &CellId) {
        if self.closing.closed(cell_id) {
            self.send_closed(cell_id);
        }
    }
}

/// The cell that has ended with this response, if it has.
fn ended_cell(result: &Result<CellResponse, SessionError>) -> Option<CellId> {
    match result {
        Ok(response) => match response.status {
            CellStatus::Completed { .. } | CellStatus::Terminated => Some(response.cell_id.clone()),
            CellStatus::Yielded => None,
        },
        // A lost runtime fails the connection, so there is no cell left to close.
        Err(_) => None,
    }
}

/// The future of a call: its answer. Dropping it unanswered cancels the call.
fn answered<T: Send + 'static>(
    call: Result<OpenCall, ToolError>,
    receiver: oneshot::Receiver<Result<T, ToolError>>,
) -> BoxFuture<'static, Result<T, ToolError>> {
    match call {
        Ok(call) => Box::pin(async move {
            let answer = receiver.await;
            drop(call);
            answer.unwrap_or_else(|_| Err(closed()))
        }),
        Err(error) => Box::pin(std::future::ready(Err(error))),
    }
}

fn closed() -> ToolError {
    ToolError::new("the connection to the client is closing")
}

/// A call that the client has been asked for. Dropped before it was answered, it is cancelled.
struct OpenCall {
    connection: Arc<Connection>,
    id: i64,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.connection.calls.cancel(self.id) {
            let id = DelegateRequestId::new(self.id);
            self.connection.send(&HostMessage::DelegateCancel { id });
        }
    }
}
