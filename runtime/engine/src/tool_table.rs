// SPDX-License-Identifier: Apache-2.0
//! The tools of one cell, under the names that its script uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use code_mode_api::{LimitName, SessionError, ToolDefinition, script_name};

/// The tools of one cell by normalised name.
#[derive(Debug, Clone)]
pub struct ToolTable {
    tools: Arc<[ToolDefinition]>,
    /// What scripts call each tool: its normalised name, or its full name where several tools have
    /// the same normalised one.
    names: Vec<String>,
    /// The indices of `names` in the order of the names: cheaper to make than a map, and few scripts
    /// look up many tools.
    by_name: Vec<usize>,
    /// The names that several tools would have, with those tools and what each is called instead.
    shared: BTreeMap<String, Vec<(usize, String)>>,
}

impl ToolTable {
    /// Checks and indexes the tools of a request.
    ///
    /// # Errors
    /// [`SessionError::Limit`].
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
        let mut names: Vec<String> = tools.iter().map(|tool| script_name(&tool.name)).collect();
        let mut by_name: Vec<usize> = (0..names.len()).collect();
        by_name.sort_by_key(|index| names.get(*index));
        let shared = shared_names(&tools, &names, &by_name);
        if !shared.is_empty() {
            for (index, full_name) in shared.values().flatten() {
                if let Some(name) = names.get_mut(*index) {
                    full_name.clone_into(name);
                }
            }
            by_name.sort_by_key(|index| names.get(*index));
        }
        Ok(Self {
            tools,
            names,
            by_name,
            shared,
        })
    }

    /// The tool at this index.
    pub fn tool(&self, index: usize) -> Option<&ToolDefinition> {
        self.tools.get(index)
    }

    /// The index of the tool that scripts call so.
    pub fn find(&self, name: &str) -> Option<usize> {
        let name_of = |index: &usize| self.names.get(*index).map_or("", String::as_str);
        let at = self
            .by_name
            .binary_search_by(|index| name_of(index).cmp(name));
        self.by_name.get(at.ok()?).copied()
    }

    /// What calling a name throws that stands for several tools; `None` for any other name.
    pub fn shared(&self, name: &str) -> Option<String> {
        let tools = self.shared.get(name)?;
        let full = |(index, full_name): &(usize, String)| {
            let name = self.tools.get(*index).map_or("", |tool| &tool.name);
            format!("{name:?} as tools[{full_name:?}]")
        };
        let tools: Vec<String> = tools.iter().map(full).collect();
        Some(format!(
            "tools.{name} stands for more than one tool; call {}",
            tools.join(" or ")
        ))
    }

    /// The names that several tools would have.
    pub fn shared_names(&self) -> impl Iterator<Item = &str> {
        self.shared.keys().map(String::as_str)
    }

    /// What scripts call the tools, in the order of the request.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The tools, in the order of the request.
    pub fn tools(&self) -> &Arc<[ToolDefinition]> {
        &self.tools
    }
}

/// The names that several tools have, with what each of these is called instead: its full name or,
/// where that is no other name, its namespace and its name.
fn shared_names(
    tools: &[ToolDefinition],
    names: &[String],
    by_name: &[usize],
) -> BTreeMap<String, Vec<(usize, String)>> {
    let name = |index: &usize| names.get(*index).map_or("", String::as_str);
    let groups = by_name.chunk_by(|first, second| name(first) == name(second));
    let mut shared = BTreeMap::new();
    for group in groups.filter(|group| group.len() > 1) {
        let full_name = |index: &usize| tools.get(*index).map_or("", |tool| &tool.name);
        let entries = group.iter().map(|index| {
            let full = full_name(index);
            let same = group.iter().filter(|other| full_name(other) == full);
            let is_own = same.count() == 1 && full != name(index);
            let tool = tools.get(*index);
            let full = match tool {
                Some(tool) if !is_own => {
                    let namespace = tool.tool_name.namespace.as_deref().unwrap_or("");
                    format!("{namespace}.{}", tool.tool_name.name)
                }
                _ => full.to_owned(),
            };
            (*index, full)
        });
        if let Some(first) = group.first() {
            shared.insert(name(first).to_owned(), entries.collect());
        }
    }
    shared
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
