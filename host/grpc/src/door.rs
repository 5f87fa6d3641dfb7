// SPDX-License-Identifier: Apache-2.0
//! The calls of the service.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::waist::{Ask, AskId, Sessions};
use code_mode_api::{CellId, ExecuteRequest, SessionId, SessionOptions, ToolError, WaitRequest};
use code_mode_grpc::tonic::codegen::tokio_stream::Stream;
use code_mode_grpc::tonic::metadata::MetadataValue;
use code_mode_grpc::tonic::{Code, Request, Response, Status};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_server::CodeModeHost;
use code_mode_service::{DEFAULT_KEPT_OUTPUT_BYTES, SessionOutput};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::asked::Extras;
use crate::asks::{Asker, Execute, Seen, Wait};
use crate::bell::{DoorBell, courier};
use crate::check;
use crate::limits::MAX_PENDING_CALLS;
use crate::mailbox::Mailbox;
use crate::metrics::Metrics;
use crate::peer::Owner;
use crate::registry::Registry;
use crate::session::{DoorSession, Effect, Home, Options};
use crate::status;
use crate::trace;
use crate::word::Word;

/// The header that says how long a result had waited for its observer, in nanoseconds.
const BUFFERED_FOR: &str = "codex-code-mode-result-buffered-for-ns";

/// The header of W3C trace context.
const TRACEPARENT: &str = "traceparent";

/// The service over any sessions. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    sessions: Arc<dyn Sessions>,
    registry: Arc<Registry>,
    /// Bytes of cut output that each session keeps.
    kept_output_bytes: usize,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Door {
    /// A door to these sessions, each of which keeps [`DEFAULT_KEPT_OUTPUT_BYTES`] of cut output.
    pub fn new(sessions: Arc<dyn Sessions>) -> Self {
        Self::keeping(DEFAULT_KEPT_OUTPUT_BYTES, sessions)
    }

    /// A door to these sessions, each of which keeps at most so much of the output that the door cuts, in bytes
    /// of UTF-8.
    pub fn keeping(kept_output_bytes: usize, sessions: Arc<dyn Sessions>) -> Self {
        Self {
            inner: Arc::new(Inner {
                sessions,
                registry: Registry::new(Arc::default()),
                kept_output_bytes,
            }),
        }
    }

    /// What the door counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.registry.metrics
    }

    /// Opens no session any more, and takes no execute in a session that has no cell; cells go on.
    pub fn drain(&self) {
        self.inner.registry.gate.drain();
    }

    /// Resolves when no cell runs or keeps a result, and no execute is about to become one. With a door
    /// that drains, none ever will.
    pub async fn quiet(&self) {
        self.inner.registry.gate.quiet().await;
    }

    /// Ends every session, and resolves when all cells have ended.
    pub async fn close_all(&self) {
        let closing: Vec<oneshot::Receiver<()>> = self
            .inner
            .registry
            .all()
            .into_iter()
            .map(|session| {
                let (tell, closed) = oneshot::channel();
                session.close(Some(tell));
                closed
            })
            .collect();
        for closed in closing {
            // It is dropped untold when the session had ended before.
            let _ = closed.await;
        }
    }

    pub(crate) fn find<T>(
        &self,
        request: &Request<T>,
        id: &str,
    ) -> Result<Arc<DoorSession>, Status> {
        check::uuid("session ID", id)?;
        self.inner.registry.find(id, owner(request)?)
    }

    /// The session of an execute. A host that drains may have closed it, and then says that.
    fn find_to_execute(
        &self,
        request: &Request<v1::ExecuteRequest>,
    ) -> Result<Arc<DoorSession>, Status> {
        let gate = &self.inner.registry.gate;
        self.find(request, &request.get_ref().session_id)
            .map_err(|status| match status.code() {
                Code::NotFound if gate.is_draining() => status::draining(),
                _ => status,
            })
    }
}

fn owner<T>(request: &Request<T>) -> Result<&Owner, Status> {
    request
        .extensions()
        .get::<Owner>()
        .ok_or_else(|| Status::internal("the connection has no owner"))
}

fn traceparent<T>(request: &Request<T>) -> Option<String> {
    let text = request.metadata().get(TRACEPARENT)?.to_str().ok()?;
    check::is_traceparent(text).then(|| text.to_owned())
}

#[code_mode_grpc::tonic::async_trait]
impl CodeModeHost for Door {
    type OpenSessionStream = Streamed<v1::SessionEvent>;
    type SubscribeToToolCallsStream = Streamed<v1::ToolCall>;
    type ExecuteStream = Streamed<v1::ExecuteEvent>;

    async fn open_session(
        &self,
        request: Request<v1::OpenSessionRequest>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let owner = owner(&request)?.clone();
        if self.inner.registry.gate.is_draining() {
            return Err(status::draining());
        }
        let request = request.into_inner();
        let (options, agreed) = self.options(&request)?;
        let id = Uuid::new_v4().to_string();
        let word = Arc::new(Word::default());
        let registry = &self.inner.registry;
        let session = Arc::new(DoorSession::new(
            id.clone(),
            owner,
            options,
            Arc::clone(&registry.metrics),
            Arc::downgrade(&(Arc::clone(registry) as Arc<dyn Home>)),
            Arc::clone(&word),
            registry.gate.clone(),
        ));
        let bell = DoorBell {
            session: Arc::downgrade(&session),
            word: Arc::clone(&word),
        };
        let engine_options = SessionOptions {
            session_id: SessionId::new(&id),
            ..SessionOptions::default()
        };
        let engine = self
            .inner
            .sessions
            .open(engine_options, Arc::new(bell))
            .map_err(|error| status::of_session_error(&error))?;
        // The cell is new, so there is nothing in it to lose.
        let _ = session.engine.set(engine);
        registry.insert(Arc::clone(&session));
        tokio::spawn(courier(Arc::downgrade(&session), word));
        let opened = v1::SessionOpened {
            session_id: id,
            output_truncation: i32::from(agreed),
        };
        session.tell(v1::session_event::Event::Opened(opened), None);
        let leased = Arc::clone(&session);
        let lease = session.lease.reader(move || leased.close(None));
        Ok(Response::new(Box::pin(lease)))
    }

    async fn close_session(
        &self,
        request: Request<v1::CloseSessionRequest>,
    ) -> Result<Response<v1::CloseSessionResponse>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        let (tell, closed) = oneshot::channel();
        session.close(Some(tell));
        // It is dropped untold when the session had ended before.
        let _ = closed.await;
        Ok(Response::new(v1::CloseSessionResponse {}))
    }

    async fn subscribe_to_tool_calls(
        &self,
        request: Request<v1::SubscribeToToolCallsRequest>,
    ) -> Result<Response<Self::SubscribeToToolCallsStream>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        let names = request
            .into_inner()
            .tool_names
            .into_iter()
            .map(check::tool_name)
            .collect::<Result<Vec<_>, _>>()?;
        let mailbox = Mailbox::new();
        let number = session.change(|state, _| {
            let mailbox = Arc::clone(&mailbox);
            state.calls.subscribe(names, mailbox)
        })?;
        let subscribed = Arc::downgrade(&session);
        let stream = mailbox.reader(move || {
            if let Some(session) = subscribed.upgrade() {
                session.change(|state, effects| {
                    let lost = state.calls.unsubscribe(number);
                    effects.extend(lost.into_iter().map(Effect::Answer));
                });
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn complete_tool_call(
        &self,
        request: Request<v1::CompleteToolCallRequest>,
    ) -> Result<Response<v1::CompleteToolCallResponse>, Status> {
        use v1::complete_tool_call_request::Outcome;
        let session = self.find(&request, &request.get_ref().session_id)?;
        let request = request.into_inner();
        check::uuid("tool invocation ID", &request.invocation_id)?;
        let result = match request.outcome {
            Some(Outcome::Succeeded(succeeded)) => Ok(check::json(
                "code-mode tool output JSON",
                &succeeded.output_json,
            )?),
            Some(Outcome::Failed(failed)) => Err(ToolError::new(failed.message)),
            None => {
                return Err(Status::invalid_argument(
                    "tool completion is missing its outcome",
                ));
            }
        };
        session.change(|state, effects| {
            if let Some(call) = state.calls.complete(&request.invocation_id)? {
                effects.push(Effect::Answer((call, result)));
            }
            Ok(Response::new(v1::CompleteToolCallResponse {}))
        })
    }

    async fn acknowledge_notification(
        &self,
        request: Request<v1::AcknowledgeNotificationRequest>,
    ) -> Result<Response<v1::AcknowledgeNotificationResponse>, Status> {
        self.find(&request, &request.get_ref().session_id)?;
        check::uuid("notification ID", &request.get_ref().notification_id)?;
        Ok(Response::new(v1::AcknowledgeNotificationResponse {}))
    }

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let received = Instant::now();
        let session = self.find_to_execute(&request)?;
        let traceparent = traceparent(&request);
        let extras = Extras::of(&request)?;
        let request = request.into_inner();
        check::id("execution ID", &request.execution_id)?;
        check::id("tool call ID", &request.tool_call_id)?;
        let execution_id = request.execution_id.clone();
        let max_output_tokens = request.max_output_tokens;
        let mut asked: ExecuteRequest = check::execute(request)?;
        extras.apply(&mut asked);
        session.options.apply(&mut asked);
        let (admitted, admission) = oneshot::channel();
        let mailbox = Mailbox::new();
        let span = trace::execute(&session.id, &execution_id, traceparent.as_deref());
        let execute = Execute {
            execution_id,
            traceparent,
            span: span.clone(),
            received,
            max_output_tokens,
            admitted: Some(admitted),
            mailbox: Arc::clone(&mailbox),
            cell_id: None,
            pass: None,
            abandoned: false,
        };
        let taken = session.change(|state, effects| {
            let ask = state.execute(&session.id, execute)?;
            effects.push(Effect::Execute(ask, Box::new(asked), span));
            Ok::<_, Status>(ask)
        });
        let ask = taken.inspect_err(|_| session.metrics.executions_refused.add_one())?;
        // From here on, whoever drops the stream, or this future, lets go of the execute.
        let executing = Arc::downgrade(&session);
        let stream = mailbox.reader(move || {
            if let Some(session) = executing.upgrade() {
                abandon(&session, ask);
            }
        });
        match admission.await {
            Ok(Ok(())) => Ok(Response::new(Box::pin(stream))),
            Ok(Err(status)) => Err(status),
            Err(_) => Err(Status::aborted("code-mode execution was abandoned")),
        }
    }

    async fn wait(
        &self,
        request: Request<v1::WaitRequest>,
    ) -> Result<Response<v1::WaitResponse>, Status> {
        let received = Instant::now();
        let session = self.find(&request, &request.get_ref().session_id)?;
        let request = request.into_inner();
        check::id("cell ID", &request.cell_id)?;
        check::id("wait ID", &request.wait_id)?;
        let cell_id = CellId::new(&request.cell_id);
        let yield_time = Duration::from_millis(request.yield_time_ms);
        let asked = WaitRequest {
            cell_id: cell_id.clone(),
            yield_time: Some(session.options.within(yield_time)),
        };
        let (answer, seen) = oneshot::channel();
        let wait = Wait {
            wait_id: request.wait_id,
            cell_id,
            received,
            max_output_tokens: request.max_output_tokens,
            answer,
            over: Vec::new(),
        };
        let ask = session.change(|state, effects| {
            let ask = state.asks.begin(Asker::Wait(wait))?;
            effects.push(Effect::ask(ask, Ask::Wait(asked)));
            Ok::<_, Status>(ask)
        })?;
        let mut withdraw = WithdrawOnDrop {
            session: Some(Arc::clone(&session)),
            ask,
        };
        let seen = seen.await;
        withdraw.session = None;
        answer_of(seen)
    }

    async fn yield_observation(
        &self,
        request: Request<v1::YieldObservationRequest>,
    ) -> Result<Response<v1::YieldObservationResponse>, Status> {
        use v1::yield_observation_request::Observation;
        let session = self.find(&request, &request.get_ref().session_id)?;
        let observation = request.into_inner().observation;
        match &observation {
            Some(Observation::ExecutionId(id)) => check::id("execution ID", id)?,
            Some(Observation::WaitId(id)) => check::id("wait ID", id)?,
            None => {
                return Err(Status::invalid_argument("missing code-mode observation ID"));
            }
        }
        session.change(|state, effects| {
            let observed = match &observation {
                Some(Observation::ExecutionId(id)) => state.asks.executing(id),
                Some(Observation::WaitId(id)) => state.asks.waiting(id),
                None => None,
            };
            if let Some(observed) = observed {
                let ask = state.asks.begin_own(Asker::Nobody);
                effects.push(Effect::ask(ask, Ask::Yield { ask: observed }));
                // It has no answer.
                state.asks.end(ask);
            }
        });
        Ok(Response::new(v1::YieldObservationResponse {}))
    }

    async fn cancel_wait(
        &self,
        request: Request<v1::CancelWaitRequest>,
    ) -> Result<Response<v1::CancelWaitResponse>, Status> {
        let session = self.find(&request, &request.get_ref().session_id)?;
        let wait_id = request.into_inner().wait_id;
        check::id("wait ID", &wait_id)?;
        let (tell, over) = oneshot::channel();
        session.change(|state, effects| {
            if let Some(ask) = state.asks.waiting(&wait_id) {
                state.asks.when_over(ask, tell);
                effects.push(Effect::Withdraw(ask));
            }
        });
        // It is dropped untold with the wait.
        let _ = over.await;
        Ok(Response::new(v1::CancelWaitResponse {}))
    }

    async fn terminate(
        &self,
        request: Request<v1::TerminateRequest>,
    ) -> Result<Response<v1::WaitResponse>, Status> {
        let received = Instant::now();
        let session = self.find(&request, &request.get_ref().session_id)?;
        let request = request.into_inner();
        check::id("cell ID", &request.cell_id)?;
        let cell_id = CellId::new(&request.cell_id);
        let (answer, seen) = oneshot::channel();
        session.change(|state, effects| {
            let ask = state.asks.begin(Asker::Terminate {
                cell_id: cell_id.clone(),
                received,
                max_output_tokens: request.max_output_tokens,
                answer,
            })?;
            effects.push(Effect::ask(ask, Ask::Terminate { cell_id }));
            Ok::<_, Status>(())
        })?;
        answer_of(seen.await)
    }

    async fn get_process_metrics(
        &self,
        _: Request<v1::GetProcessMetricsRequest>,
    ) -> Result<Response<v1::GetProcessMetricsResponse>, Status> {
        Err(Status::unimplemented("process metrics are unsupported"))
    }
}

impl Door {
    /// What a session is opened with, and who cuts its output as its client is told.
    fn options(
        &self,
        request: &v1::OpenSessionRequest,
    ) -> Result<(Options, v1::OutputTruncation), Status> {
        let asked = v1::OutputTruncation::try_from(request.output_truncation)
            .map_err(|_| Status::invalid_argument("unknown code-mode output truncation mode"))?;
        let max_pending_calls = match request.max_pending_delegate_calls {
            None => MAX_PENDING_CALLS,
            Some(calls) => usize::try_from(calls)
                .ok()
                .filter(|calls| (1..=MAX_PENDING_CALLS).contains(calls))
                .ok_or_else(|| {
                    Status::invalid_argument(format!(
                        "max_pending_delegate_calls must be 1 to {MAX_PENDING_CALLS}"
                    ))
                })?,
        };
        let limits = request.cell_execution_limits.unwrap_or_default();
        let (output, agreed) = match asked {
            v1::OutputTruncation::Server => (
                SessionOutput::cut_to_tokens(self.inner.kept_output_bytes),
                asked,
            ),
            v1::OutputTruncation::Client | v1::OutputTruncation::Unspecified => {
                (SessionOutput::whole(), v1::OutputTruncation::Unspecified)
            }
        };
        let options = Options {
            max_yield_time: limits.max_yield_time_ms.map(Duration::from_millis),
            max_heap_bytes: limits.max_heap_size_bytes,
            max_pending_calls,
            output,
        };
        Ok((options, agreed))
    }
}

impl Options {
    /// A yield time within the session's.
    fn within(&self, yield_time: Duration) -> Duration {
        self.max_yield_time
            .map_or(yield_time, |most| yield_time.min(most))
    }

    /// Puts the session's limits on an execute.
    fn apply(&self, request: &mut ExecuteRequest) {
        let default = code_mode_api::DEFAULT_YIELD_TIME;
        if self.max_yield_time.is_some() || request.yield_time.is_some() {
            request.yield_time = Some(self.within(request.yield_time.unwrap_or(default)));
        }
        let heap_bytes = [request.limits.heap_bytes, self.max_heap_bytes];
        request.limits.heap_bytes = heap_bytes.into_iter().flatten().min();
    }
}

/// Ends the cell of an execute whose client has let go before the outcome.
fn abandon(session: &DoorSession, ask: AskId) {
    session.change(|state, effects| {
        let Some(execute) = state.asks.execute(ask) else {
            return;
        };
        execute.abandoned = true;
        if let Some(cell_id) = execute.cell_id.clone() {
            let ask = state.asks.begin_own(Asker::Nobody);
            effects.push(Effect::ask(ask, Ask::Terminate { cell_id }));
        }
    });
}

fn answer_of(
    seen: Result<Result<Seen, Status>, oneshot::error::RecvError>,
) -> Result<Response<v1::WaitResponse>, Status> {
    use v1::wait_response::Outcome;
    let seen = seen.map_err(|_| Status::aborted("code-mode observation was abandoned"))??;
    let (outcome, buffered_for) = match seen {
        Seen::Live(outcome) => (Outcome::LiveCell(outcome.message), outcome.buffered_for),
        Seen::Missing(outcome) => (Outcome::MissingCell(outcome), None),
    };
    let mut response = Response::new(v1::WaitResponse {
        outcome: Some(outcome),
    });
    if let Some(time) = buffered_for {
        let value = MetadataValue::from(crate::convert::nanoseconds(time));
        response.metadata_mut().insert(BUFFERED_FOR, value);
    }
    Ok(response)
}

/// Takes a wait back when its client lets go of it.
struct WithdrawOnDrop {
    session: Option<Arc<DoorSession>>,
    ask: AskId,
}

impl Drop for WithdrawOnDrop {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.change(|_, effects| effects.push(Effect::Withdraw(self.ask)));
        }
    }
}
