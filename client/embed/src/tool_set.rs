// SPDX-License-Identifier: Apache-2.0
//! The tools of a session.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use code_mode_api::{ToolDefinition, ToolName};

use crate::Tool;

/// Two tools of a set cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolSetError {
    /// Two tools are called the same by scripts.
    #[error(
        "Failed to offer the tools: two of them have the name {name}; put one into a namespace"
    )]
    DuplicateName {
        /// The name that scripts see.
        name: String,
    },
    /// Two tools have the same namespace and own name.
    #[error(
        "Failed to offer the tools: calls of {first} and {second} cannot be told apart, since both carry one tool name"
    )]
    DuplicateToolName {
        /// The name under which scripts see the first.
        first: String,
        /// The name under which scripts see the second.
        second: String,
    },
}

/// Tools that are offered together. Cheap to clone.
///
/// ```
/// use code_mode_embed::{Tool, ToolSet};
///
/// let files = ToolSet::new()
///     .with(Tool::freeform("read", "Reads a file.", |path, _| async move {
///         std::fs::read_to_string(path)
///     }))
///     .in_namespace("files");
/// let clock = ToolSet::new().with(Tool::new("ticks", "Counts ticks.", |()| async {
///     Ok::<_, String>(7)
/// }));
/// let tools = files.and(clock);
/// let names: Vec<_> = tools.iter().map(|tool| tool.definition().name.as_str()).collect();
/// assert_eq!(names, ["files__read", "ticks"]);
/// assert!(tools.definitions().is_ok());
/// ```
#[derive(Debug, Clone, Default)]
pub struct ToolSet {
    tools: Vec<Tool>,
}

impl ToolSet {
    /// No tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// These tools and one more, which comes last in what models are told.
    #[must_use]
    pub fn with(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// These tools and then those of another set.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.tools.extend(other.tools);
        self
    }

    /// The same tools, each put into this namespace; see [`Tool::in_namespace`].
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        let tools = self.tools.into_iter();
        Self {
            tools: tools.map(|tool| tool.in_namespace(namespace)).collect(),
        }
    }

    /// The tools in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Tool> {
        self.tools.iter()
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// What scripts and models are told of the tools.
    ///
    /// # Errors
    /// When two of them cannot be told apart.
    pub fn definitions(&self) -> Result<Arc<[ToolDefinition]>, ToolSetError> {
        self.table().map(|table| table.definitions)
    }

    pub(crate) fn table(&self) -> Result<ToolTable, ToolSetError> {
        let mut names: HashSet<&str> = HashSet::new();
        let mut by_name: HashMap<ToolName, Tool> = HashMap::new();
        for tool in &self.tools {
            let definition = &tool.definition;
            if !names.insert(&definition.name) {
                let name = definition.name.clone();
                return Err(ToolSetError::DuplicateName { name });
            }
            if let Some(first) = by_name.insert(definition.tool_name.clone(), tool.clone()) {
                return Err(ToolSetError::DuplicateToolName {
                    first: first.definition.name.clone(),
                    second: definition.name.clone(),
                });
            }
        }
        let definitions = self.tools.iter();
        Ok(ToolTable {
            definitions: definitions
                .map(|tool| ToolDefinition::clone(&tool.definition))
                .collect(),
            by_name,
        })
    }
}

impl FromIterator<Tool> for ToolSet {
    fn from_iter<T: IntoIterator<Item = Tool>>(tools: T) -> Self {
        Self {
            tools: tools.into_iter().collect(),
        }
    }
}

impl Extend<Tool> for ToolSet {
    fn extend<T: IntoIterator<Item = Tool>>(&mut self, tools: T) {
        self.tools.extend(tools);
    }
}

/// The tools as a session needs them.
#[derive(Debug)]
pub(crate) struct ToolTable {
    /// Shared with every request, so that a provider may know them again by their address.
    pub(crate) definitions: Arc<[ToolDefinition]>,
    pub(crate) by_name: HashMap<ToolName, Tool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> Tool {
        Tool::new(name, "", |()| async { Ok::<_, String>(()) })
    }

    #[test]
    fn two_tools_of_one_name_are_refused_with_the_name() {
        let twice = ToolSet::new().with(tool("read")).with(tool("read"));
        assert_eq!(
            twice.definitions().unwrap_err(),
            ToolSetError::DuplicateName {
                name: "read".to_owned()
            }
        );
        let apart = ToolSet::new().with(tool("read"));
        let apart = apart.and(ToolSet::from_iter([tool("read")]).in_namespace("a"));
        assert_eq!(apart.definitions().unwrap().len(), 2);
    }

    #[test]
    fn two_names_for_one_tool_are_refused_since_their_calls_look_the_same() {
        let first = tool("read").in_namespace("a");
        let mut second = ToolDefinition::clone(first.definition());
        second.name = "other".to_owned();
        let second = Tool::dynamic(second, |input, _| async { Ok(input) });
        let error = ToolSet::from_iter([first, second]).definitions();
        assert_eq!(
            error.unwrap_err(),
            ToolSetError::DuplicateToolName {
                first: "a__read".to_owned(),
                second: "other".to_owned()
            }
        );
    }
}
