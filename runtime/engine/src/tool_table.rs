//! The tools of one cell, under the names that its script uses.

use std::sync::Arc;

use code_mode_api::{LimitName, SessionError, ToolDefinition, script_name};

/// The tools of one cell by normalised name.
#[derive(Debug, Clone)]
pub struct ToolTable {
    tools: Arc<[ToolDefinition]>,
    names: Vec<String>,
    /// The indices of `names` in the order of the names: cheaper to make than a map, and few scripts
    /// look up many tools.
    by_name: Vec<usize>,
}

impl ToolTable {
    /// Checks and indexes the tools of a request.
    ///
    /// # Errors
    /// [`SessionError::Limit`], or [`SessionError::InvalidRequest`] when two tools have the same
    /// normalised name (`javascript-surface.md`, section *Tools*).
    pub fn new(
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
        let mut by_name: Vec<usize> = (0..names.len()).collect();
        by_name.sort_by_key(|index| names.get(*index));
        for pair in by_name.windows(2) {
            let name = |index: &usize| names.get(*index);
            let tool = |index: &usize| tools.get(*index).map_or("", |tool| &tool.name);
            if let [first, second] = pair
                && let Some(same) = name(first).filter(|same| Some(*same) == name(second))
            {
                return Err(SessionError::InvalidRequest {
                    message: format!(
                        "the tools {:?} and {:?} would both be tools.{same}; rename one",
                        tool(first),
                        tool(second),
                    ),
                });
            }
        }
        Ok(Self {
            tools,
            names,
            by_name,
        })
    }

    /// A table without tools.
    pub fn empty() -> Self {
        Self {
            tools: Arc::from([]),
            names: Vec::new(),
            by_name: Vec::new(),
        }
    }

    /// The tool at this index.
    pub fn tool(&self, index: usize) -> Option<&ToolDefinition> {
        self.tools.get(index)
    }

    /// The index of the tool of this normalised name.
    pub fn find(&self, name: &str) -> Option<usize> {
        let name_of = |index: &usize| self.names.get(*index).map_or("", String::as_str);
        let at = self
            .by_name
            .binary_search_by(|index| name_of(index).cmp(name));
        self.by_name.get(at.ok()?).copied()
    }

    /// The normalised names, in the order of the request.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tools, in the order of the request.
    pub fn tools(&self) -> &Arc<[ToolDefinition]> {
        &self.tools
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
