// SPDX-License-Identifier: Apache-2.0
//! A session without a process or an engine, for the tests of the commands.
//!
//! Its scripts are lists of instructions, one per line:
//! `text WORDS`, `image URL`, `tool NAME JSON` (its result becomes text), `notify WORDS`,
//! `store KEY JSON`, `load KEY`, `fail MESSAGE`, `lose CAUSE` (the host is lost), `yield`, `hang`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use code_mode_api::*;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Opens [`FakeSession`]s.
#[derive(Default)]
pub struct FakeProvider {
    /// Answers every opening with this error.
    pub refuse: Option<SessionError>,
    /// The values that the sessions share.
    pub values: Arc<Mutex<BTreeMap<String, RawJson>>>,
    /// Every request executed.
    pub executed: Arc<Mutex<Vec<ExecuteRequest>>>,
    /// Whether a cell is not observed while a notification of it is not delivered, as on the public
    /// host once the script has ended.
    pub silent_while_notifying: bool,
    /// How long a script takes to start, as if its host had to be started first.
    pub start_time: Duration,
    /// Why no script has anything to run in, if that is so.
    pub never_born: Option<String>,
}

struct FakeSession {
    id: SessionId,
    delegate: Arc<dyn SessionDelegate>,
    values: Arc<Mutex<BTreeMap<String, RawJson>>>,
    executed: Arc<Mutex<Vec<ExecuteRequest>>>,
    start_time: Duration,
    never_born: Option<String>,
    silent_while_notifying: bool,
    cells: Mutex<Vec<Arc<FakeCell>>>,
}

struct FakeCell {
    id: CellId,
    state: Mutex<FakeCellState>,
    silent_while_notifying: bool,
    changed: Notify,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct FakeCellState {
    items: Vec<ContentItem>,
    yielded: bool,
    notifying: bool,
    ended: Option<Result<CellStatus, SessionError>>,
    delivered: bool,
}

impl SessionProvider for FakeProvider {
    fn open_session(
        &self,
        _options: SessionOptions,
        delegate: Arc<dyn SessionDelegate>,
    ) -> BoxFuture<'_, Result<Arc<dyn CodeModeSession>, SessionError>> {
        Box::pin(async move {
            if let Some(error) = &self.refuse {
                return Err(error.clone());
            }
            let session: Arc<dyn CodeModeSession> = Arc::new(FakeSession {
                id: SessionId::new("fake").unwrap(),
                delegate,
                values: self.values.clone(),
                executed: self.executed.clone(),
                start_time: self.start_time,
                never_born: self.never_born.clone(),
                silent_while_notifying: self.silent_while_notifying,
                cells: Mutex::default(),
            });
            Ok(session)
        })
    }
}

impl FakeCell {
    fn change(&self, change: impl FnOnce(&mut FakeCellState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_waiters();
    }

    fn end(&self, how: Result<CellStatus, SessionError>) {
        self.change(|state| {
            state.ended.get_or_insert(how);
        });
    }

    async fn observe(&self, yield_time: Duration) -> Result<CellResponse, SessionError> {
        let give_up = tokio::time::sleep(yield_time);
        tokio::pin!(give_up);
        let mut over = false;
        loop {
            let changed = self.changed.notified();
            if let Some(response) = self.take(over) {
                return response;
            }
            tokio::select! {
                () = changed => {}
                () = &mut give_up, if !over => over = true,
            }
        }
    }

    fn take(&self, over: bool) -> Option<Result<CellResponse, SessionError>> {
        let mut state = self.state.lock().unwrap();
        let over = over && !(self.silent_while_notifying && state.notifying);
        if state.delivered {
            return Some(Err(SessionError::CellFinished {
                cell_id: self.id.clone(),
            }));
        }
        let status = match state.ended.clone() {
            None if !over && !std::mem::take(&mut state.yielded) => return None,
            None => CellStatus::Yielded,
            Some(Err(error)) => return Some(Err(error)),
            Some(Ok(status)) => {
                state.delivered = true;
                status
            }
        };
        Some(Ok(CellResponse {
            cell_id: self.id.clone(),
            status,
            content_items: std::mem::take(&mut state.items),
            timings: CellTimings::default(),
            state_lost: None,
        }))
    }
}

impl FakeSession {
    fn cell(&self, id: &CellId) -> Result<Arc<FakeCell>, SessionError> {
        let cells = self.cells.lock().unwrap();
        let cell = cells.iter().find(|cell| cell.id == *id).cloned();
        cell.ok_or_else(|| SessionError::MissingCell {
            cell_id: id.clone(),
        })
    }
}

impl CodeModeSession for FakeSession {
    fn session_id(&self) -> &SessionId {
        &self.id
    }

    fn execute(&self, request: ExecuteRequest) -> BoxFuture<'_, Result<StartedCell, SessionError>> {
        self.executed.lock().unwrap().push(request.clone());
        let cell = {
            let mut cells = self.cells.lock().unwrap();
            let cell = Arc::new(FakeCell {
                id: CellId::new((cells.len() + 1).to_string()),
                state: Mutex::default(),
                silent_while_notifying: self.silent_while_notifying,
                changed: Notify::new(),
                task: Mutex::default(),
            });
            cells.push(cell.clone());
            cell
        };
        let script = Script {
            session_id: self.id.clone(),
            delegate: self.delegate.clone(),
            values: self.values.clone(),
            cell: cell.clone(),
        };
        let source = match &self.never_born {
            Some(cause) => format!("lose {cause}"),
            None => request.source,
        };
        let task = tokio::spawn(script.run(source));
        *cell.task.lock().unwrap() = Some(task.abort_handle());
        let yield_time = request.yield_time.unwrap_or(DEFAULT_YIELD_TIME);
        Box::pin(async move {
            tokio::time::sleep(self.start_time).await;
            let cell_id = cell.id.clone();
            let first_response: FirstResponse =
                Box::pin(async move { cell.observe(yield_time).await });
            Ok(StartedCell {
                cell_id,
                first_response,
            })
        })
    }

    fn wait(&self, request: WaitRequest) -> BoxFuture<'_, Result<CellResponse, SessionError>> {
        Box::pin(async move {
            let yield_time = request.yield_time.unwrap_or(DEFAULT_YIELD_TIME);
            self.cell(&request.cell_id)?.observe(yield_time).await
        })
    }

    fn terminate(&self, cell_id: CellId) -> BoxFuture<'_, Result<CellResponse, SessionError>> {
        Box::pin(async move {
            let cell = self.cell(&cell_id)?;
            if let Some(task) = cell.task.lock().unwrap().take() {
                task.abort();
            }
            cell.end(Ok(CellStatus::Terminated));
            self.delegate.cell_closed(&self.id, &cell_id);
            // The pending observer may be first; it then has the output.
            cell.observe(Duration::ZERO).await.or_else(|_| {
                Ok(CellResponse {
                    cell_id,
                    status: CellStatus::Terminated,
                    content_items: Vec::new(),
                    timings: CellTimings::default(),
                    state_lost: None,
                })
            })
        })
    }

    fn export_store(&self) -> BoxFuture<'_, Result<BTreeMap<String, RawJson>, SessionError>> {
        let values = self.values.lock().unwrap().clone();
        Box::pin(async move { Ok(values) })
    }

    fn import_store(
        &self,
        values: BTreeMap<String, RawJson>,
    ) -> BoxFuture<'_, Result<(), SessionError>> {
        self.values.lock().unwrap().extend(values);
        Box::pin(async { Ok(()) })
    }

    fn shutdown(&self) -> BoxFuture<'_, Result<(), SessionError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Script {
    session_id: SessionId,
    delegate: Arc<dyn SessionDelegate>,
    values: Arc<Mutex<BTreeMap<String, RawJson>>>,
    cell: Arc<FakeCell>,
}

impl Script {
    async fn run(self, source: String) {
        let mut calls = 0;
        for line in source.lines() {
            let (instruction, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let (key, value) = rest.split_once(' ').unwrap_or((rest, "null"));
            match instruction {
                "" => {}
                "text" => self.output(rest),
                "image" => self.cell.change(|state| {
                    let image_url = rest.to_owned();
                    state.items.push(ContentItem::Image {
                        image_url,
                        detail: None,
                    });
                }),
                "tool" => {
                    calls += 1;
                    match self.call(calls, key, value).await {
                        Ok(result) => self.output(result.get()),
                        Err(error) => self.output(&format!("rejected: {}", error.message)),
                    }
                }
                "notify" => {
                    self.cell.change(|state| state.notifying = true);
                    self.notify(rest).await;
                    self.cell.change(|state| state.notifying = false);
                }
                "store" => {
                    let value = RawValue::from_string(value.to_owned()).unwrap();
                    self.values.lock().unwrap().insert(key.to_owned(), value);
                }
                "load" => {
                    let value = self.values.lock().unwrap().get(key).cloned();
                    self.output(
                        value
                            .map_or("undefined".into(), |value| value.get().to_owned())
                            .as_str(),
                    );
                }
                "yield" => self.cell.change(|state| state.yielded = true),
                "hang" => std::future::pending().await,
                "lose" => {
                    let lost = SessionError::RuntimeLost {
                        cause: rest.to_owned(),
                        side_effects: SideEffects::Possible,
                    };
                    return self.end(Err(lost));
                }
                "fail" => {
                    let error_text = Some(rest.to_owned());
                    return self.end(Ok(CellStatus::Completed { error_text }));
                }
                other => {
                    let error_text = Some(format!("SyntaxError: {other}"));
                    return self.end(Ok(CellStatus::Completed { error_text }));
                }
            }
        }
        self.end(Ok(CellStatus::Completed { error_text: None }));
    }

    fn end(&self, how: Result<CellStatus, SessionError>) {
        self.delegate.cell_closed(&self.session_id, &self.cell.id);
        self.cell.end(how);
    }

    fn output(&self, text: &str) {
        self.cell
            .change(|state| state.items.push(ContentItem::Text(text.to_owned())));
    }

    async fn call(&self, call: u64, name: &str, input: &str) -> Result<RawJson, ToolError> {
        let invocation = ToolInvocation {
            session_id: self.session_id.clone(),
            cell_id: self.cell.id.clone(),
            call_id: format!("tool-{call}"),
            exec_call_id: String::new(),
            tool_name: ToolName {
                name: name.to_owned(),
                namespace: None,
            },
            tool_kind: ToolKind::Function,
            input: RawValue::from_string(input.to_owned()).unwrap(),
        };
        self.delegate
            .invoke_tool(invocation, CancellationSignal::new())
            .await
    }

    async fn notify(&self, text: &str) {
        let notification = Notification {
            session_id: self.session_id.clone(),
            cell_id: self.cell.id.clone(),
            exec_call_id: String::new(),
            text: text.to_owned(),
        };
        self.delegate
            .notify(notification, CancellationSignal::new())
            .await
            .unwrap();
    }
}
