// SPDX-License-Identifier: Apache-2.0
//! Who waits for what a session was asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use code_mode_api::CellId;
use code_mode_api::waist::{Answer, AskId};
use code_mode_grpc::tonic::Status;
use code_mode_grpc::v1;
use tokio::sync::oneshot;
use tracing::Span;

use crate::convert::Outcome;
use crate::gate::Pass;
use crate::limits::{MAX_ASKS, REMEMBERED_IDS};
use crate::mailbox::Mailbox;
use crate::remembered::Remembered;

/// Where the answer of a wait or terminate goes: its outcome, or that its cell is missing, with why.
pub(crate) type OutcomeSender = oneshot::Sender<Result<Seen, Status>>;

/// What an observation of a cell by its id gives.
pub(crate) enum Seen {
    /// The cell's outcome.
    Live(Outcome),
    /// There is no such cell, or no more; what stands in for its outcome.
    Missing(v1::ExecutionOutcome),
}

/// Who waits for one ask.
pub(crate) enum Asker {
    /// The stream of an execute.
    Execute(Execute),
    /// A wait.
    Wait(Wait),
    /// A terminate.
    Terminate {
        cell_id: CellId,
        received: Instant,
        max_output_tokens: Option<u64>,
        answer: OutcomeSender,
    },
    /// A question about the session itself: its cells or its stored values.
    Question {
        answer: oneshot::Sender<Result<Answer, Status>>,
    },
    /// Nobody: the host ended a cell for the sake of a client that is gone.
    Nobody,
    /// The session's own end.
    Shutdown,
}

/// An execute that has no outcome yet.
pub(crate) struct Execute {
    pub(crate) execution_id: String,
    pub(crate) traceparent: Option<String>,
    /// Its cell's, once there is one.
    pub(crate) span: Span,
    pub(crate) received: Instant,
    pub(crate) max_output_tokens: Option<u64>,
    /// Told once whether the script was started.
    pub(crate) admitted: Option<oneshot::Sender<Result<(), Status>>>,
    pub(crate) mailbox: Arc<Mailbox<v1::ExecuteEvent>>,
    pub(crate) cell_id: Option<CellId>,
    /// Held until there is a cell.
    pub(crate) pass: Option<Pass>,
    /// The client has let go of the stream: the cell ends as soon as it is known.
    pub(crate) abandoned: bool,
}

/// A wait that has no outcome yet.
pub(crate) struct Wait {
    pub(crate) wait_id: String,
    pub(crate) cell_id: CellId,
    pub(crate) received: Instant,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) answer: OutcomeSender,
    /// Told when the wait is over.
    pub(crate) over: Vec<oneshot::Sender<()>>,
}

/// The asks of one session that are not answered, and the ids that the client chose for them.
pub(crate) struct Asks {
    next: u64,
    askers: HashMap<AskId, Asker>,
    executions: Remembered,
    waits: Remembered,
    /// The executes and waits that are not answered, by the client's id.
    executing: HashMap<String, AskId>,
    waiting: HashMap<String, AskId>,
}

impl Asks {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            askers: HashMap::new(),
            executions: Remembered::new(REMEMBERED_IDS),
            waits: Remembered::new(REMEMBERED_IDS),
            executing: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// Takes an asker in, unless the client has used its id before or asks too much at one time.
    pub(crate) fn begin(&mut self, asker: Asker) -> Result<AskId, Status> {
        if self.askers.len() >= MAX_ASKS {
            return Err(Status::resource_exhausted(
                "code-mode session has too many requests in flight",
            ));
        }
        let ask = AskId(self.next);
        match &asker {
            Asker::Execute(execute) => {
                let id = &execute.execution_id;
                if !self.executions.insert(id) || self.executing.contains_key(id) {
                    return Err(reused("execution", id));
                }
                self.executing.insert(id.clone(), ask);
            }
            Asker::Wait(wait) => {
                let id = &wait.wait_id;
                if !self.waits.insert(id) || self.waiting.contains_key(id) {
                    return Err(reused("wait", id));
                }
                self.waiting.insert(id.clone(), ask);
            }
            Asker::Terminate { .. } | Asker::Question { .. } | Asker::Nobody | Asker::Shutdown => {}
        }
        self.next += 1;
        self.askers.insert(ask, asker);
        Ok(ask)
    }

    /// Takes in one that the host makes for itself, beyond the bound.
    pub(crate) fn begin_own(&mut self, asker: Asker) -> AskId {
        let ask = AskId(self.next);
        self.next += 1;
        self.askers.insert(ask, asker);
        ask
    }

    /// The asker of an ask that is answered.
    pub(crate) fn end(&mut self, ask: AskId) -> Option<Asker> {
        let asker = self.askers.remove(&ask)?;
        match &asker {
            Asker::Execute(execute) => {
                self.executing.remove(&execute.execution_id);
            }
            Asker::Wait(wait) => {
                self.waiting.remove(&wait.wait_id);
            }
            Asker::Terminate { .. } | Asker::Question { .. } | Asker::Nobody | Asker::Shutdown => {}
        }
        Some(asker)
    }

    /// The execute of an ask that is not answered.
    pub(crate) fn execute(&mut self, ask: AskId) -> Option<&mut Execute> {
        match self.askers.get_mut(&ask) {
            Some(Asker::Execute(execute)) => Some(execute),
            _ => None,
        }
    }

    /// Whether an execute has no outcome yet.
    pub(crate) fn are_executing(&self) -> bool {
        !self.executing.is_empty()
    }

    /// The execute of this id that is not answered.
    pub(crate) fn executing(&self, execution_id: &str) -> Option<AskId> {
        self.executing.get(execution_id).copied()
    }

    /// The wait of this id that is not answered.
    pub(crate) fn waiting(&self, wait_id: &str) -> Option<AskId> {
        self.waiting.get(wait_id).copied()
    }

    /// Has somebody told when a wait that is not answered is over.
    pub(crate) fn when_over(&mut self, ask: AskId, tell: oneshot::Sender<()>) {
        if let Some(Asker::Wait(wait)) = self.askers.get_mut(&ask) {
            wait.over.push(tell);
        }
    }

    /// Every asker but those of the session's own end.
    pub(crate) fn end_all(&mut self) -> Vec<Asker> {
        let asks: Vec<AskId> = self
            .askers
            .iter()
            .filter(|(_, asker)| !matches!(asker, Asker::Shutdown))
            .map(|(ask, _)| *ask)
            .collect();
        asks.into_iter().filter_map(|ask| self.end(ask)).collect()
    }
}

fn reused(what: &str, id: &str) -> Status {
    Status::already_exists(format!("code-mode {what} ID `{id}` was reused"))
}

#[cfg(test)]
mod tests {
    use code_mode_grpc::tonic::Code;

    use super::*;

    fn wait(number: usize) -> Asker {
        Asker::Wait(Wait {
            wait_id: number.to_string(),
            cell_id: CellId::new("1"),
            received: Instant::now(),
            max_output_tokens: None,
            answer: oneshot::channel().0,
            over: Vec::new(),
        })
    }

    #[test]
    fn an_id_is_known_to_be_used_until_so_many_others_were() {
        let mut asks = Asks::new();
        for number in 0..=REMEMBERED_IDS {
            let ask = asks.begin(wait(number)).expect("it is new");
            assert!(asks.end(ask).is_some());
        }
        let code = |began: Result<AskId, Status>| began.map_err(|status| status.code()).err();
        assert_eq!(code(asks.begin(wait(1))), Some(Code::AlreadyExists));
        assert_eq!(code(asks.begin(wait(0))), None, "it is forgotten");
    }

    #[test]
    fn what_a_client_asks_at_one_time_is_bounded() {
        let mut asks = Asks::new();
        for _ in 0..MAX_ASKS {
            assert!(asks.begin(Asker::Nobody).is_ok());
        }
        assert!(asks.begin(Asker::Nobody).is_err());
        let own = asks.begin_own(Asker::Nobody);
        assert!(asks.end(own).is_some() && asks.end(own).is_none());
        assert_eq!(asks.end_all().len(), MAX_ASKS);
        assert!(asks.begin(Asker::Nobody).is_ok());
    }
}
