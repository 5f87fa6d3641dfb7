// SPDX-License-Identifier: Apache-2.0
//! The tools of tools files as tools of a session: each call runs its tool's command.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use code_mode_embed::{Tool, ToolError, ToolSet};
use tokio::sync::Semaphore;

use crate::command_tool::Starter;
use crate::guard::Guard;
use crate::tools_file::FileTool;

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

/// The tools as scripts call them: their commands run in `folder`, watched over by `guard`, and are
/// counted in `calls`.
pub fn tool_set(
    tools: Vec<FileTool>,
    folder: PathBuf,
    guard: Arc<Guard>,
    calls: &Arc<Calls>,
) -> ToolSet {
    let folder: Arc<Path> = folder.into();
    let places = Arc::new(Semaphore::new(MAX_TOOL_PROCESSES));
    let starter = Arc::new(Starter::new(guard));
    let tool = |tool: FileTool| {
        let FileTool {
            definition,
            command,
        } = tool;
        let name = definition.tool_name.name.clone();
        let command = Arc::new(command);
        let (folder, places) = (Arc::clone(&folder), Arc::clone(&places));
        let (starter, calls) = (Arc::clone(&starter), Arc::clone(calls));
        // Cancellation needs no care here: the future is dropped, and the command with it.
        Tool::dynamic(definition, move |input, _context| {
            let open = calls.opened(&name);
            let (command, folder) = (Arc::clone(&command), Arc::clone(&folder));
            let (places, starter) = (Arc::clone(&places), Arc::clone(&starter));
            async move {
                let _open = open;
                let closed = |_| ToolError::new("the command line is shutting down");
                let _place = places.acquire().await.map_err(closed)?;
                starter.call(&command, &folder, &input).await
            }
        })
    };
    tools.into_iter().map(tool).collect()
}

#[cfg(test)]
#[path = "file_tools_tests.rs"]
mod tests;
