// SPDX-License-Identifier: Apache-2.0
//! One code-mode session for one MCP session: its cells, who hears from them, and what they put out.
//!
//! This is the only module that runs scripts; the library for agents' authors follows them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, ContentItem, DEFAULT_YIELD_TIME, Notification, RawJson,
    SessionDelegate, SessionError, ToolError, ToolInvocation,
};
use code_mode_embed::{CellHandle, ExecError, Globals, OpenError, Output, Progress, Session};
use rmcp::model::ContentBlock;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Event, Outcome};
use crate::bounds::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES, MAX_YIELD_TIME};
use crate::consent::{self, Decision};
use crate::front::{Caller, Front};
use crate::observer::{self, Observer};
use crate::output::{self, Kept};
use crate::prelude::{self, Prelude};
use crate::upstream::ProgressSink;

/// Texts for the client that no request is there to take; the oldest goes first.
const MAX_PENDING_NOTES: usize = 100;

/// Scripts without a final answer that a session remembers; the oldest goes first.
const MAX_REMEMBERED_SCRIPTS: usize = 256;

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
            state: Arc::new(SessionState {
                id,
                inner: Mutex::default(),
            }),
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

    /// Runs a script until it ends or yields. When `cancelled` fires, the script is ended.
    pub async fn exec(
        &self,
        exec: Exec,
        observer: Observer,
        cancelled: &CancellationToken,
    ) -> Reply {
        if exec.code.trim().is_empty() {
            return Reply::failed("exec needs code: the JavaScript to run".to_owned());
        }
        let number = self.execs.fetch_add(1, Ordering::Relaxed) + 1;
        let exec_id = format!("exec-{number}");
        let begun = Event::Exec {
            session: self.state.id.clone(),
            exec: exec_id.clone(),
            sha256: audit::hash(&exec.code),
            bytes: exec.code.len(),
        };
        if let Err(error) = self.front.note(begun) {
            return Reply::failed(error.message);
        }
        let (source, prelude) = prelude::prepare(&exec.code);
        let session = match self.open().await {
            Ok(session) => session,
            Err(error) => return Reply::failed(error.to_string()),
        };
        let catalog = tokio::select! {
            catalog = self.front.catalog_for(&exec.code) => catalog,
            () = cancelled.cancelled() => return Reply::failed("cancelled before it began".to_owned()),
        };
        let time = yield_time(exec.yield_time);
        let script = code_mode_embed::Exec::new(source)
            .call_id(exec_id.clone())
            .tools(catalog.offered_to(&exec.code))
            .first_look(time);
        let _heard = self.state.observe(&exec_id, observer);
        // Dropped while it waits, the request is taken back or its cell ended.
        let started = tokio::select! {
            started = session.start_detached(script) => started,
            () = cancelled.cancelled() => return Reply::failed("cancelled".to_owned()),
        };
        let cell = match started {
            Ok(cell) => cell,
            Err(error) => return Reply::failed(told(&error)),
        };
        self.state.remember(exec_id, prelude);
        let progress = until_cancelled(&cell, time, cancelled).await;
        let mut reply = self.reply(&cell, progress, exec.output_bytes);
        if let Some((lost, restored)) = cell.state_lost() {
            let values = match restored || lost.restored.is_some() {
                true => "stored values were put back",
                false => "stored values are gone",
            };
            reply.content.push(ContentBlock::text(format!(
                "[The host was lost before this script ({}): running scripts are gone, {values}.]",
                lost.cause
            )));
        }
        reply
    }

    /// Follows a cell until it ends, yields or the time is over, or ends it. When `cancelled` fires, it
    /// is ended.
    pub async fn wait(
        &self,
        wait: Wait,
        observer: Observer,
        cancelled: &CancellationToken,
    ) -> Reply {
        let missing = || {
            ExecError::Session(SessionError::MissingCell {
                cell_id: wait.cell.clone(),
            })
        };
        let found = match self.session.get() {
            Some(session) => session.cell(&wait.cell).await,
            None => Err(missing()),
        };
        let cell = match found {
            Ok(cell) => cell,
            Err(error) => {
                let reply = Reply::failed(self.state.explain(&wait.cell, &error));
                return Reply {
                    cell: Some(wait.cell),
                    ..reply
                };
            }
        };
        let _heard = self.state.observe(cell.exec_call_id(), observer);
        self.state.deliver_pending(cell.exec_call_id()).await;
        let progress = match wait.terminate {
            true => ended(&cell).await,
            false => until_cancelled(&cell, yield_time(wait.yield_time), cancelled).await,
        };
        self.reply(&cell, progress, wait.output_bytes)
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
        self.front.note(Event::End {
            session: self.state.id.clone(),
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
        let inner = self.state.lock();
        let limit = limit
            .unwrap_or(DEFAULT_OUTPUT_BYTES)
            .clamp(1, MAX_OUTPUT_BYTES);
        let (text, total) = inner
            .kept
            .read(cell, offset, limit)
            .ok_or_else(|| format!("no output of cell {cell} is kept"))?;
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
        for (id, bytes) in self.state.lock().kept.cells() {
            if !cells.iter().any(|cell| cell.id() == id) {
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

/// Follows the cell for some time; ends it when `cancelled` fires.
async fn until_cancelled(
    cell: &CellHandle,
    time: Duration,
    cancelled: &CancellationToken,
) -> Progress {
    tokio::select! {
        progress = cell.observe(time) => progress,
        () = cancelled.cancelled() => ended(cell).await,
    }
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

/// What a session and the calls of its scripts share.
pub struct SessionState {
    id: String,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// The scripts without a final answer, oldest first.
    scripts: VecDeque<Script>,
    /// Who hears from the cell of which exec.
    observers: HashMap<String, (u64, Observer)>,
    next_observer: u64,
    /// The last client's end that was seen, to ask the user through.
    latest: Option<Observer>,
    pending: HashMap<String, VecDeque<String>>,
    kept: Kept,
    /// Tools that the user lets be called for the rest of the session.
    consented: HashSet<(String, String)>,
}

struct Script {
    exec: String,
    prelude: Prelude,
}

impl SessionState {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `observer` hear from the exec's cell until what this gives is dropped.
    fn observe(self: &Arc<Self>, exec: &str, observer: Observer) -> Heard {
        let mut inner = self.lock();
        inner.next_observer += 1;
        let number = inner.next_observer;
        inner.latest = Some(observer.clone());
        inner.observers.insert(exec.to_owned(), (number, observer));
        Heard {
            state: Arc::clone(self),
            exec: exec.to_owned(),
            number,
        }
    }

    fn remember(&self, exec: String, prelude: Prelude) {
        let mut inner = self.lock();
        if inner.scripts.len() >= MAX_REMEMBERED_SCRIPTS
            && let Some(gone) = inner.scripts.pop_front()
        {
            inner.pending.remove(&gone.exec);
        }
        inner.scripts.push_back(Script { exec, prelude });
    }

    /// Notes that a script's final answer is handed out; gives the script the first time.
    fn end(&self, exec: &str) -> Option<Script> {
        let mut inner = self.lock();
        let at = inner.scripts.iter().position(|known| known.exec == exec)?;
        inner.pending.remove(exec);
        inner.scripts.remove(at)
    }

    /// The blocks of what a cell has put out, which is kept.
    fn blocks(&self, cell: &CellId, output: &Output, budget: Option<usize>) -> output::Blocks {
        let budget = budget.unwrap_or(DEFAULT_OUTPUT_BYTES).min(MAX_OUTPUT_BYTES);
        let items: Vec<&ContentItem> = output.items().collect();
        output::blocks(cell, &items, budget, &mut self.lock().kept)
    }

    /// An error in words that tell the model what to do instead.
    fn explain(&self, cell: &CellId, error: &ExecError) -> String {
        let kept = self.lock().kept.read(cell, 0, 0).is_some();
        match error {
            ExecError::Session(error @ SessionError::CellFinished { .. }) if kept => {
                format!("{error}; to read its output again: wait with an offset")
            }
            error => told(error),
        }
    }

    fn observer_of(&self, exec: &str) -> Option<Observer> {
        let inner = self.lock();
        inner
            .observers
            .get(exec)
            .map(|(_, observer)| observer.clone())
    }

    /// Tells the client what a script says; keeps it for the next request about its cell when there is
    /// none now.
    async fn notify(&self, exec: &str, text: String) {
        match self.observer_of(exec) {
            Some(observer) => observer.say(text).await,
            None => {
                let mut inner = self.lock();
                let pending = inner.pending.entry(exec.to_owned()).or_default();
                if pending.len() == MAX_PENDING_NOTES {
                    pending.pop_front();
                }
                pending.push_back(observer::cut(text));
            }
        }
    }

    async fn deliver_pending(&self, exec: &str) {
        let pending = self.lock().pending.remove(exec).unwrap_or_default();
        let Some(observer) = self.observer_of(exec) else {
            return;
        };
        for text in pending {
            observer.say(text).await;
        }
    }
}

impl Caller for SessionState {
    fn id(&self) -> &str {
        &self.id
    }

    fn progress_of(self: Arc<Self>, exec: &str, server: &str) -> ProgressSink {
        let state = Arc::downgrade(&self);
        let (exec, server) = (exec.to_owned(), server.to_owned());
        Arc::new(move |text| {
            let observer = state.upgrade().and_then(|state| state.observer_of(&exec));
            if let Some(observer) = observer {
                observer.progress_soon(format!("{server}: {text}"));
            }
        })
    }

    fn ask_consent<'a>(
        &'a self,
        server: &'a str,
        tool: &'a str,
        input: &'a RawJson,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let key = (server.to_owned(), tool.to_owned());
            let observer = {
                let inner = self.lock();
                if inner.consented.contains(&key) {
                    return Ok(());
                }
                inner.latest.clone()
            };
            let observer = observer.ok_or("there is nobody to ask")?;
            match consent::ask(&observer, server, tool, input).await? {
                Decision::Once => Ok(()),
                Decision::Session => {
                    self.lock().consented.insert(key);
                    Ok(())
                }
                Decision::No => Err("the user did not agree".to_owned()),
            }
        })
    }
}

/// An observer that hears; dropped when its request is over.
struct Heard {
    state: Arc<SessionState>,
    exec: String,
    number: u64,
}

impl Drop for Heard {
    fn drop(&mut self) {
        let mut inner = self.state.lock();
        // A later request may have taken over.
        if inner
            .observers
            .get(&self.exec)
            .is_some_and(|(number, _)| *number == self.number)
        {
            inner.observers.remove(&self.exec);
        }
    }
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

    fn state() -> SessionState {
        SessionState {
            id: "s".to_owned(),
            inner: Mutex::default(),
        }
    }

    fn remember(state: &SessionState, number: usize) {
        let (_, prelude) = prelude::prepare("");
        state.remember(format!("exec-{number}"), prelude);
    }

    #[tokio::test]
    async fn what_nobody_hears_is_kept_for_the_next_request_and_bounded() {
        let state = state();
        remember(&state, 1);
        for number in 0..MAX_PENDING_NOTES + 2 {
            state.notify("exec-1", number.to_string()).await;
        }
        let inner = state.lock();
        let pending = &inner.pending["exec-1"];
        assert_eq!(pending.len(), MAX_PENDING_NOTES);
        assert_eq!(pending.front().map(String::as_str), Some("2"));
    }

    #[tokio::test]
    async fn no_more_scripts_are_remembered_than_there_is_room_for() {
        let state = state();
        remember(&state, 0);
        state.notify("exec-0", "text".to_owned()).await;
        remember(&state, 1);
        state.notify("exec-1", "text".to_owned()).await;
        assert!(state.end("exec-1").is_some());
        assert!(state.end("exec-1").is_none());
        for number in 2..=MAX_REMEMBERED_SCRIPTS + 1 {
            remember(&state, number);
        }
        let inner = state.lock();
        assert_eq!(inner.scripts.len(), MAX_REMEMBERED_SCRIPTS);
        assert!(inner.scripts.iter().all(|script| script.exec != "exec-0"));
        assert!(inner.pending.is_empty());
    }

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
