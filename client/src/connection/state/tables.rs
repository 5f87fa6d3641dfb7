// SPDX-License-Identifier: Apache-2.0
//! What is known of a connection: its sessions, their cells, and the calls that are under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use code_mode_api::{CellResponse, SessionId};
use code_mode_protocol::{EncodedFrame, RequestId};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::again::Again;
use super::delegate_calls::DelegateCalls;
use super::parked::Parked;
use crate::config::{ConnectionLimits, Deadlines};
use crate::connection::budget::ByteCount;
use crate::connection::cell_ids::CellIds;
use crate::connection::inputs::{
    Effect, Frame, Handover, Inputs, Observed, OutputEnd, Reply, SessionAsk,
};
use crate::delegate::Delegate;
use crate::error::ConnectionFailure;
use crate::generation::outer_cell_id;
use crate::messages;
use crate::place::Place;
use crate::process::Exit;
use crate::sent::SentExecutes;

/// Bytes of the driver's own frames that may wait to be written (8 MiB). Most of these refuse a tool
/// call or a notification; a host that asks for more and reads none of the answers is not heard until it
/// does, and the write deadline ends one that never does. More than the answers to all the calls that
/// cells of one host can have open.
pub(crate) const MAX_OWN_BYTES: usize = 8 * 1024 * 1024;

/// What a call that fails is told.
pub(super) type Outcome<T> = Result<T, ConnectionFailure>;

/// The state of one connection. See the text of [`super`].
pub(crate) struct ConnectionState {
    pub(super) phase: Phase,
    pub(super) limits: ConnectionLimits,
    pub(super) deadlines: Deadlines,
    /// Where new tickets send what becomes of them.
    pub(super) inputs: Inputs,
    /// Request ids, shared with the callers, who encode their requests themselves.
    pub(super) ids: Arc<AtomicI64>,
    /// Ordered, like the other maps here, so that what a failure does comes in one order.
    pub(super) sessions: BTreeMap<Arc<str>, Session>,
    pub(super) calls: BTreeMap<RequestId, Entry>,
    /// When each call that has a deadline must be answered.
    pub(super) due: BTreeSet<(Instant, RequestId)>,
    pub(super) delegates: DelegateCalls,
    pub(super) parked: Parked,
    pub(super) again: Again,
    /// What the driver's own frames hold until they are written.
    pub(super) own: ByteCount,
    /// Which executes have left, where something stands between that knows.
    pub(crate) sent: Option<SentExecutes>,
    /// Frames that the writer has not been given yet.
    pub(crate) outbox: Vec<Frame>,
    /// What the driver has to do.
    pub(crate) effects: VecDeque<Effect>,
}

pub(super) enum Phase {
    Starting {
        until: Instant,
    },
    Running,
    Ending {
        until: Instant,
        output: Option<OutputEnd>,
        exit: Option<Option<Exit>>,
        greeted: bool,
    },
    Closed,
}

pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) generation: u64,
    pub(super) delegate: Delegate,
    pub(super) phase: SessionPhase,
    /// Whether the embedder has dropped it.
    pub(super) gone: bool,
    /// How often the host has refused to close it since.
    pub(super) tries: u32,
    pub(super) _place: Arc<Place>,
    pub(super) given: CellIds,
    pub(super) cells: BTreeMap<Arc<str>, Cell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionPhase {
    Opening(RequestId),
    Open,
    Closing,
}

pub(super) struct Cell {
    pub(super) exec_call_id: Arc<str>,
    /// `cell/closed` has come. The cell is kept only for what is not yet handed out.
    pub(super) closed: bool,
    /// Nobody wants the cell: it is being terminated and its output is dropped.
    pub(super) abandoned: bool,
    /// How often the host has refused to end it since.
    pub(super) tries: u32,
    /// The call that observes it.
    pub(super) observation: Option<RequestId>,
    /// A response whose observer had gone, for the next one.
    pub(super) parked: Option<CellResponse>,
}

pub(super) struct Entry {
    pub(super) call: Call,
    pub(super) due: Option<Instant>,
    /// Given back when the call is answered.
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

pub(super) enum Call {
    Open {
        session: Arc<str>,
        reply: Reply<()>,
    },
    Execute(Execute),
    Observation(Observation),
    Queued {
        on: RequestId,
    },
    Terminate {
        session: Arc<str>,
        cell: Arc<str>,
        reply: Option<Reply<Observed>>,
    },
    CloseSession {
        session: Arc<str>,
        reply: Option<Reply<()>>,
    },
    OfSession(SessionAsk),
}

pub(super) struct Execute {
    pub(super) session: Arc<str>,
    pub(super) exec_call_id: Arc<str>,
    pub(super) yield_time: Duration,
    /// `None` once the caller has gone and the host was asked to cancel.
    pub(super) reply: Option<Reply<Handover>>,
}

pub(super) struct Observation {
    pub(super) session: Arc<str>,
    pub(super) cell: Arc<str>,
    pub(super) kind: ObservationKind,
    /// `None` once the observer has gone. A wait is then being cancelled; the wire has no way to
    /// cancel the first observation, so that one stays until the host ends it.
    pub(super) taker: Option<Reply<Observed>>,
    /// Who takes over from an observer that has gone.
    pub(super) queued: Option<QueuedWait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObservationKind {
    Initial,
    Wait,
}

pub(super) struct QueuedWait {
    pub(super) id: RequestId,
    pub(super) frame: Frame,
    pub(super) yield_time: Duration,
    pub(super) reply: Reply<Observed>,
    pub(super) slot: Option<OwnedSemaphorePermit>,
}

impl Call {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "session/open",
            Self::Execute(_) => "session/execute",
            Self::Observation(Observation {
                kind: ObservationKind::Initial,
                ..
            }) => "session/execute (initial response)",
            Self::Observation(_) | Self::Queued { .. } => "session/wait",
            Self::Terminate { .. } => "session/terminate",
            Self::CloseSession { .. } => "session/shutdown",
            Self::OfSession(ask) => ask.name(),
        }
    }
}

/// The failure of a host that does what the protocol forbids.
pub(super) fn violation<T>(text: impl Into<String>) -> Outcome<T> {
    Err(ConnectionFailure::Violation(text.into()))
}

impl ConnectionState {
    pub(crate) fn new(
        limits: ConnectionLimits,
        deadlines: Deadlines,
        inputs: Inputs,
        ids: Arc<AtomicI64>,
        now: Instant,
    ) -> Self {
        Self {
            phase: Phase::Starting {
                until: now + deadlines.startup,
            },
            limits,
            deadlines,
            inputs,
            ids,
            sessions: BTreeMap::new(),
            calls: BTreeMap::new(),
            due: BTreeSet::new(),
            delegates: DelegateCalls::default(),
            parked: Parked::default(),
            again: Again::default(),
            own: ByteCount::default(),
            sent: None,
            outbox: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// Enters a call that must be answered in time.
    pub(super) fn enter(
        &mut self,
        id: RequestId,
        call: Call,
        within: Duration,
        slot: Option<OwnedSemaphorePermit>,
        now: Instant,
    ) {
        let due = now.checked_add(within);
        if let Some(due) = due {
            self.due.insert((due, id));
        }
        self.calls.insert(
            id,
            Entry {
                call,
                due,
                _slot: slot,
            },
        );
    }

    /// Takes a call out.
    pub(super) fn leave(&mut self, id: RequestId) -> Option<Entry> {
        let entry = self.calls.remove(&id)?;
        if let Some(due) = entry.due {
            self.due.remove(&(due, id));
        }
        Some(entry)
    }

    /// Sends a request of the driver's own, which no caller waits for.
    pub(super) fn send_own(
        &mut self,
        call: Call,
        encode: impl FnOnce(RequestId) -> Outcome<EncodedFrame>,
        now: Instant,
    ) -> Outcome<()> {
        let id = RequestId::new(self.ids.fetch_add(1, Ordering::Relaxed));
        let bytes = encode(id)?;
        self.push_own(bytes, Some(id));
        self.enter(id, call, self.deadlines.call, None, now);
        Ok(())
    }

    /// Asks the host to give a request up.
    pub(super) fn send_cancel(&mut self, id: RequestId) -> Outcome<()> {
        let bytes = messages::cancel_frame(id)?;
        self.push_own(bytes, None);
        Ok(())
    }

    /// Queues a frame that no caller has asked for, and for which nobody waits until there is room.
    pub(super) fn push_own(&mut self, bytes: EncodedFrame, request: Option<RequestId>) {
        let _share = Some(self.own.count(bytes.wire_bytes()));
        self.outbox.push(Frame {
            bytes,
            request,
            _share,
        });
    }

    /// Whether the host is to be heard: not while it has left so many of the driver's own frames
    /// unread that its next words could only add to them.
    pub(crate) fn may_hear(&self) -> bool {
        self.own.bytes() < MAX_OWN_BYTES
    }
}

/// What tells a delegate that a cell is closed.
pub(super) fn closed(session: &Session, cell: &str) -> Effect {
    Effect::CellClosed {
        delegate: session.delegate.clone(),
        session: session.id.clone(),
        cell: outer_cell_id(session.generation, cell),
    }
}
