// SPDX-License-Identifier: Apache-2.0
//! What the clients of a soak do, each kind with what must come of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellResponse, CellStatus, CodeModeSession, ContentItem,
    ExecuteRequest, Notification, RawJson, SessionDelegate, SessionError, ToolDefinition,
    ToolError, ToolInvocation, ToolKind, ToolName, WaitRequest,
};

use super::watch::Watched;

/// How long a script that does not end by itself is observed before it is terminated.
const SHORT_WHILE: Duration = Duration::from_millis(5);

/// How long the end of a cell may take, on a machine that is busy with cells.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an error text begins that says that a cell's process is gone.
const PROCESS_GONE: &str = "ProcessError: ";

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A script of one line.
    Short,
    /// A script that calls tools, one after the other and side by side.
    Tools,
    /// Side by side as many calls as a cell may have open, with answers of 16 KiB.
    CallFlood,
    /// Much output in many items.
    OutputFlood,
    /// Many notifications.
    NotificationFlood,
    /// A script that computes for ever and is terminated.
    Terminate,
    /// A script that waits for ever and is terminated.
    TerminateWaiting,
    /// A script that yields and is waited for.
    Wait,
    /// A script that reaches the limit of its heap.
    HeapLimit,
    /// A session of its own, which is shut down while a cell of it runs.
    Session,
    /// A cell's process, somebody's, is killed.
    Kill,
}

/// The kinds, as often as each has its turn among a hundred.
const TURNS: [(Work, u64); 11] = [
    (Work::Short, 55),
    (Work::Tools, 15),
    (Work::CallFlood, 3),
    (Work::OutputFlood, 3),
    (Work::NotificationFlood, 2),
    (Work::Terminate, 5),
    (Work::TerminateWaiting, 5),
    (Work::Wait, 6),
    (Work::HeapLimit, 1),
    (Work::Session, 3),
    (Work::Kill, 2),
];

impl Work {
    /// The work that a number stands for.
    pub(crate) fn chosen(number: u64) -> Self {
        let all: u64 = TURNS.iter().map(|(_, turns)| turns).sum();
        let mut left = number % all;
        for (work, turns) in TURNS {
            if left < turns {
                return work;
            }
            left -= turns;
        }
        Self::Short
    }
}

/// What came of one piece of work.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What it must; a short script says how long its answer took.
    Right(Option<Duration>),
    /// Its cell was killed by a [`Work::Kill`].
    Killed,
    /// Something else: what.
    Wrong(String),
}

/// Who works, and where.
pub(crate) struct Worker {
    pub(crate) session: Arc<dyn CodeModeSession>,
    pub(crate) provider: Arc<dyn code_mode_api::SessionProvider>,
    pub(crate) host: Watched,
}

impl Worker {
    /// Does one piece of work. `choice` is for what it may choose.
    pub(crate) async fn work(&self, work: Work, choice: u64) -> Outcome {
        let done = tokio::time::timeout(PATIENCE, self.act(work, choice)).await;
        match done {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::Wrong(format!("{work:?}: {error}")),
            Err(_) => Outcome::Wrong(format!("{work:?}: no end within {PATIENCE:?}")),
        }
    }

    async fn act(&self, work: Work, choice: u64) -> Result<Outcome, SessionError> {
        match work {
            Work::Short => {
                let begun = Instant::now();
                let response = self.run("text(1 + 1)").await?;
                let took = begun.elapsed();
                Ok(expect(work, &response, "2", Some(took)))
            }
            Work::Tools => {
                let source = "let n = 0; for (let i = 0; i < 5; i++) n += await tools.echo(i); \
                              for (const m of await Promise.all([1, 2, 3].map(i => tools.echo(i)))) n += m; text(n)";
                Ok(expect(work, &self.run(source).await?, "16", None))
            }
            Work::CallFlood => {
                let source = "const s = 'x'.repeat(16384); \
                              const all = await Promise.all(Array.from({ length: 256 }, () => tools.echo(s))); \
                              text(all.filter(a => a === s).length)";
                Ok(expect(work, &self.run(source).await?, "256", None))
            }
            Work::OutputFlood => {
                let source = "for (let i = 0; i < 1000; i++) text('y'.repeat(1000))";
                let response = self.run(source).await?;
                let all = response.content_items.len() == 1000;
                Ok(ended(work, &response, all))
            }
            Work::NotificationFlood => {
                let response = self
                    .run("for (let i = 0; i < 200; i++) notify('z'.repeat(1000)); text('told')")
                    .await?;
                Ok(expect(work, &response, "told", None))
            }
            Work::Terminate => self.terminate(work, "for (;;) {}").await,
            Work::TerminateWaiting => self.terminate(work, "await tools.hang()").await,
            Work::Wait => {
                let started = self
                    .session
                    .execute(request("yield_control(); await tools.echo(1); text('end')"))
                    .await?;
                let mut response = started.first_response.await?;
                let mut texts = response.content_items.clone();
                while response.status == CellStatus::Yielded {
                    let wait = WaitRequest {
                        cell_id: started.cell_id.clone(),
                        yield_time: Some(PATIENCE),
                    };
                    response = self.session.wait(wait).await?;
                    texts.extend(response.content_items.clone());
                }
                let all = texts == [ContentItem::Text("end".to_owned())];
                Ok(ended(work, &response, all))
            }
            Work::HeapLimit => {
                let response = self
                    .run("const a = []; for (;;) a.push(new Array(1000).fill(1.5))")
                    .await?;
                let CellStatus::Completed {
                    error_text: Some(text),
                } = &response.status
                else {
                    return Ok(Outcome::Wrong(format!("{work:?}: {:?}", response.status)));
                };
                // Its process may be at the bound of its memory first.
                let said = text.starts_with("LimitError: ") || text.starts_with(PROCESS_GONE);
                Ok(if said {
                    Outcome::Right(None)
                } else {
                    Outcome::Wrong(format!("{work:?}: {text}"))
                })
            }
            Work::Session => {
                let session = self
                    .provider
                    .open_session(Default::default(), Arc::new(Tools))
                    .await?;
                let started = session.execute(request("await tools.hang()")).await?;
                session.shutdown().await?;
                let response = started.first_response.await?;
                let over = response.status == CellStatus::Terminated;
                Ok(if over {
                    Outcome::Right(None)
                } else {
                    ended(work, &response, false)
                })
            }
            Work::Kill => {
                if let Some(cell) = self
                    .host
                    .cell(choice)
                    .and_then(|cell| i32::try_from(cell).ok())
                    && let Some(cell) = rustix::process::Pid::from_raw(cell)
                {
                    // It may have ended by itself meanwhile.
                    let _ = rustix::process::kill_process(cell, rustix::process::Signal::KILL);
                }
                Ok(Outcome::Right(None))
            }
        }
    }

    async fn run(&self, source: &str) -> Result<CellResponse, SessionError> {
        self.session
            .execute(request(source))
            .await?
            .first_response
            .await
    }

    async fn terminate(&self, work: Work, source: &str) -> Result<Outcome, SessionError> {
        let mut request = request(source);
        request.yield_time = Some(SHORT_WHILE);
        let started = self.session.execute(request).await?;
        let first = started.first_response.await?;
        if first.status != CellStatus::Yielded {
            return Ok(ended(work, &first, false));
        }
        let response = match self.session.terminate(started.cell_id).await {
            // It was killed, and said so to nobody.
            Err(SessionError::CellFinished { .. }) => return Ok(Outcome::Killed),
            response => response?,
        };
        Ok(match response.status {
            CellStatus::Terminated => Outcome::Right(None),
            _ => ended(work, &response, false),
        })
    }
}

/// What came of a script that should have ended without an error, `as_wished` or not.
fn ended(work: Work, response: &CellResponse, as_wished: bool) -> Outcome {
    match &response.status {
        CellStatus::Completed { error_text: None } if as_wished => Outcome::Right(None),
        CellStatus::Completed {
            error_text: Some(text),
        } if text.starts_with(PROCESS_GONE) => Outcome::Killed,
        status => Outcome::Wrong(format!("{work:?}: {status:?}")),
    }
}

fn expect(work: Work, response: &CellResponse, text: &str, took: Option<Duration>) -> Outcome {
    let as_wished = response.content_items == [ContentItem::Text(text.to_owned())];
    match ended(work, response, as_wished) {
        Outcome::Right(_) => Outcome::Right(took),
        other => other,
    }
}

fn request(source: &str) -> ExecuteRequest {
    let tool = |name: &str| ToolDefinition {
        name: name.to_owned(),
        tool_name: ToolName {
            name: name.to_owned(),
            namespace: None,
        },
        description: String::new(),
        kind: ToolKind::Function,
        input_schema: None,
        output_schema: None,
    };
    ExecuteRequest {
        exec_call_id: "soak".to_owned(),
        tools: Arc::from([tool("echo"), tool("hang")]),
        yield_time: Some(PATIENCE),
        ..ExecuteRequest::new(source)
    }
}

/// A tool that gives back what it gets, and one that never answers.
pub(crate) struct Tools;

impl SessionDelegate for Tools {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        match invocation.tool_name.name.as_str() {
            "echo" => Box::pin(async move { Ok(invocation.input) }),
            _ => Box::pin(std::future::pending()),
        }
    }

    fn notify(
        &self,
        _: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        Box::pin(async { Ok(()) })
    }
}
