// SPDX-License-Identifier: Apache-2.0
//! A session with a delegate that records, and short ways to run scripts in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, CellResponse, CellState, CellStatus, CellSummary,
    CodeModeSession, ContentItem, ExecuteRequest, Notification, RawJson, SessionDelegate,
    SessionError, SessionId, SessionOptions, SessionProvider, StartedCell, ToolDefinition,
    ToolError, ToolInvocation, ToolKind, ToolName, WaitRequest,
};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::cases::{self, Answer, Tool};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Makes the provider that a test runs against.
pub type MakeProvider = fn() -> BoxFuture<'static, Arc<dyn SessionProvider>>;

/// What the delegate was asked, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A tool was called.
    Tool {
        /// The call's id.
        call_id: String,
        /// The tool's own name.
        name: String,
        /// The tool's namespace.
        namespace: Option<String>,
        /// The input as JSON text.
        input: String,
    },
    /// A notification came.
    Notification(String),
    /// The future of a call was dropped before it was ready.
    Dropped(String),
    /// A cell was closed.
    Closed(String),
}

/// A delegate that records every call and answers as the tool of that name says. Of the standard
/// tools (`cases/standard_tools.json`) `echo` gives its input, `fail` an error, `hang` never answers,
/// `gate` answers once the test opens the gate. A tool that is not known gives its input.
#[derive(Default)]
pub struct Recorder {
    answers: BTreeMap<String, Answer>,
    calls: Mutex<Vec<Call>>,
    called: Notify,
    gate: Notify,
}

impl Recorder {
    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets one call of `gate` answer.
    pub fn open_gate(&self) {
        self.gate.notify_one();
    }

    /// Waits until some call so far satisfies `wanted`.
    pub async fn wait_for(&self, wanted: impl Fn(&Call) -> bool) {
        let found = async {
            loop {
                let called = self.called.notified();
                if self.calls().iter().any(&wanted) {
                    return;
                }
                called.await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, found).await;
        assert!(
            waited.is_ok(),
            "the call never came; there were {:?}",
            self.calls()
        );
    }

    fn note(&self, call: Call) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(call);
        self.called.notify_waiters();
    }
}

/// Notes when a call's future is dropped before it was ready.
struct DropNote {
    recorder: Arc<Recorder>,
    call_id: Option<String>,
}

impl DropNote {
    /// The call is ready, so its drop is nothing to note.
    fn disarm(mut self) {
        self.call_id = None;
    }
}

impl Drop for DropNote {
    fn drop(&mut self) {
        if let Some(call_id) = self.call_id.take() {
            self.recorder.note(Call::Dropped(call_id));
        }
    }
}

struct RecorderDelegate(Arc<Recorder>);

impl SessionDelegate for RecorderDelegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let recorder = Arc::clone(&self.0);
        let name = invocation.tool_name.name.clone();
        recorder.note(Call::Tool {
            call_id: invocation.call_id.clone(),
            name: name.clone(),
            namespace: invocation.tool_name.namespace,
            input: invocation.input.get().to_owned(),
        });
        let note = DropNote {
            recorder: Arc::clone(&recorder),
            call_id: Some(invocation.call_id),
        };
        Box::pin(async move {
            let result = match recorder.answers.get(&name).unwrap_or(&Answer::Input) {
                Answer::Input => Ok(invocation.input),
                Answer::Error(message) => Err(ToolError::new(message)),
                Answer::Never => std::future::pending().await,
                Answer::Gate => {
                    recorder.gate.notified().await;
                    Ok(invocation.input)
                }
                Answer::Value(value) => Ok(json(&value.to_string())),
            };
            note.disarm();
            result
        })
    }

    fn notify(
        &self,
        notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        self.0.note(Call::Notification(notification.text));
        Box::pin(async { Ok(()) })
    }

    fn cell_closed(&self, _session_id: &SessionId, cell_id: &CellId) {
        self.0.note(Call::Closed(cell_id.as_str().to_owned()));
    }
}

/// A tool of this name, in the namespace `mcp__test__`.
pub fn tool(name: &str) -> ToolDefinition {
    definition(name, Some("mcp__test__"), &format!("describes {name}"))
}

fn definition(name: &str, namespace: Option<&str>, description: &str) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        tool_name: ToolName {
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
        },
        description: description.to_owned(),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    }
}

impl Tool {
    /// The tool as an execute offers it.
    pub(crate) fn definition(&self) -> ToolDefinition {
        definition(&self.name, self.namespace.as_deref(), &self.description)
    }
}

/// A session under test.
pub struct Fixture {
    /// The session.
    pub session: Arc<dyn CodeModeSession>,
    /// What its delegate has seen.
    pub recorder: Arc<Recorder>,
    /// The provider of the session.
    pub provider: Arc<dyn SessionProvider>,
}

impl Fixture {
    /// Opens a session.
    pub async fn new(make: MakeProvider) -> Self {
        Self::on(make().await).await
    }

    /// Opens another session of the same provider.
    pub async fn another(&self) -> Self {
        Self::on(Arc::clone(&self.provider)).await
    }

    /// Opens a session of this provider.
    pub async fn on(provider: Arc<dyn SessionProvider>) -> Self {
        Self::with_tools(provider, &cases::standard_tools()).await
    }

    /// Opens a session of this provider whose tools answer as these say.
    pub(crate) async fn with_tools(provider: Arc<dyn SessionProvider>, tools: &[Tool]) -> Self {
        let answers = tools
            .iter()
            .map(|tool| (tool.name.clone(), tool.answer.clone()))
            .collect();
        let recorder = Arc::new(Recorder {
            answers,
            ..Recorder::default()
        });
        let delegate = Arc::new(RecorderDelegate(Arc::clone(&recorder)));
        let session = provider
            .open_session(SessionOptions::default(), delegate)
            .await;
        let session = session.expect("a session opens");
        Self {
            session,
            recorder,
            provider,
        }
    }

    /// A request with the tools `echo`, `fail`, `hang`, `gate` and `get-profile`, that never yields
    /// by itself.
    pub fn request(source: &str) -> ExecuteRequest {
        let mut request = ExecuteRequest::new(source);
        request.exec_call_id = "exec-call".to_owned();
        request.tools = ["echo", "fail", "hang", "gate", "get-profile"]
            .map(tool)
            .into();
        request.yield_time = Some(PATIENCE);
        request
    }

    /// Starts a script.
    pub async fn start(&self, source: &str) -> StartedCell {
        self.execute(Self::request(source))
            .await
            .expect("the script is admitted")
    }

    /// Starts a request.
    pub async fn execute(&self, request: ExecuteRequest) -> Result<StartedCell, SessionError> {
        within(self.session.execute(request)).await
    }

    /// Runs a script to its first response.
    pub async fn run(&self, source: &str) -> CellResponse {
        let cell = self.start(source).await;
        within(cell.first_response).await.expect("the cell answers")
    }

    /// Runs a script that must end well, and gives its texts.
    #[track_caller]
    pub fn texts<'a>(&'a self, source: &'a str) -> impl Future<Output = Vec<String>> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let response = self.run(source).await;
            assert_eq!(
                response.status,
                CellStatus::Completed { error_text: None },
                "{source}\n({caller})"
            );
            texts_of(&response)
        }
    }

    /// Runs a script that must fail, and gives its error text.
    pub async fn error(&self, source: &str) -> String {
        let response = self.run(source).await;
        match response.status {
            CellStatus::Completed {
                error_text: Some(text),
            } => text,
            other => panic!("{source} gave {other:?}"),
        }
    }

    /// Observes a cell until it ends or `yield_time` has passed.
    pub async fn wait(
        &self,
        cell_id: &CellId,
        yield_time: Duration,
    ) -> Result<CellResponse, SessionError> {
        let request = WaitRequest {
            cell_id: cell_id.clone(),
            yield_time: Some(yield_time),
        };
        within(self.session.wait(request)).await
    }

    /// Terminates a cell.
    pub async fn terminate(&self, cell_id: &CellId) -> Result<CellResponse, SessionError> {
        within(self.session.terminate(cell_id.clone())).await
    }

    /// Waits until every cell has ended; what they leave may be kept for an observer.
    pub async fn cells_have_ended(&self) {
        let ended = |cell: &CellSummary| cell.state == CellState::Ended;
        within(async {
            loop {
                let cells = self.session.list_cells().await;
                if cells.expect("the session is open").iter().all(ended) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Shuts the session down; every test ends with it.
    pub async fn end(self) {
        within(self.session.shutdown())
            .await
            .expect("the session shuts down");
    }
}

/// The texts of a response.
pub fn texts_of(response: &CellResponse) -> Vec<String> {
    response
        .content_items
        .iter()
        .map(|item| match item {
            ContentItem::Text(text) => text.clone(),
            ContentItem::Image { image_url, detail } => format!("{image_url} {detail:?}"),
            ContentItem::Audio { audio_url } => audio_url.clone(),
        })
        .collect()
}

/// JSON that is known to be well formed.
pub fn json(text: &str) -> RawJson {
    RawValue::from_string(text.to_owned()).expect("the test's JSON is well formed")
}

/// Waits for something that must come.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes in time")
}
