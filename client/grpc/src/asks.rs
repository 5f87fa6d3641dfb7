// SPDX-License-Identifier: Apache-2.0
//! What the client asks of one session, as calls of the host: a task for each, which says how it went.

use std::time::Duration;

use code_mode_api::{CellId, ExecuteRequest, SideEffects, ToolError};
use code_mode_client::SentExecutes;
use code_mode_grpc::extensions as ours;
use code_mode_grpc::tonic::{Code, Response, Status, Streaming};
use code_mode_grpc::v1;
use code_mode_grpc::v1::code_mode_host_client::CodeModeHostClient;
use code_mode_protocol::{
    DelegateRequestId, DelegateValue, OperationRequest, OperationValue, RequestId, WaitOutcome,
};
use tokio::sync::mpsc;

use crate::convert;
use crate::proof::{Mark, Unprocessed, unprocessed};
use crate::session::{Asked, Asks, Observes, Open, Said, Session, Wish};
use crate::tell::Tell;
use crate::wire::{Requests, is_lost, why};

/// The metadata that says how long a result had waited for its observer, in nanoseconds.
const BUFFERED_FOR: &str = "codex-code-mode-result-buffered-for-ns";

impl Session {
    /// Does what the client wants.
    pub(crate) async fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Asked {
                id,
                request: OperationRequest::Execute { .. },
            } if self.ended_by_host.is_some() => self.answer(id, Err(convert::not_sent())).await,
            Wish::Asked { id, request } => self.ask(id, request),
            Wish::Cancelled { id } => self.cancelled(id).await,
            Wish::Answered { id, result } => self.answered(id, result).await,
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
                let execute = Execute {
                    id,
                    session_id,
                    request,
                    sent: self.opening.sent.clone(),
                };
                self.cells.begin(id);
                let task = self
                    .tasks
                    .spawn(async move { execute.run(host, &said).await });
                self.asked.insert(id, Asked::Execute(task));
            }
            OperationRequest::Wait {
                request,
                output_range: Some(range),
                ..
            } => {
                self.asked.insert(id, Asked::Other);
                self.tasks.spawn(async move {
                    let asked = ours::ReadOutputRequest {
                        session_id,
                        cell_id: request.cell_id.to_string(),
                        offset: range.offset,
                        max_bytes: range.max_bytes,
                    };
                    let read = extensions.read_output(asked).await.map(|read| {
                        let read = read.into_inner();
                        Ok(OperationValue::OutputRead {
                            cell_id: request.cell_id,
                            offset: read.offset,
                            total_bytes: read.total_bytes,
                            text: read.text,
                        })
                    });
                    tell_answer(id, read, SideEffects::None, &said, &tell).await;
                });
            }
            OperationRequest::Wait {
                request,
                max_output_tokens,
                ..
            } => {
                let asked = v1::WaitRequest {
                    session_id,
                    cell_id: request.cell_id.to_string(),
                    wait_id: id.get().to_string(),
                    yield_time_ms: convert::yield_time_ms(request.yield_time),
                    max_output_tokens,
                };
                self.observe(id, request.cell_id, Observes::Wait);
                self.tasks.spawn(async move {
                    let answered = host.wait(asked).await.map(observed);
                    tell_answer(id, answered, SideEffects::Possible, &said, &tell).await;
                });
            }
            OperationRequest::Terminate {
                cell_id,
                max_output_tokens,
                ..
            } => {
                let asked = v1::TerminateRequest {
                    session_id,
                    cell_id: cell_id.to_string(),
                    max_output_tokens,
                };
                self.observe(id, cell_id, Observes::Terminate);
                self.tasks.spawn(async move {
                    let answered = host.terminate(asked).await.map(observed);
                    tell_answer(id, answered, SideEffects::Possible, &said, &tell).await;
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
            OperationRequest::ListCells { .. } => {
                self.asked.insert(id, Asked::Other);
                self.tasks.spawn(async move {
                    let asked = ours::ListCellsRequest { session_id };
                    let listed = extensions.list_cells(asked).await.map(|listed| {
                        let cells = convert::cells(listed.into_inner().cells)?;
                        Ok(OperationValue::CellsListed { cells })
                    });
                    tell_answer(id, listed, SideEffects::None, &said, &tell).await;
                });
            }
            OperationRequest::ExportStore { .. } => {
                self.asked.insert(id, Asked::Other);
                self.tasks.spawn(async move {
                    let asked = ours::ExportStoreRequest { session_id };
                    let exported = extensions.export_store(asked).await.map(|exported| {
                        let values = convert::values(exported.into_inner().values)?;
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
                        values: convert::stored(values),
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

    fn observe(&mut self, id: RequestId, cell_id: CellId, observes: Observes) {
        let execute = self.cells.observe(&cell_id);
        let observer = Asked::Observer {
            cell_id,
            execute,
            observes,
        };
        self.asked.insert(id, observer);
    }

    async fn cancelled(&mut self, id: RequestId) {
        match self.asked.get_mut(&id) {
            // A wait is over when the host has said so, and tells itself how it ended.
            Some(Asked::Observer { observes, .. }) if *observes != Observes::Terminate => {
                *observes = Observes::CancelledWait;
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
                let result = Err(convert::error(&status, SideEffects::Possible));
                self.answer(id, result).await;
            }
            Some(Asked::Execute(_) | Asked::Observer { .. } | Asked::Other) | None => {}
        }
    }

    async fn answered(&mut self, id: DelegateRequestId, result: Result<DelegateValue, ToolError>) {
        use v1::complete_tool_call_request::Outcome;
        let mut host = self.opening.host.clone();
        let session_id = self.id.clone();
        let tell = self.opening.tell.clone();
        let Some(Open { execute, asks }) = self.open.remove(&id) else {
            return;
        };
        match asks {
            Asks::Call(invocation_id) => {
                let failed = |message| Outcome::Failed(v1::ToolCallFailed { message });
                let outcome = match result {
                    Ok(DelegateValue::ToolResult { result }) => {
                        Outcome::Succeeded(v1::ToolCallSucceeded {
                            output_json: convert::bytes(result),
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
            Asks::Notification(notification_id) => {
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
                let ready = self.cells.notified(execute);
                self.tell_all(ready).await;
            }
        }
    }
}

/// An execute on its way to the host.
struct Execute {
    id: RequestId,
    session_id: String,
    request: ExecuteRequest,
    sent: SentExecutes,
}

impl Execute {
    /// Sends it, and hands on what the host says; once more where the host has refused its stream unseen.
    async fn run(self, mut host: CodeModeHostClient<Requests>, said: &mpsc::Sender<Said>) {
        let id = self.id;
        let mut begun = self.begin(&mut host).await;
        if matches!(&begun, Err((_, Some(Unprocessed::Refused)))) {
            begun = self.begin(&mut host).await;
        }
        let says = match begun {
            Ok(events) => return follow(id, events, said).await,
            Err((status, Some(Unprocessed::Refused))) => Said::Refused {
                id,
                why: why(&status),
            },
            Err((status, _)) => Said::Outcome {
                id,
                outcome: Err(status),
            },
        };
        let _ = said.send(says).await;
    }

    async fn begin(
        &self,
        host: &mut CodeModeHostClient<Requests>,
    ) -> Result<Streaming<v1::ExecuteEvent>, (Status, Option<Unprocessed>)> {
        let id = self.id.get();
        let request = self.request.clone();
        let mut asked = convert::execute(&self.session_id, id.to_string(), request);
        asked.extensions_mut().insert(Mark {
            sent: self.sent.clone(),
            id,
        });
        match host.execute(asked).await {
            Ok(events) => {
                self.sent.answered(id);
                Ok(events.into_inner())
            }
            Err(status) => {
                let proof = unprocessed(&status);
                let is_refusal =
                    !is_lost(&status) && convert::side_effects(&status) == SideEffects::None;
                if proof.is_some() || is_refusal {
                    self.sent.take_back(id);
                } else {
                    self.sent.answered(id);
                }
                Err((status, proof))
            }
        }
    }
}

/// Reads the events of an execute to their end and hands them on; there is one outcome in any case.
async fn follow(id: RequestId, mut events: Streaming<v1::ExecuteEvent>, said: &mpsc::Sender<Said>) {
    use v1::execute_event::Event;
    let mut has_outcome = false;
    loop {
        let says = match events.message().await.map(|next| next.map(|one| one.event)) {
            Ok(Some(Some(Event::Started(started)))) => Said::Started { id, started },
            Ok(Some(Some(Event::Outcome(outcome)))) => {
                let outcome = Ok(Some(outcome));
                Said::Outcome { id, outcome }
            }
            // A newer host may say what this client does not know.
            Ok(Some(None)) => continue,
            Ok(None) if has_outcome => return,
            Ok(None) => Said::Outcome {
                id,
                outcome: Ok(None),
            },
            Err(_) if has_outcome => return,
            Err(status) => Said::Outcome {
                id,
                outcome: Err(status),
            },
        };
        let is_outcome = matches!(says, Said::Outcome { .. });
        if is_outcome && has_outcome {
            return;
        }
        has_outcome |= is_outcome;
        let _ = said.send(says).await;
    }
}

/// What a wait or terminate gave.
fn observed(response: Response<v1::WaitResponse>) -> Result<OperationValue, String> {
    use v1::wait_response::Outcome;
    let buffered_for = response.metadata().get(BUFFERED_FOR);
    let buffered_for = buffered_for.and_then(|time| time.to_str().ok()?.parse().ok());
    let buffered_for = buffered_for.map(Duration::from_nanos);
    let outcome = match response.into_inner().outcome {
        Some(Outcome::LiveCell(outcome)) => {
            WaitOutcome::LiveCell(convert::response(outcome, buffered_for)?)
        }
        Some(Outcome::MissingCell(outcome)) => {
            WaitOutcome::MissingCell(convert::response(outcome, None)?)
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
        Err(status) => Err(convert::error(&status, side_effects)),
    };
    let _ = said.send(Said::Answer { id, result }).await;
}
