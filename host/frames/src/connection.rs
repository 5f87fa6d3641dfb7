// SPDX-License-Identifier: Apache-2.0
//! What the tasks and threads of one connection share.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use code_mode_api::waist::Credit;
use code_mode_api::{CellId, CellResponse, TIMING_TARGET};
use code_mode_protocol::{
    AgreedCapabilities, EncodeError, EncodedFrame, Extension, HostMessage, OperationValue,
    RequestId, WireError,
};
use tokio::sync::Notify;
use tracing::field::Empty;

use crate::ServeError;
use crate::calls::Calls;
use crate::config::{Config, ConnectionLimits, FailureHook, V1Timings};
use crate::direct::DirectOutput;
use crate::draining::OpenCells;
use crate::outgoing::{Outgoing, QueueClosed};
use crate::refusal::Refusal;
use crate::requests::{InFlight, Requests};
use crate::word::Word;

/// The shared part of a connection: the ways out, the tables of what is open, and the first
/// failure.
pub(crate) struct Connection {
    pub(crate) outgoing: Outgoing,
    pub(crate) requests: Requests,
    pub(crate) calls: Calls,
    /// The outboxes that hold events which nobody passes on.
    pub(crate) word: Word,
    /// The cells of all sessions, for the end in order.
    pub(crate) open_cells: OpenCells,
    /// What the operator says about timings.
    timings: V1Timings,
    /// Set by the handshake, before anything can be asked.
    agreed: OnceLock<AgreedCapabilities>,
    failure: Mutex<Failure>,
    failed: Notify,
    on_failure: Option<FailureHook>,
}

/// The first failure of a connection.
#[derive(Default)]
struct Failure {
    /// Whether there was one and it was told.
    announced: bool,
    /// What it was, until the closing task takes it.
    error: Option<ServeError>,
}

impl Connection {
    pub(crate) fn new(config: &Config, direct: Option<DirectOutput>) -> Self {
        let limits: &ConnectionLimits = &config.limits;
        Self {
            outgoing: Outgoing::new(limits, direct),
            requests: Requests::new(limits.requests_in_flight, limits.remembered_requests),
            calls: Calls::new(limits.delegate_calls, limits.remembered_calls),
            word: Word::default(),
            open_cells: OpenCells::default(),
            timings: config.timings,
            agreed: OnceLock::new(),
            failure: Mutex::default(),
            failed: Notify::new(),
            on_failure: config.on_failure.clone(),
        }
    }

    /// The capabilities that the handshake found; none before it.
    pub(crate) fn agreed(&self) -> AgreedCapabilities {
        self.agreed.get().cloned().unwrap_or_default()
    }

    /// Takes note of what the handshake found.
    pub(crate) fn agree(&self, agreed: AgreedCapabilities) {
        // There is one handshake, since a second hello is a violation.
        let _ = self.agreed.set(agreed);
    }

    /// Which timings this client gets.
    pub(crate) fn timings(&self) -> V1Timings {
        if self.has(Extension::YieldObservation) {
            V1Timings::Duration
        } else {
            self.timings
        }
    }

    /// Whether the handshake has found this addition on both sides.
    fn has(&self, extension: Extension) -> bool {
        self.agreed
            .get()
            .is_some_and(|agreed| agreed.has(extension))
    }

    /// Takes note of a failure; the first one fails the connection.
    pub(crate) fn fail(&self, error: ServeError) {
        if !self.announce(&error) {
            tracing::debug!(%error, "a further failure of a connection that has failed");
            return;
        }
        self.failure_state().error = Some(error);
        self.failed.notify_one();
    }

    /// Tells whoever wants to know of the first failure. False if this was not the first.
    pub(crate) fn announce(&self, error: &ServeError) -> bool {
        let first = !std::mem::replace(&mut self.failure_state().announced, true);
        if first && let Some(on_failure) = &self.on_failure {
            on_failure(error);
        }
        first
    }

    /// Resolves with the first failure. Only for the task that closes the connection.
    pub(crate) async fn failure(&self) -> ServeError {
        loop {
            let notified = self.failed.notified();
            if let Some(error) = self.take_failure() {
                return error;
            }
            notified.await;
        }
    }

    /// The first failure, if there was one and it was not taken.
    pub(crate) fn take_failure(&self) -> Option<ServeError> {
        self.failure_state().error.take()
    }

    fn failure_state(&self) -> MutexGuard<'_, Failure> {
        // Nothing panics while the lock is held, so a poisoned state is still whole.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Encodes a message, on the thread that has it.
    ///
    /// # Errors
    /// When it exceeds the frame cap. Any other reason is a defect and fails the connection.
    pub(crate) fn encode(&self, message: &HostMessage) -> Result<EncodedFrame, EncodeError> {
        let none = AgreedCapabilities::none();
        let agreed = self.agreed.get().unwrap_or(&none);
        let span = tracing::debug_span!(target: TIMING_TARGET, "encode", bytes = Empty).entered();
        let frame = EncodedFrame::encode(message, agreed)?;
        span.record("bytes", frame.wire_bytes());
        Ok(frame)
    }

    /// Sends a message that cannot exceed the frame cap; `credit` is that of its event.
    pub(crate) fn send(&self, message: &HostMessage, credit: Option<Credit>) {
        match self.encode(message) {
            Ok(frame) => self.push(frame, credit),
            Err(error) => self.fail(ServeError::Encode(error)),
        }
    }

    /// Answers a request, unless it has been answered.
    pub(crate) fn answer(
        &self,
        id: RequestId,
        result: Result<OperationValue, Refusal>,
        credit: Option<Credit>,
    ) {
        if self.requests.finish(id).is_none() {
            return;
        }
        let message = |id, result| HostMessage::OperationResponse { id, result };
        self.send_answer(id, result, message, credit);
    }

    /// Answers an execute with `execution/started`; it goes on to owe an initial response.
    pub(crate) fn start(&self, id: RequestId, cell_id: CellId, credit: Credit) {
        self.requests.started(id);
        let result = Ok(OperationValue::ExecutionStarted { cell_id });
        let message = HostMessage::OperationResponse { id, result };
        self.send(&message, Some(credit));
    }

    /// Gives an execute its initial response, unless it had one.
    pub(crate) fn answer_initial(
        &self,
        id: RequestId,
        result: Result<CellResponse, Refusal>,
        credit: Option<Credit>,
    ) {
        if self.requests.finish(id).is_none() {
            return;
        }
        let message = |id, result| HostMessage::ExecuteInitialResponse { id, result };
        self.send_answer(id, result, message, credit);
    }

    /// Answers a request that is not in the table, because the bound of the table is reached.
    pub(crate) fn refuse(&self, id: RequestId, refusal: Refusal) {
        let result = Err(self.wire_error(refusal));
        self.send(&HostMessage::OperationResponse { id, result }, None);
    }

    /// Answers every request in flight with this failure.
    pub(crate) fn answer_all(&self, failure: &ServeError) {
        for (id, request) in self.requests.finish_all() {
            let refusal = Refusal::new(
                "runtime-lost",
                format!("the code-mode host fails: {failure}"),
            )
            .after_side_effects();
            let error = self.wire_error(refusal);
            let message = match request {
                InFlight::Started(_) => HostMessage::ExecuteInitialResponse {
                    id,
                    result: Err(error),
                },
                InFlight::Operation | InFlight::Wait(_) | InFlight::Execute(_) => {
                    HostMessage::OperationResponse {
                        id,
                        result: Err(error),
                    }
                }
            };
            self.send(&message, None);
        }
    }

    /// Sends an answer, or an error in its place when it exceeds the frame cap.
    fn send_answer<T>(
        &self,
        id: RequestId,
        result: Result<T, Refusal>,
        message: impl Fn(RequestId, Result<T, WireError>) -> HostMessage,
        credit: Option<Credit>,
    ) {
        let answer = message(id, result.map_err(|refusal| self.wire_error(refusal)));
        match self.encode(&answer) {
            Ok(frame) => self.push(frame, credit),
            Err(EncodeError::TooLong { maximum, .. }) => {
                let bytes = encoded_bytes(&answer);
                let refusal = Refusal::new(
                    "frame-too-long",
                    format!(
                        "the result takes {bytes} bytes as a frame, which holds at most {maximum}; \
                         put out less at a time"
                    ),
                );
                let error = self.wire_error(refusal.after_side_effects());
                self.send(&message(id, Err(error)), credit);
            }
            Err(error) => self.fail(ServeError::Encode(error)),
        }
    }

    fn push(&self, frame: EncodedFrame, credit: Option<Credit>) {
        if self.outgoing.push(frame, credit) == Err(QueueClosed) {
            tracing::trace!("a frame was dropped because the connection is closing");
        }
    }

    fn wire_error(&self, refusal: Refusal) -> WireError {
        let none = AgreedCapabilities::none();
        refusal.into_agreed(self.agreed.get().unwrap_or(&none))
    }
}

/// How many bytes a message takes, however many these are.
fn encoded_bytes(message: &HostMessage) -> u64 {
    struct Counter(u64);

    impl std::io::Write for Counter {
        fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
            self.0 += part.len() as u64;
            Ok(part.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, message) {
        Ok(()) => counter.0,
        // It was serialised before as far as the cap; what was counted is a lower bound.
        Err(error) => {
            tracing::error!(%error, "a message cannot be counted");
            counter.0
        }
    }
}
