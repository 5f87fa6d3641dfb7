//! Answers the tool calls of scripts with the commands of a tools file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, SessionId,
    ToolError, ToolInvocation, ToolName,
};
use tokio::sync::Semaphore;

use super::command_tool;
use super::events::{Event, Reporter};
use super::tools_file::{FileTool, ToolCommand};

/// Tool commands that run at one time; further calls wait for a place.
pub const MAX_TOOL_PROCESSES: usize = 16;

/// How many tool calls of the session are open and how many have ended.
#[derive(Debug, Default)]
pub struct CallCounts {
    open: AtomicU64,
    done: AtomicU64,
}

impl CallCounts {
    /// Calls that have not ended.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Calls that have ended in any way.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Counts one call from its start to its end, also when its future is dropped.
struct OpenCall(Arc<CallCounts>);

impl OpenCall {
    fn new(counts: &Arc<CallCounts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(counts.clone())
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// The command line's side of a session.
pub struct CommandDelegate {
    tools: HashMap<ToolName, Arc<ToolCommand>>,
    folder: Arc<PathBuf>,
    places: Arc<Semaphore>,
    counts: Arc<CallCounts>,
    closed: Mutex<Vec<CellId>>,
    reporter: Reporter,
}

impl CommandDelegate {
    /// Runs the commands of `tools` in `folder` and shows what happens through `reporter`.
    pub fn new(tools: &[FileTool], folder: PathBuf, reporter: Reporter) -> Self {
        let tools = tools
            .iter()
            .map(|tool| {
                (
                    tool.definition.tool_name.clone(),
                    Arc::new(tool.command.clone()),
                )
            })
            .collect();
        Self {
            tools,
            folder: Arc::new(folder),
            places: Arc::new(Semaphore::new(MAX_TOOL_PROCESSES)),
            counts: Arc::default(),
            closed: Mutex::default(),
            reporter,
        }
    }

    /// The counts of this delegate's calls.
    pub fn counts(&self) -> Arc<CallCounts> {
        self.counts.clone()
    }

    /// The cells that the session has closed since this was last asked.
    pub fn take_closed(&self) -> Vec<CellId> {
        std::mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SessionDelegate for CommandDelegate {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        // Cancellation needs no care here: the future is dropped, and the command with it.
        let open = OpenCall::new(&self.counts);
        let command = self.tools.get(&invocation.tool_name).cloned();
        let (folder, places) = (self.folder.clone(), self.places.clone());
        let reporter = self.reporter.clone();
        Box::pin(async move {
            let _open = open;
            let begun = Instant::now();
            reporter.report(Event::tool_call(&invocation)).await;
            let result = match command {
                None => Err(ToolError::new(format!(
                    "the tools file has no tool {}",
                    invocation.tool_name.name
                ))),
                Some(command) => run_in_turn(&places, &command, &folder, &invocation.input).await,
            };
            reporter
                .report(Event::ToolResult {
                    cell: invocation.cell_id,
                    call: invocation.call_id,
                    result: result.clone().map_err(|error| error.message),
                    took: begun.elapsed(),
                })
                .await;
            result
        })
    }

    fn notify(
        &self,
        notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        let reporter = self.reporter.clone();
        Box::pin(async move {
            let Notification { cell_id, text, .. } = notification;
            reporter
                .report(Event::Notification {
                    cell: cell_id,
                    text,
                })
                .await;
            Ok(())
        })
    }

    fn cell_closed(&self, _session_id: &SessionId, cell_id: &CellId) {
        self.closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(cell_id.clone());
    }
}

async fn run_in_turn(
    places: &Semaphore,
    command: &ToolCommand,
    folder: &Path,
    input: &RawJson,
) -> Result<RawJson, ToolError> {
    let _place = places
        .acquire()
        .await
        .map_err(|_| ToolError::new("the command line is shutting down"))?;
    command_tool::call(command, folder, input).await
}

#[cfg(test)]
#[path = "delegate_tests.rs"]
mod tests;
