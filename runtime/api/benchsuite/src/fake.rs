// SPDX-License-Identifier: Apache-2.0
//! A subject without a process or an engine, which knows the scenarios' scripts by their words.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use code_mode_api::*;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;

use crate::{Instance, Round, Subject, Task, delegate};

/// A subject whose cells end at once, unless their script parks.
#[derive(Default, Clone)]
pub(crate) struct FakeSubject {
    pub(crate) name: &'static str,
    /// The most cells that are parked or spin at one time.
    pub(crate) cap: Option<usize>,
    /// The error that scripts end with, all after the first [`good_execs`](Self::good_execs).
    pub(crate) error_text: Option<String>,
    /// How many scripts end without an error, whatever `error_text` says.
    pub(crate) good_execs: usize,
    /// Source and number of tools of every exec.
    pub(crate) executed: Arc<Mutex<Vec<(String, usize)>>>,
    /// The name of each subject that was started; clones share their records.
    pub(crate) started: Arc<Mutex<Vec<&'static str>>>,
    /// How many were ended.
    pub(crate) ended: Arc<Mutex<usize>>,
}

impl Subject for FakeSubject {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn measure<'a>(&'a self, task: &'a Task) -> BoxFuture<'a, Round> {
        Box::pin(task.run(self.start()))
    }
}

impl FakeSubject {
    /// How many subjects were started and ended.
    pub(crate) fn life_cycles(&self) -> (usize, usize) {
        (
            self.started.lock().unwrap().len(),
            *self.ended.lock().unwrap(),
        )
    }

    fn start(&self) -> Instance {
        let (delegate, calls) = delegate();
        self.started.lock().unwrap().push(self.name);
        let ended = self.ended.clone();
        Instance {
            session: Arc::new(FakeSession {
                id: SessionId::new("fake").unwrap(),
                delegate,
                subject: self.clone(),
                open: Mutex::default(),
            }),
            calls,
            startup: Duration::from_millis(3),
            process_id: Some(std::process::id()),
            shutdown: Box::pin(async move { *ended.lock().unwrap() += 1 }),
        }
    }
}

struct FakeSession {
    id: SessionId,
    delegate: Arc<dyn SessionDelegate>,
    subject: FakeSubject,
    /// The parked call of each cell that has not ended.
    open: Mutex<HashMap<CellId, JoinHandle<()>>>,
}

impl FakeSession {
    fn park(&self, cell_id: &CellId) {
        let call = self.delegate.invoke_tool(
            ToolInvocation {
                session_id: self.id.clone(),
                cell_id: cell_id.clone(),
                call_id: "tool-1".to_owned(),
                exec_call_id: String::new(),
                tool_name: ToolName {
                    name: "park".to_owned(),
                    namespace: None,
                },
                tool_kind: ToolKind::Function,
                input: RawValue::from_string("null".to_owned()).unwrap(),
            },
            CancellationSignal::new(),
        );
        let call = tokio::spawn(async move { drop(call.await) });
        self.open.lock().unwrap().insert(cell_id.clone(), call);
    }

    fn response(&self, cell_id: CellId, status: CellStatus) -> CellResponse {
        CellResponse {
            cell_id,
            status,
            content_items: Vec::new(),
            timings: CellTimings::default(),
            state_lost: None,
        }
    }

    fn completed(&self) -> CellStatus {
        let executed = self.subject.executed.lock().unwrap().len();
        let error_text = self.subject.error_text.clone();
        CellStatus::Completed {
            error_text: error_text.filter(|_| executed > self.subject.good_execs),
        }
    }
}

impl CodeModeSession for FakeSession {
    fn session_id(&self) -> &SessionId {
        &self.id
    }

    fn execute(&self, request: ExecuteRequest) -> BoxFuture<'_, Result<StartedCell, SessionError>> {
        Box::pin(async move {
            let number = {
                let mut executed = self.subject.executed.lock().unwrap();
                executed.push((request.source.clone(), request.tools.len()));
                executed.len()
            };
            let cell_id = CellId::new(number.to_string());
            let open = self.open.lock().unwrap().len();
            if let Some(cap) = self.subject.cap.filter(|&cap| open >= cap) {
                return Err(SessionError::Limit {
                    limit: LimitName::ActiveCells,
                    maximum: cap as u64,
                    detail: String::new(),
                });
            }
            if request.source.contains("tools.park()") {
                self.park(&cell_id);
            }
            let status = match request.source.contains("yield_control()") {
                true => CellStatus::Yielded,
                false => self.completed(),
            };
            let response = self.response(cell_id.clone(), status);
            let spins = request.source.contains("for (;;)");
            Ok(StartedCell {
                cell_id,
                first_response: Box::pin(async move {
                    if spins {
                        std::future::pending::<()>().await;
                    }
                    Ok(response)
                }),
            })
        })
    }

    fn wait(&self, request: WaitRequest) -> BoxFuture<'_, Result<CellResponse, SessionError>> {
        Box::pin(async move {
            let call = self.open.lock().unwrap().remove(&request.cell_id);
            let Some(call) = call else {
                return Err(SessionError::MissingCell {
                    cell_id: request.cell_id,
                });
            };
            call.await.unwrap();
            Ok(self.response(request.cell_id, self.completed()))
        })
    }

    fn terminate(&self, cell_id: CellId) -> BoxFuture<'_, Result<CellResponse, SessionError>> {
        Box::pin(async move {
            let call = self.open.lock().unwrap().remove(&cell_id);
            let status = match call {
                Some(_) => CellStatus::Terminated,
                None => self.completed(),
            };
            Ok(self.response(cell_id, status))
        })
    }

    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn import_store(
        &self,
        _: BTreeMap<String, RawJson>,
    ) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async { Ok(()) })
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async { Ok(()) })
    }
}
