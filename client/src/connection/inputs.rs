// SPDX-License-Identifier: Apache-2.0
//! What reaches the driver, and what it does in return.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{
    CancellationSignal, CellId, CellResponse, CellSummary, KeptText, Notification, RawJson,
    SessionId, ToolInvocation,
};
use code_mode_protocol::{
    AgreedCapabilities, DelegateRequestId, EncodedFrame, HostMessage, OperationValue, RequestId,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::budget::Share;
use super::ticket::{Owner, TakesBack, Ticket};
use crate::delegate::Delegate;
use crate::error::{CallError, ConnectionFailure};
use crate::place::Place;
use crate::process::Exit;

/// The way to the driver, for what it does not learn from its own pipes. Its channel has no bound of
/// its own: requests hold a call slot, frames a share of a byte budget, and every other input is
/// sent at most once per thing that exists.
pub(crate) type Inputs = mpsc::UnboundedSender<Input>;

/// The driver owns an answer until its caller has taken it. One that is gone has cleaned up already.
impl Owner for Inputs {
    fn not_waited_for(&self, id: RequestId) {
        drop(self.send(Input::Gone(id)));
    }
}

impl TakesBack<Handover> for Inputs {
    fn take_back(&self, answer: Handover) {
        drop(self.send(Input::Untaken {
            session: answer.session,
            cell: answer.cell,
        }));
    }
}

impl TakesBack<Observed> for Inputs {
    fn take_back(&self, answer: Observed) {
        drop(self.send(Input::Returned(answer)));
    }
}

impl TakesBack<()> for Inputs {
    fn take_back(&self, (): ()) {}
}

impl TakesBack<Vec<CellSummary>> for Inputs {
    fn take_back(&self, _: Vec<CellSummary>) {}
}

impl TakesBack<KeptText> for Inputs {
    fn take_back(&self, _: KeptText) {}
}

impl TakesBack<BTreeMap<String, RawJson>> for Inputs {
    fn take_back(&self, _: BTreeMap<String, RawJson>) {}
}

/// Everything that can happen to a connection.
pub(crate) enum Input {
    /// The host has accepted the hello, and these capabilities are agreed.
    Greeted(AgreedCapabilities),
    /// The host has said something else, or greets once more.
    Host(HostMessage),
    /// A caller wants something.
    Request(Request),
    /// The caller of this request no longer waits for it.
    Gone(RequestId),
    /// A started cell was not taken by its caller.
    Untaken { session: Arc<str>, cell: Arc<str> },
    /// A response was not taken by its observer.
    Returned(Observed),
    /// A session of the client was dropped.
    SessionGone(Arc<str>),
    /// A delegate has finished; the frame tells the host. `key` is the driver's own number of the
    /// call, so that a host which gives an id twice gets no answer meant for another call.
    DelegateDone { key: u64, frame: Frame },
    /// Nothing more can be told to the host.
    WriteFailed(ConnectionFailure),
    /// The host's output has ended.
    OutputEnded(OutputEnd),
    /// The host process has ended; `None` when its status is not to be had.
    Exited(Option<Exit>),
    /// The owner wants the host to end.
    Close,
}

/// How the host's output ended.
#[derive(Debug)]
pub(crate) enum OutputEnd {
    /// Between two messages.
    Clean,
    /// Within a message: a host that dies does this.
    Truncated(String),
    /// By something that no dying host explains.
    Failed(ConnectionFailure),
}

/// An encoded frame on its way to the host, and what it holds until it is written.
pub(crate) struct Frame {
    pub(crate) bytes: EncodedFrame,
    /// The request that it carries, if it is one.
    pub(crate) request: Option<RequestId>,
    /// Its share of the outgoing budget, or of the count of the driver's own frames.
    pub(crate) _share: Option<Share>,
}

/// A caller's request, encoded by the caller.
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) operation: Operation,
    pub(crate) frame: Frame,
    /// The call slot, held until the request is fully answered.
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Where an answer goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, CallError>>;

/// Sends an answer to whoever still waits for it.
pub(crate) fn answer<T>(reply: Option<Reply<T>>, result: Result<T, CallError>) {
    if let Some(reply) = reply {
        // The caller may have gone since; nothing that is answered here needs an owner then.
        drop(reply.send(result));
    }
}

/// What a request asks for.
pub(crate) enum Operation {
    Open {
        session: OpenSession,
        reply: Reply<()>,
    },
    Execute {
        session: Arc<str>,
        exec_call_id: Arc<str>,
        yield_time: Duration,
        reply: Reply<Handover>,
    },
    Wait {
        session: Arc<str>,
        cell: Arc<str>,
        yield_time: Duration,
        reply: Reply<Observed>,
    },
    Terminate {
        session: Arc<str>,
        cell: Arc<str>,
        reply: Reply<Observed>,
    },
    CloseSession {
        session: Arc<str>,
        reply: Reply<()>,
    },
    OfSession(SessionAsk),
}

/// What is asked of a session, has one answer, and changes nothing in the state of its connection.
pub(crate) enum SessionAsk {
    ListCells(Reply<Vec<CellSummary>>),
    ReadOutput(Reply<KeptText>),
    ExportStore(Reply<BTreeMap<String, RawJson>>),
    ImportStore(Reply<()>),
}

impl SessionAsk {
    /// Its request on the wire.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::ListCells(_) => "session/listCells",
            Self::ReadOutput(_) => "session/wait",
            Self::ExportStore(_) => "session/exportStore",
            Self::ImportStore(_) => "session/importStore",
        }
    }

    /// Gives the caller the answer, if he still waits for it; `false` when it is one to something else.
    pub(crate) fn answer(self, result: Result<OperationValue, CallError>) -> bool {
        match (self, result) {
            (Self::ListCells(reply), Ok(OperationValue::CellsListed { cells })) => {
                drop(reply.send(Ok(cells)));
            }
            (
                Self::ReadOutput(reply),
                Ok(OperationValue::OutputRead {
                    offset,
                    total_bytes,
                    text,
                    ..
                }),
            ) => {
                drop(reply.send(Ok(KeptText {
                    text,
                    offset,
                    total_bytes,
                })));
            }
            (Self::ExportStore(reply), Ok(OperationValue::StoreExported { values })) => {
                drop(reply.send(Ok(values)));
            }
            (Self::ImportStore(reply), Ok(OperationValue::StoreImported {})) => {
                drop(reply.send(Ok(())));
            }
            (Self::ListCells(reply), Err(error)) => drop(reply.send(Err(error))),
            (Self::ReadOutput(reply), Err(error)) => drop(reply.send(Err(error))),
            (Self::ExportStore(reply), Err(error)) => drop(reply.send(Err(error))),
            (Self::ImportStore(reply), Err(error)) => drop(reply.send(Err(error))),
            (_, Ok(_)) => return false,
        }
        true
    }
}

/// A session to be opened.
pub(crate) struct OpenSession {
    /// Its id on the wire.
    pub(crate) wire_id: Arc<str>,
    /// Its id for the embedder.
    pub(crate) id: SessionId,
    pub(crate) generation: u64,
    pub(crate) delegate: Delegate,
    /// Whether the host is to cut its output.
    pub(crate) cuts_output: bool,
    /// Given up when the host has closed the session.
    pub(crate) place: Arc<Place>,
}

/// A started cell on its way to its caller. Until the caller has taken it the driver owns it.
#[derive(Debug)]
pub(crate) struct Handover {
    pub(crate) session: Arc<str>,
    pub(crate) cell: Arc<str>,
    pub(crate) first: Ticket<Observed, Inputs>,
}

/// A response on its way to its observer.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) session: Arc<str>,
    pub(crate) cell: Arc<str>,
    /// The response, under the host's own cell id.
    pub(crate) response: CellResponse,
}

/// What the driver does outside its state, in this order.
pub(crate) enum Effect {
    /// Hands a tool call to the delegate.
    Tool {
        key: u64,
        id: DelegateRequestId,
        delegate: Delegate,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    },
    /// Hands a notification to the delegate.
    Notify {
        key: u64,
        id: DelegateRequestId,
        delegate: Delegate,
        notification: Notification,
        cancel: CancellationSignal,
    },
    /// Drops the future of a delegate call whose signal has fired, unless it ends by itself soon.
    DropDelegate { key: u64 },
    /// Tells the delegate that nothing more about a cell will follow.
    CellClosed {
        delegate: Delegate,
        session: SessionId,
        cell: CellId,
    },
}
