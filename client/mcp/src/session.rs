// SPDX-License-Identifier: Apache-2.0
//! One code-mode session for one MCP session: its cells, who hears from them, and what they put out.
//!
//! This is the only module that runs scripts; it knows the host through `code_mode_api` alone.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, CellResponse, CellStatus, CodeModeSession,
    ExecuteRequest, Globals, Notification, RawJson, SessionDelegate, SessionError, SessionId,
    SessionOptions, ToolError, ToolInvocation, WaitRequest,
};
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

/// Cells that a session remembers; those that have ended go first.
const MAX_REMEMBERED_CELLS: usize = 256;

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
    session: OnceCell<Arc<dyn CodeModeSession>>,
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

    async fn open(&self) -> Result<&Arc<dyn CodeModeSession>, SessionError> {
        let open = || async {
            let delegate = Arc::new(Delegate {
                front: Arc::downgrade(&self.front),
                state: Arc::clone(&self.state),
            });
            self.front
                .provider
                .open_session(SessionOptions::default(), delegate)
                .await
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
            Ok(session) => Arc::clone(session),
            Err(error) => return Reply::failed(error.to_string()),
        };
        let catalog = tokio::select! {
            catalog = self.front.catalog_for(&exec.code) => catalog,
            () = cancelled.cancelled() => return Reply::failed("cancelled before it began".to_owned()),
        };
        let request = ExecuteRequest {
            exec_call_id: exec_id.clone(),
            tools: catalog.offered_to(&exec.code),
            yield_time: exec.yield_time.map(|time| time.min(MAX_YIELD_TIME)),
            limits: self.front.limits.clone(),
            globals: Some(Globals::Web),
            ..ExecuteRequest::new(source)
        };
        let _heard = self.state.observe(&exec_id, observer);
        // Dropped while it waits, the request is taken back or its cell ended.
        let started = tokio::select! {
            started = session.execute(request) => started,
            () = cancelled.cancelled() => return Reply::failed("cancelled".to_owned()),
        };
        let started = match started {
            Ok(started) => started,
            Err(error) => return Reply::failed(error.to_string()),
        };
        let cell = started.cell_id.clone();
        self.state.remember(&cell, exec_id, prelude);
        let response = self.until_cancelled(&session, &cell, started.first_response, cancelled);
        self.reply(&cell, response.await, exec.output_bytes)
    }

    /// Follows a cell until it ends, yields or the time is over, or ends it. When `cancelled` fires, it
    /// is ended.
    pub async fn wait(
        &self,
        wait: Wait,
        observer: Observer,
        cancelled: &CancellationToken,
    ) -> Reply {
        let Some(session) = self.session.get().cloned() else {
            let cell_id = wait.cell;
            return Reply::failed(SessionError::MissingCell { cell_id }.to_string());
        };
        let _heard = self
            .state
            .exec_of(&wait.cell)
            .map(|exec| self.state.observe(&exec, observer));
        self.state.deliver_pending(&wait.cell).await;
        let response = if wait.terminate {
            session.terminate(wait.cell.clone()).await
        } else {
            let request = WaitRequest {
                cell_id: wait.cell.clone(),
                yield_time: wait.yield_time.map(|time| time.min(MAX_YIELD_TIME)),
            };
            self.until_cancelled(&session, &wait.cell, session.wait(request), cancelled)
                .await
        };
        self.reply(&wait.cell, response, wait.output_bytes)
    }

    async fn until_cancelled(
        &self,
        session: &Arc<dyn CodeModeSession>,
        cell: &CellId,
        response: impl Future<Output = Result<CellResponse, SessionError>>,
        cancelled: &CancellationToken,
    ) -> Result<CellResponse, SessionError> {
        tokio::select! {
            response = response => response,
            () = cancelled.cancelled() => session.terminate(cell.clone()).await,
        }
    }

    /// Ends all cells and closes the session.
    pub async fn close(&self) {
        if let Some(session) = self.session.get()
            && let Err(error) = session.shutdown().await
        {
            tracing::debug!(%error, "a session did not shut down in order");
        }
    }

    fn reply(
        &self,
        cell: &CellId,
        response: Result<CellResponse, SessionError>,
        output_bytes: Option<usize>,
    ) -> Reply {
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                let reply = Reply::failed(self.state.explain(cell, &error));
                return Reply {
                    cell: Some(cell.clone()),
                    ..reply
                };
            }
        };
        let mut inner = self.state.lock();
        let budget = output_bytes
            .unwrap_or(DEFAULT_OUTPUT_BYTES)
            .min(MAX_OUTPUT_BYTES);
        let made = output::blocks(cell, &response.content_items, budget, &mut inner.kept);
        let mut content = made.content;
        if let Some(lost) = &response.state_lost {
            content.push(ContentBlock::text(format!(
                "[The host was lost before this script ({}): stored values and running scripts are gone.]",
                lost.cause
            )));
        }
        let standing = match response.status {
            CellStatus::Yielded => {
                content.push(ContentBlock::text(format!(
                    "[The script runs on as cell {cell}. To follow it: wait with cell_id \"{cell}\".]"
                )));
                Standing::Running
            }
            CellStatus::Completed { error_text: None } => Standing::Completed,
            CellStatus::Completed {
                error_text: Some(error),
            } => {
                let told = inner
                    .cells
                    .get(cell)
                    .map(|known| known.prelude.restore(&error));
                content.push(ContentBlock::text(shortened(told.unwrap_or(error))));
                Standing::Failed
            }
            CellStatus::Terminated => {
                content.push(ContentBlock::text(format!("[Cell {cell} was terminated.]")));
                Standing::Terminated
            }
        };
        let ended = (standing != Standing::Running)
            .then(|| inner.end(cell))
            .flatten();
        drop(inner);
        if let Some((exec, begun)) = ended {
            let outcome = match standing {
                Standing::Failed => Outcome::Error,
                Standing::Terminated => Outcome::Cancelled,
                Standing::Running | Standing::Completed => Outcome::Ok,
            };
            let line = Event::End {
                session: self.state.id.clone(),
                exec,
                cell: cell.to_string(),
                outcome,
                ms: audit::ms(begun.elapsed()),
            };
            if let Err(error) = self.front.note(line) {
                content.push(ContentBlock::text(format!("[{error}]")));
            }
        }
        if content.is_empty() {
            content.push(ContentBlock::text(
                "[The script has ended and put nothing out.]",
            ));
        }
        Reply {
            cell: Some(cell.clone()),
            standing,
            content,
            structured: made.structured,
        }
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
        let inner = self.state.lock();
        let mut lines: Vec<String> = inner
            .cells
            .iter()
            .filter(|(_, known)| !known.ended)
            .map(|(cell, known)| {
                let seconds = known.begun.elapsed().as_secs();
                let state = if known.closed {
                    "has ended, its result was not read"
                } else {
                    "runs"
                };
                format!("cell {cell}: {state}, started {seconds} s ago")
            })
            .collect();
        for (cell, bytes) in inner.kept.cells() {
            if inner.cells.get(cell).is_some_and(|known| known.ended) {
                lines.push(format!(
                    "cell {cell}: has ended, {bytes} bytes of output are kept"
                ));
            }
        }
        if lines.is_empty() {
            lines.push("There are no cells.".to_owned());
        }
        lines.join("\n")
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
    cells: BTreeMap<CellId, Known>,
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

struct Known {
    exec: String,
    begun: Instant,
    prelude: Prelude,
    /// Its final answer was handed out.
    ended: bool,
    /// The host has closed it.
    closed: bool,
}

impl Inner {
    /// Notes that a cell's final answer is handed out; gives its exec and beginning the first time.
    fn end(&mut self, cell: &CellId) -> Option<(String, Instant)> {
        let known = self.cells.get_mut(cell).filter(|known| !known.ended)?;
        known.ended = true;
        let told = (known.exec.clone(), known.begun);
        self.pending.remove(&told.0);
        Some(told)
    }
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

    fn remember(&self, cell: &CellId, exec: String, prelude: Prelude) {
        let mut inner = self.lock();
        if inner.cells.len() >= MAX_REMEMBERED_CELLS {
            let oldest = |(_, known): &(&CellId, &Known)| (!known.ended, known.begun);
            let oldest = inner
                .cells
                .iter()
                .min_by_key(oldest)
                .map(|(cell, _)| cell.clone());
            if let Some(gone) = oldest.and_then(|cell| inner.cells.remove(&cell)) {
                inner.pending.remove(&gone.exec);
            }
        }
        let known = Known {
            exec,
            begun: Instant::now(),
            prelude,
            ended: false,
            closed: false,
        };
        inner.cells.insert(cell.clone(), known);
    }

    fn exec_of(&self, cell: &CellId) -> Option<String> {
        self.lock().cells.get(cell).map(|known| known.exec.clone())
    }

    /// An error in words that tell the model what to do instead.
    fn explain(&self, cell: &CellId, error: &SessionError) -> String {
        let kept = self.lock().kept.read(cell, 0, 0).is_some();
        match error {
            SessionError::CellFinished { .. } if kept => {
                format!("{error}; to read its output again: wait with an offset")
            }
            _ => error.to_string(),
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

    async fn deliver_pending(&self, cell: &CellId) {
        let Some(exec) = self.exec_of(cell) else {
            return;
        };
        let pending = self.lock().pending.remove(&exec).unwrap_or_default();
        let Some(observer) = self.observer_of(&exec) else {
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

    fn cell_closed(&self, _session_id: &SessionId, cell_id: &CellId) {
        if let Some(known) = self.state.lock().cells.get_mut(cell_id) {
            known.closed = true;
        }
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

    fn remember(state: &SessionState, number: usize) -> CellId {
        let cell = CellId::new(number.to_string());
        let (_, prelude) = prelude::prepare("");
        state.remember(&cell, format!("exec-{number}"), prelude);
        cell
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
    async fn cells_that_have_ended_are_forgotten_first() {
        let state = state();
        let first = remember(&state, 0);
        let second = remember(&state, 1);
        state.notify("exec-1", "text".to_owned()).await;
        assert!(state.lock().end(&second).is_some());
        assert!(state.lock().end(&second).is_none());
        for number in 2..=MAX_REMEMBERED_CELLS {
            remember(&state, number);
        }
        let inner = state.lock();
        assert_eq!(inner.cells.len(), MAX_REMEMBERED_CELLS);
        assert!(inner.cells.contains_key(&first));
        assert!(!inner.cells.contains_key(&second));
        assert!(inner.pending.is_empty());
    }

    #[test]
    fn an_error_is_told_within_its_bound() {
        assert_eq!(shortened("no".to_owned()), "no");
        let long = shortened("ä".repeat(MAX_ERROR_BYTES));
        assert_eq!(long.len(), MAX_ERROR_BYTES + '…'.len_utf8());
    }
}
