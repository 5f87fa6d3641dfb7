//! The tools of one cell, under the names that its script uses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use code_mode_api::{LimitName, SessionError, ToolDefinition, script_name};

/// The tools of one cell by normalised name.
pub(crate) struct ToolTable {
    tools: Arc<[ToolDefinition]>,
    names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl ToolTable {
    /// Checks and indexes the tools of a request.
    ///
    /// # Errors
    /// [`SessionError::Limit`], or [`SessionError::InvalidRequest`] when two tools have the same
    /// normalised name (`javascript-surface.md`, section *Tools*).
    pub(crate) fn new(
        tools: Arc<[ToolDefinition]>,
        max_tools: usize,
        max_bytes: usize,
    ) -> Result<Self, SessionError> {
        if tools.len() > max_tools {
            return Err(SessionError::Limit {
                limit: LimitName::Tools,
                maximum: max_tools as u64,
                detail: format!("the request has {}", tools.len()),
            });
        }
        let bytes: usize = tools.iter().map(definition_bytes).sum();
        if bytes > max_bytes {
            return Err(SessionError::Limit {
                limit: LimitName::ToolBytes,
                maximum: max_bytes as u64,
                detail: format!("the request has {bytes}"),
            });
        }
        let names: Vec<String> = tools.iter().map(|tool| script_name(&tool.name)).collect();
        let mut by_name = HashMap::with_capacity(names.len());
        for (index, (name, tool)) in names.iter().zip(tools.iter()).enumerate() {
            match by_name.entry(name.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                }
                Entry::Occupied(first) => {
                    let first = tools.get(*first.get()).map_or("", |tool| &tool.name);
                    return Err(SessionError::InvalidRequest {
                        message: format!(
                            "the tools {first:?} and {:?} would both be tools.{name}; rename one",
                            tool.name
                        ),
                    });
                }
            }
        }
        Ok(Self {
            tools,
            names,
            by_name,
        })
    }

    /// The tool at this index.
    pub(crate) fn tool(&self, index: usize) -> Option<&ToolDefinition> {
        self.tools.get(index)
    }

    /// The index of the tool of this normalised name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The normalised names, in the order of the request.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The tools with their normalised names, in the order of the request.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ToolDefinition)> {
        self.names.iter().map(String::as_str).zip(self.tools.iter())
    }
}

fn definition_bytes(tool: &ToolDefinition) -> usize {
    let schema = |schema: &Option<code_mode_api::RawJson>| {
        schema.as_ref().map_or(0, |schema| schema.get().len())
    };
    tool.name.len()
        + tool.tool_name.name.len()
        + tool.tool_name.namespace.as_ref().map_or(0, String::len)
        + tool.description.len()
        + schema(&tool.input_schema)
        + schema(&tool.output_schema)
}
