// SPDX-License-Identifier: Apache-2.0
//! A delegate whose tools are closures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use code_mode_api::{
    BoxFuture, CancellationSignal, CellId, Notification, RawJson, SessionDelegate, SessionId,
    ToolError, ToolInvocation,
};

type Answer = BoxFuture<'static, Result<RawJson, ToolError>>;
type Tool = Box<dyn Fn(ToolInvocation, CancellationSignal) -> Answer + Send + Sync>;

/// Runs tools by name and takes note of what else it hears.
#[derive(Default)]
pub struct Tools {
    tools: BTreeMap<String, Tool>,
    /// Texts of notifications.
    pub notifications: Mutex<Vec<String>>,
    /// Cells that were closed.
    pub closed: Mutex<Vec<String>>,
}

impl Tools {
    /// Without a tool.
    pub fn none() -> Arc<Self> {
        Arc::default()
    }

    /// Adds a tool.
    #[must_use]
    pub fn with<F, R>(mut self, name: &str, tool: F) -> Self
    where
        F: Fn(ToolInvocation, CancellationSignal) -> R + Send + Sync + 'static,
        R: Future<Output = Result<RawJson, ToolError>> + Send + 'static,
    {
        let tool = move |invocation, cancel| Box::pin(tool(invocation, cancel)) as Answer;
        self.tools.insert(name.to_owned(), Box::new(tool));
        self
    }
}

impl SessionDelegate for Tools {
    fn invoke_tool(&self, invocation: ToolInvocation, cancel: CancellationSignal) -> Answer {
        match self.tools.get(&invocation.tool_name.name) {
            Some(tool) => tool(invocation, cancel),
            None => Box::pin(async { Err(ToolError::new("no such tool")) }),
        }
    }

    fn notify(
        &self,
        notification: Notification,
        _: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        self.notifications
            .lock()
            .expect("a lock")
            .push(notification.text);
        Box::pin(async { Ok(()) })
    }

    fn cell_closed(&self, _: &SessionId, cell_id: &CellId) {
        self.closed
            .lock()
            .expect("a lock")
            .push(cell_id.to_string());
    }
}
