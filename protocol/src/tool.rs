//! Tools: their definitions, and calls of them.

use serde::{Deserialize, Serialize};

use crate::object::{ShapeError, required, wire_object, wire_strings};
use crate::{CellId, RawJson};

wire_strings! {
    /// How a tool takes its input.
    pub enum ToolKind ("a tool kind: function or freeform") {
        /// The input is a JSON object described by a schema.
        Function = "function",
        /// The input is free text.
        Freeform = "freeform",
    }
}

/// A tool's own name, as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ToolNameFields")]
pub struct ToolName {
    /// The name within the namespace.
    pub name: String,
    /// The group that the tool belongs to, if it has one.
    pub namespace: Option<String>,
}

wire_object! {
    ToolNameFields ("a tool name") {
        name: String = "name",
        namespace: Option<String> = "namespace",
    }
}

impl TryFrom<ToolNameFields> for ToolName {
    type Error = ShapeError;

    fn try_from(fields: ToolNameFields) -> Result<Self, ShapeError> {
        Ok(Self {
            name: required(fields.name, "name", "a tool name")?,
            namespace: fields.namespace.flatten(),
        })
    }
}

impl ToolName {
    fn least_bytes(&self) -> usize {
        self.name
            .len()
            .saturating_add(self.namespace.as_ref().map_or(0, String::len))
    }
}

/// A tool that a script can call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "ToolDefinitionFields")]
pub struct ToolDefinition {
    /// The name that scripts see, before normalisation.
    pub name: String,
    /// The name that a call of this tool carries.
    pub tool_name: ToolName,
    /// What the tool does, for the model.
    pub description: String,
    /// How the tool takes its input.
    pub kind: ToolKind,
    /// JSON schema of the input, if there is one.
    pub input_schema: Option<RawJson>,
    /// JSON schema of the result, if there is one.
    pub output_schema: Option<RawJson>,
}

wire_object! {
    ToolDefinitionFields ("a tool definition") {
        name: String = "name",
        tool_name: ToolName = "tool_name",
        description: String = "description",
        kind: ToolKind = "kind",
        input_schema: Option<RawJson> = "input_schema",
        output_schema: Option<RawJson> = "output_schema",
    }
}

impl TryFrom<ToolDefinitionFields> for ToolDefinition {
    type Error = ShapeError;

    fn try_from(fields: ToolDefinitionFields) -> Result<Self, ShapeError> {
        let owner = "a tool definition";
        Ok(Self {
            name: required(fields.name, "name", owner)?,
            tool_name: required(fields.tool_name, "tool_name", owner)?,
            description: required(fields.description, "description", owner)?,
            kind: required(fields.kind, "kind", owner)?,
            input_schema: fields.input_schema.flatten(),
            output_schema: fields.output_schema.flatten(),
        })
    }
}

impl ToolDefinition {
    /// Bytes that the definition takes at least once it is encoded.
    pub(crate) fn least_bytes(&self) -> usize {
        let schemas = [&self.input_schema, &self.output_schema];
        schemas
            .into_iter()
            .flatten()
            .map(|schema| schema.get().len())
            .chain([
                self.name.len(),
                self.tool_name.least_bytes(),
                self.description.len(),
            ])
            .fold(0, usize::saturating_add)
    }
}

/// One call of a tool by a script.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "ToolInvocationFields")]
pub struct ToolInvocation {
    /// The cell that calls.
    pub cell_id: CellId,
    /// The call's id within the cell: `tool-1`, `tool-2`, …
    pub runtime_tool_call_id: String,
    /// The tool's own name, never the normalised one.
    pub tool_name: ToolName,
    /// How the tool takes its input.
    pub tool_kind: ToolKind,
    /// The input as the script gave it; JSON `null` when it gave none.
    pub input: RawJson,
}

wire_object! {
    ToolInvocationFields ("a tool invocation") {
        cell_id: CellId = "cell_id",
        runtime_tool_call_id: String = "runtime_tool_call_id",
        tool_name: ToolName = "tool_name",
        tool_kind: ToolKind = "tool_kind",
        input: RawJson = "input",
    }
}

impl TryFrom<ToolInvocationFields> for ToolInvocation {
    type Error = ShapeError;

    fn try_from(fields: ToolInvocationFields) -> Result<Self, ShapeError> {
        let owner = "a tool invocation";
        Ok(Self {
            cell_id: required(fields.cell_id, "cell_id", owner)?,
            runtime_tool_call_id: required(
                fields.runtime_tool_call_id,
                "runtime_tool_call_id",
                owner,
            )?,
            tool_name: required(fields.tool_name, "tool_name", owner)?,
            tool_kind: required(fields.tool_kind, "tool_kind", owner)?,
            input: required(fields.input, "input", owner)?,
        })
    }
}

impl ToolInvocation {
    /// Bytes that the call takes at least once it is encoded.
    pub(crate) fn least_bytes(&self) -> usize {
        self.tool_name
            .least_bytes()
            .saturating_add(self.input.get().len())
    }
}
