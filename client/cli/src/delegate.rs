// SPDX-License-Identifier: Apache-2.0
//! Answers the tool calls of scripts with the commands of a tools file.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, SessionId,
    ToolError, ToolInvocation, ToolName,
};
use tokio::sync::Semaphore;

use crate::command_tool::Starter;
use crate::events::{Event, Reporter};
use crate::guard::Guard;
use crate::order::Order;
use crate::tools_file::{FileTool, ToolCommand};

/// Tool commands that run at one time; further calls wait for a place.
pub const MAX_TOOL_PROCESSES: usize = 16;

/// The tool calls of a session: those that are open, and how many have ended.
#[derive(Debug, Default)]
pub struct Calls {
    numbers: AtomicU64,
    done: AtomicU64,
    open: Mutex<BTreeMap<u64, (String, Instant)>>,
}

impl Calls {
    /// The calls that have not ended, oldest first: the tool's name and how long it has been called.
    pub fn open(&self) -> Vec<(String, Duration)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values()
            .map(|(name, since)| (name.clone(), since.elapsed()))
            .collect()
    }

    /// Lists a call of this tool as open until what this gives is dropped.
    pub fn opened(self: &Arc<Self>, name: &str) -> OpenCall {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(number, (name.to_owned(), Instant::now()));
        OpenCall {
            calls: self.clone(),
            number,
        }
    }

    /// How many calls have ended in any way.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// One call, from its start to its end, also when its future is dropped.
pub struct OpenCall {
    calls: Arc<Calls>,
    number: u64,
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut open = self
            .calls
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.number);
        self.calls.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// The command line's side of a session.
pub struct CommandDelegate {
    tools: HashMap<ToolName, Arc<ToolCommand>>,
    folder: Arc<PathBuf>,
    places: Arc<Semaphore>,
    calls: Arc<Calls>,
    starter: Arc<Starter>,
    order: Arc<Order>,
    closed: Mutex<Vec<CellId>>,
    reporter: Reporter,
}

impl CommandDelegate {
    /// Runs the commands of `tools` in `folder`, watched over by `guard`, and shows what happens through
    /// `reporter`.
    pub fn new(tools: &[FileTool], folder: PathBuf, reporter: Reporter, guard: Arc<Guard>) -> Self {
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
            calls: Arc::default(),
            starter: Arc::new(Starter::new(guard)),
            order: Arc::default(),
            closed: Mutex::default(),
            reporter,
        }
    }

    /// This delegate's calls.
    pub fn calls(&self) -> Arc<Calls> {
        self.calls.clone()
    }

    /// What keeps calls and output in order.
    pub fn order(&self) -> Arc<Order> {
        self.order.clone()
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
        let open = self.calls.opened(&invocation.tool_name.name);
        let command = self.tools.get(&invocation.tool_name).cloned();
        let (folder, places) = (self.folder.clone(), self.places.clone());
        let (starter, order) = (self.starter.clone(), self.order.clone());
        let reporter = self.reporter.clone();
        Box::pin(async move {
            let _open = open;
            if reporter.shows_calls() {
                order.output_shown(&invocation.cell_id).await;
            }
            let begun = Instant::now();
            reporter.report(Event::tool_call(&invocation)).await;
            let result = match command {
                None => Err(ToolError::new(format!(
                    "the tools file has no tool {}",
                    invocation.tool_name.name
                ))),
                Some(command) => match places.acquire().await {
                    Ok(_place) => starter.call(&command, &folder, &invocation.input).await,
                    Err(_) => Err(ToolError::new("the command line is shutting down")),
                },
            };
            reporter
                .report(Event::ToolResult {
                    cell: invocation.cell_id,
                    call: invocation.call_id,
                    tool: invocation.tool_name.name,
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
        let (reporter, order) = (self.reporter.clone(), self.order.clone());
        Box::pin(async move {
            let Notification { cell_id, text, .. } = notification;
            order.output_shown(&cell_id).await;
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

#[cfg(test)]
#[path = "delegate_tests.rs"]
mod tests;
