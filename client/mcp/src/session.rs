// SPDX-License-Identifier: Apache-2.0
//! One code-mode session for one MCP session: its cells, who hears from them, and what they put out.
//!
//! This is the only module that runs scripts; the library for agents' authors follows them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, DEFAULT_YIELD_TIME, Notification, RawJson,
    SessionDelegate, SessionError, ToolError, ToolInvocation,
};
use code_mode_embed::{CellHandle, ExecError, Globals, OpenError, Progress, Session};
use rmcp::model::{ContentBlock, InputRequests, InputResponses};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, AuditEvent, Outcome};
use crate::bounds::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES, MAX_YIELD_TIME};
use crate::front::{Caller, Front};
use crate::observer::Observer;
use crate::output;
use crate::prelude;
use crate::session_state::SessionState;

/// Bytes of an error text, which is never cut otherwise.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// What exec is asked.
#[derive(Debug)]
pub struct Exec {
    /// The script.
    pub code: String,
    /// When to return although it runs on.
    pub yield_time: Option<Duration>,
    /// See [`DEFAULT_OUTPUT_BYTES`].
    pub output_bytes: Option<usize>,
}

/// What wait is asked about a cell.
#[derive(Debug)]
pub struct Wait {
    /// The cell.
    pub cell: CellId,
    /// When to return although nothing has come.
    pub yield_time: Option<Duration>,
    /// Whether to end it.
    pub terminate: bool,
    /// See [`DEFAULT_OUTPUT_BYTES`].
    pub output_bytes: Option<usize>,
}

/// Where a cell stands as of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs on.
    Running,
    /// It has ended as it should.
    Completed,
    /// It has ended in an error.
    Failed,
    /// It was ended.
    Terminated,
}

/// What exec and wait answer.
pub struct Reply {
    /// The cell, unless none was started.
    pub cell: Option<CellId>,
    /// Where it stands.
    pub standing: Standing,
    /// What the model gets.
    pub content: Vec<ContentBlock>,
    /// The script's last text that is an object.
    pub structured: Option<serde_json::Value>,
}

/// What exec and wait give.
pub enum Answer {
    /// An answer for the model.
    Reply(Reply),
    /// The user is to be asked first; the request is to be made again with what the user says.
    Ask {
        /// The cell whose call waits.
        cell: CellId,
        /// The questions.
        requests: InputRequests,
    },
}

impl Reply {
    /// An answer that nothing was done, or that it is not known what.
    fn failed(message: String) -> Self {
        Self {
            cell: None,
            standing: Standing::Failed,
            content: vec![ContentBlock::text(message)],
            structured: None,
        }
    }
}

/// A session; dropping it ends its cells.
pub struct McpSession {
    front: Arc<Front>,
    state: Arc<SessionState>,
    session: OnceCell<Session>,
    execs: AtomicU64,
}

impl McpSession {
    /// A session that opens itself with its first script. `id` is told in the audit log.
    pub fn new(front: Arc<Front>, id: String) -> Self {
        Self {
            front,
            state: Arc::new(SessionState::new(id)),
            session: OnceCell::new(),
            execs: AtomicU64::new(0),
        }
    }

    /// The front end that it belongs to.
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    async fn open(&self) -> Result<&Session, OpenError> {
        let open = || {
            let delegate = Arc::new(Delegate {
                front: Arc::downgrade(&self.front),
                state: Arc::clone(&self.state),
            });
            Session::builder(Arc::clone(&self.front.provider))
                .limits(self.front.limits.clone())
                .globals(Globals::Web)
                .delegate(delegate)
                .open()
        };
        self.session.get_or_try_init(open).await
    }

    /// Runs a script until it ends or yields, or the user is to be asked. When `cancelled` fires, the
    /// script is ended.
    pub async fn exec(
        &self,
        exec: Exec,
        observer: Observer,
        cancelled: &CancellationToken,
    ) -> Answer {
        let number = self.execs.fetch_add(1, Ordering::Relaxed) + 1;
        let exec_id = format!("exec-{number}");
        let _heard = self.state.observe(&exec_id, observer);
        match self.start(&exec, exec_id, cancelled).await {
            Ok(cell) => {
                let time = yield_time(exec.yield_time);
                self.follow(&cell, time, exec.output_bytes, cancelled).await
            }
            Err(message) => Answer::Reply(Reply::failed(message)),
        }
    }

    /// Starts a script; an error is for the model.
    async fn start(
        &self,
        exec: &Exec,
        exec_id: String,
        cancelled: &CancellationToken,
    ) -> Result<CellHandle, String> {
        if exec.code.trim().is_empty() {
            return Err("exec needs code: the JavaScript to run".to_owned());
        }
        let begun = AuditEvent::Exec {
            session: Caller::id(&*self.state).to_owned(),
            exec: exec_id.clone(),
            sha256: audit::hash(&exec.code),
            bytes: exec.code.len(),
        };
        self.front.note(begun).map_err(|error| error.message)?;
        let (source, prelude) = prelude::prepare(&exec.code);
        let session = self.open().await.map_err(|error| error.to_string())?;
        let catalog = tokio::select! {
            catalog = self.front.catalog_for(&exec.code) => catalog,
            () = cancelled.cancelled() => return Err("cancelled before it began".to_owned()),
        };
        let script = code_mode_embed::Exec::new(source)
            .call_id(exec_id.clone())
            .tools(catalog.offered_to(&exec.code))
            .first_look(yield_time(exec.yield_time));
        // Dropped while it waits, the request is taken back or its cell ended.
        let started = tokio::select! {
            started = session.start_detached(script) => started,
            () = cancelled.cancelled() => return Err("cancelled".to_owned()),
        };
        let cell = started.map_err(|error| told(&error))?;
        self.state.remember(exec_id, prelude);
        Ok(cell)
    }

    /// Follows a cell until it ends, yields, the time is over or the user is to be asked, or ends it. When
    /// `cancelled` fires, it is ended.
    pub async fn wait(
        &self,
        wait: Wait,
        observer: Observer,
        cancelled: &CancellationToken,
    ) -> Answer {
        let found = match self.session.get() {
            Some(session) => session.cell(&wait.cell).await,
            None => Err(ExecError::Session(SessionError::MissingCell {
                cell_id: wait.cell.clone(),
            })),
        };
        let cell = match found {
            Ok(cell) => cell,
            Err(error) => {
                let reply = Reply::failed(self.explain(&wait.cell, &error));
                return Answer::Reply(Reply {
                    cell: Some(wait.cell),
                    ..reply
                });
            }
        };
        let _heard = self.state.observe(cell.exec_call_id(), observer);
        self.state.deliver_pending(cell.exec_call_id()).await;
        if wait.terminate {
            let progress = ended(&cell).await;
            return Answer::Reply(self.reply(&cell, progress, wait.output_bytes));
        }
        let time = yield_time(wait.yield_time);
        self.follow(&cell, time, wait.output_bytes, cancelled).await
    }

    /// What the user says to questions of an earlier [`Answer::Ask`].
    pub fn answer(&self, responses: &InputResponses) {
        self.state.answer(responses);
    }

    /// Follows the cell for some time; ends it when `cancelled` fires.
    async fn follow(
        &self,
        cell: &CellHandle,
        time: Duration,
        output_bytes: Option<usize>,
        cancelled: &CancellationToken,
    ) -> Answer {
        let progress = tokio::select! {
            progress = cell.observe(time) => progress,
            requests = self.state.asked(cell.exec_call_id()) => {
                return Answer::Ask { cell: cell.id().clone(), requests };
            }
            () = cancelled.cancelled() => ended(cell).await,
        };
        Answer::Reply(self.reply(cell, progress, output_bytes))
    }

    /// Ends all cells and closes the session.
    pub async fn close(&self) {
        if let Some(session) = self.session.get()
            && let Err(error) = session.shutdown().await
        {
            tracing::debug!(%error, "a session did not shut down in order");
        }
    }

    fn reply(&self, cell: &CellHandle, progress: Progress, output_bytes: Option<usize>) -> Reply {
        let (output, end) = match progress {
            Progress::Running(output) => (output, None),
            Progress::Ended { output, result, .. } => (output, Some(result)),
        };
        let id = cell.id();
        let output::Blocks {
            mut content,
            structured,
        } = self.state.blocks(id, &output, output_bytes);
        let standing = match end {
            None => {
                content.push(ContentBlock::text(format!(
                    "[The script runs on as cell {id}. To follow it: wait with cell_id \"{id}\".]"
                )));
                Standing::Running
            }
            Some(result) => {
                let script = self.state.end(cell.exec_call_id());
                let (standing, outcome) = match &result {
                    Ok(()) => (Standing::Completed, Outcome::Ok),
                    Err(ExecError::Terminated { .. } | ExecError::TimedOut { .. }) => {
                        content.push(ContentBlock::text(format!("[Cell {id} was terminated.]")));
                        (Standing::Terminated, Outcome::Cancelled)
                    }
                    Err(error) => {
                        let error = told(error);
                        let error = match &script {
                            Some(script) => script.prelude.restore(&error),
                            None => error,
                        };
                        content.push(ContentBlock::text(shortened(error)));
                        (Standing::Failed, Outcome::Error)
                    }
                };
                // Somebody else who waited may have been told before.
                if script.is_some()
                    && let Err(error) = self.note_end(cell, outcome)
                {
                    content.push(ContentBlock::text(format!("[{error}]")));
                }
                standing
            }
        };
        let lost = cell.state_lost();
        content.extend(lost.and_then(|(lost, restored)| self.state.loss(&lost, restored)));
        if content.is_empty() {
            content.push(ContentBlock::text(
                "[The script has ended and put nothing out.]",
            ));
        }
        Reply {
            cell: Some(id.clone()),
            standing,
            content,
            structured,
        }
    }

    fn note_end(&self, cell: &CellHandle, outcome: Outcome) -> Result<(), ToolError> {
        self.front.note(AuditEvent::End {
            session: Caller::id(&*self.state).to_owned(),
            exec: cell.exec_call_id().to_owned(),
            cell: cell.id().to_string(),
            outcome,
            ms: audit::ms(cell.age()),
        })
    }

    /// The output of a cell from `offset` on, and how to read on.
    ///
    /// # Errors
    /// When nothing of the cell is kept, in words for the model.
    pub fn read_output(
        &self,
        cell: &CellId,
        offset: usize,
        limit: Option<usize>,
    ) -> Result<Vec<ContentBlock>, String> {
        let limit = limit
            .unwrap_or(DEFAULT_OUTPUT_BYTES)
            .clamp(1, MAX_OUTPUT_BYTES);
        let kept = self.state.kept(cell, offset, limit);
        let (text, total) = kept.ok_or_else(|| format!("no output of cell {cell} is kept"))?;
        let end = offset.min(total) + text.len();
        let mut content = vec![ContentBlock::text(text)];
        if end < total {
            content.push(ContentBlock::text(format!(
                "[{} bytes are left: offset {end}.]",
                total - end
            )));
        }
        Ok(content)
    }

    /// An error in words that tell the model what to do instead.
    fn explain(&self, cell: &CellId, error: &ExecError) -> String {
        match error {
            ExecError::Session(error @ SessionError::CellFinished { .. })
                if self.state.kept(cell, 0, 0).is_some() =>
            {
                format!("{error}; to read its output again: wait with an offset")
            }
            error => told(error),
        }
    }

    /// The cells that run or whose output is kept, for the model.
    pub fn list(&self) -> String {
        let cells = self.session.get().map(Session::cells).unwrap_or_default();
        let mut lines: Vec<String> = cells
            .iter()
            .map(|cell| {
                let state = match cell.has_ended() {
                    true => "has ended, its result was not read",
                    false => "runs",
                };
                let seconds = cell.age().as_secs();
                format!("cell {}: {state}, started {seconds} s ago", cell.id())
            })
            .collect();
        for (id, bytes) in self.state.kept_cells() {
            if !cells.iter().any(|cell| *cell.id() == id) {
                lines.push(format!(
                    "cell {id}: has ended, {bytes} bytes of output are kept"
                ));
            }
        }
        if lines.is_empty() {
            lines.push("There are no cells.".to_owned());
        }
        lines.join("\n")
    }
}

/// How long exec and wait may take.
fn yield_time(asked: Option<Duration>) -> Duration {
    asked.unwrap_or(DEFAULT_YIELD_TIME).min(MAX_YIELD_TIME)
}

/// Ends the cell, unless it has ended by itself just before.
async fn ended(cell: &CellHandle) -> Progress {
    // How it has ended stands in what is observed then.
    let _ = cell.terminate().await;
    cell.observe(Duration::ZERO).await
}

/// What an error says, without what the library puts in front of it.
fn told(error: &ExecError) -> String {
    match error {
        ExecError::Script(error) => error.text.clone(),
        ExecError::Session(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn shortened(mut error: String) -> String {
    if error.len() > MAX_ERROR_BYTES {
        let mut end = MAX_ERROR_BYTES;
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        error.truncate(end);
        error.push('…');
    }
    error
}

/// The session's side of the front end.
struct Delegate {
    front: Weak<Front>,
    state: Arc<SessionState>,
}

impl SessionDelegate for Delegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        let (front, state) = (self.front.clone(), Arc::clone(&self.state));
        Box::pin(async move {
            let front = front.upgrade();
            let front =
                front.ok_or_else(|| ToolError::new("the MCP front end is shutting down"))?;
            front.call(state, invocation, cancel).await
        })
    }

    fn notify(
        &self,
        notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            state
                .notify(&notification.exec_call_id, notification.text)
                .await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn nobody_waits_for_longer_than_may_be() {
        assert_eq!(yield_time(None), DEFAULT_YIELD_TIME);
        assert_eq!(yield_time(Some(Duration::MAX)), MAX_YIELD_TIME);
        assert_eq!(yield_time(Some(Duration::ZERO)), Duration::ZERO);
    }

    #[test]
    fn an_error_is_told_within_its_bound() {
        assert_eq!(shortened("no".to_owned()), "no");
        let long = shortened("ä".repeat(MAX_ERROR_BYTES));
        assert_eq!(long.len(), MAX_ERROR_BYTES + '…'.len_utf8());
    }
}
