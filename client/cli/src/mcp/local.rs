// SPDX-License-Identifier: Apache-2.0
//! The tools of tools files behind the MCP front end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use code_mode_api::{
    BoxFuture, CancellationSignal, Notification, RawJson, SessionDelegate, ToolError,
    ToolInvocation,
};
use code_mode_mcp::LocalTools;
use tokio::sync::Semaphore;

use crate::command_tool::Starter;
use crate::file_tools::MAX_TOOL_PROCESSES;
use crate::guard::Guard;
use crate::tools_file::{FileTool, ToolCommand};

/// Runs the commands of `tools` in `folder`.
pub fn local_tools(tools: Vec<FileTool>, folder: PathBuf) -> Option<LocalTools> {
    if tools.is_empty() {
        return None;
    }
    let mut commands = HashMap::new();
    let mut definitions = Vec::new();
    for tool in tools {
        let mut definition = tool.definition;
        // The front end tells servers' tools by their namespace; these have none there.
        definition.tool_name.namespace = None;
        definition.tool_name.name.clone_from(&definition.name);
        commands.insert(definition.name.clone(), Arc::new(tool.command));
        definitions.push(definition);
    }
    let delegate = Commands {
        commands,
        folder: Arc::new(folder),
        places: Arc::new(Semaphore::new(MAX_TOOL_PROCESSES)),
        starter: Arc::new(Starter::new(Guard::of_this_program())),
    };
    Some(LocalTools {
        definitions,
        delegate: Arc::new(delegate),
    })
}

struct Commands {
    commands: HashMap<String, Arc<ToolCommand>>,
    folder: Arc<PathBuf>,
    places: Arc<Semaphore>,
    starter: Arc<Starter>,
}

impl SessionDelegate for Commands {
    fn invoke_tool(
        &self,
        invocation: ToolInvocation,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<RawJson, ToolError>> {
        // Cancellation needs no care here: the future is dropped, and the command with it.
        let command = self.commands.get(&invocation.tool_name.name).cloned();
        let (folder, places) = (self.folder.clone(), self.places.clone());
        let starter = self.starter.clone();
        Box::pin(async move {
            let name = &invocation.tool_name.name;
            let command =
                command.ok_or_else(|| ToolError::new(format!("there is no tool {name}")))?;
            let closed = |_| ToolError::new("the program is shutting down");
            let _place = places.acquire().await.map_err(closed)?;
            starter.call(&command, &folder, &invocation.input).await
        })
    }

    fn notify(
        &self,
        _notification: Notification,
        _cancel: CancellationSignal,
    ) -> BoxFuture<'static, Result<(), ToolError>> {
        // The front end takes notifications itself.
        Box::pin(async { Ok(()) })
    }
}
