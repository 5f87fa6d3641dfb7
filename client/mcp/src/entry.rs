// SPDX-License-Identifier: Apache-2.0
//! One tool of the catalog.

use std::sync::OnceLock;

use code_mode_api::ToolDefinition;
use code_mode_embed::describe::declaration;

use crate::policy::{Hints, Subject};

/// One tool.
pub struct Entry {
    /// `SERVER__TOOL`, as scripts call it; told apart from all others.
    pub identifier: String,
    /// The server's name; empty for a tool of a tools file.
    pub server: String,
    /// The tool's own name.
    pub tool: String,
    /// What its server says about it.
    pub hints: Hints,
    /// What the model is told, schemas included.
    pub definition: ToolDefinition,
    declaration: OnceLock<String>,
}

impl Entry {
    /// A tool of this server; `definition.name` is told apart from all others already.
    pub fn new(server: &str, tool: &str, hints: Hints, definition: ToolDefinition) -> Self {
        Self {
            identifier: definition.name.clone(),
            server: server.to_owned(),
            tool: tool.to_owned(),
            hints,
            definition,
            declaration: OnceLock::new(),
        }
    }

    /// The TypeScript declaration, as a member of `Tools`.
    pub fn declaration(&self) -> &str {
        self.declaration
            .get_or_init(|| declaration(&self.definition))
    }

    /// The tool as the rules see it.
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            server: &self.server,
            tool: &self.tool,
            hints: self.hints,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use code_mode_api::{ToolKind, ToolName};
    use serde_json::value::RawValue;

    use super::*;

    /// A tool of a server, for tests.
    pub(crate) fn entry(server: &str, tool: &str, description: &str, schema: &str) -> Entry {
        let definition = ToolDefinition {
            name: format!("{server}__{tool}"),
            tool_name: ToolName {
                name: tool.to_owned(),
                namespace: Some(server.to_owned()),
            },
            description: description.to_owned(),
            kind: ToolKind::Function,
            input_schema: Some(RawValue::from_string(schema.to_owned()).unwrap()),
            output_schema: None,
        };
        Entry::new(server, tool, Hints::default(), definition)
    }
}
