// SPDX-License-Identifier: Apache-2.0
//! Tools on the wire: their definitions, and calls of them.

use code_mode_api::{CellId, SessionId, ToolDefinition, ToolInvocation, ToolKind, ToolName};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::RawJson;
use crate::object::{ShapeError, required, wire_names, wire_object, wire_value};
use crate::wire::Wire;

wire_names! {
    ToolKind, "a tool kind: function or freeform" {
        Function = "function",
        Freeform = "freeform",
    }
}

impl Serialize for Wire<&ToolName> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ToolName { name, namespace } = self.0;
        let mut object = serializer.serialize_struct("ToolName", 2)?;
        object.serialize_field("name", name)?;
        object.serialize_field("namespace", namespace)?;
        object.end()
    }
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

wire_value!(ToolNameFields => ToolName);

fn name_bytes(name: &ToolName) -> usize {
    let namespace = name.namespace.as_ref().map_or(0, String::len);
    name.name.len().saturating_add(namespace)
}

impl Serialize for Wire<&ToolDefinition> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ToolDefinition {
            name,
            tool_name,
            description,
            kind,
            input_schema,
            output_schema,
        } = self.0;
        let mut object = serializer.serialize_struct("ToolDefinition", 6)?;
        object.serialize_field("name", name)?;
        object.serialize_field("tool_name", &Wire(tool_name))?;
        object.serialize_field("description", description)?;
        object.serialize_field("kind", &Wire(kind))?;
        object.serialize_field("input_schema", input_schema)?;
        object.serialize_field("output_schema", output_schema)?;
        object.end()
    }
}

wire_object! {
    ToolDefinitionFields ("a tool definition") {
        name: String = "name",
        tool_name: Wire<ToolName> = "tool_name",
        description: String = "description",
        kind: Wire<ToolKind> = "kind",
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
            tool_name: required(fields.tool_name, "tool_name", owner)?.0,
            description: required(fields.description, "description", owner)?,
            kind: required(fields.kind, "kind", owner)?.0,
            input_schema: fields.input_schema.flatten(),
            output_schema: fields.output_schema.flatten(),
        })
    }
}

wire_value!(ToolDefinitionFields => ToolDefinition);

/// Bytes that a definition takes at least once it is encoded.
pub(crate) fn definition_bytes(tool: &ToolDefinition) -> usize {
    let schemas = [&tool.input_schema, &tool.output_schema];
    schemas
        .into_iter()
        .flatten()
        .map(|schema| schema.get().len())
        .chain([
            tool.name.len(),
            name_bytes(&tool.tool_name),
            tool.description.len(),
        ])
        .fold(0, usize::saturating_add)
}

/// Neither the session, which the message names, nor the call of the cell is part of an
/// invocation's object.
impl Serialize for Wire<&ToolInvocation> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let invocation = self.0;
        let mut object = serializer.serialize_struct("ToolInvocation", 5)?;
        object.serialize_field("cell_id", &Wire(&invocation.cell_id))?;
        object.serialize_field("runtime_tool_call_id", &invocation.call_id)?;
        object.serialize_field("tool_name", &Wire(&invocation.tool_name))?;
        object.serialize_field("tool_kind", &Wire(&invocation.tool_kind))?;
        object.serialize_field("input", &invocation.input)?;
        object.end()
    }
}

wire_object! {
    ToolInvocationFields ("a tool invocation") {
        cell_id: Wire<CellId> = "cell_id",
        runtime_tool_call_id: String = "runtime_tool_call_id",
        tool_name: Wire<ToolName> = "tool_name",
        tool_kind: Wire<ToolKind> = "tool_kind",
        input: RawJson = "input",
    }
}

impl ToolInvocationFields {
    /// The invocation by a cell of this session.
    pub(crate) fn of_session(self, session_id: SessionId) -> Result<ToolInvocation, ShapeError> {
        let owner = "a tool invocation";
        let id = "runtime_tool_call_id";
        Ok(ToolInvocation {
            session_id,
            cell_id: required(self.cell_id, "cell_id", owner)?.0,
            call_id: required(self.runtime_tool_call_id, id, owner)?,
            exec_call_id: String::new(),
            tool_name: required(self.tool_name, "tool_name", owner)?.0,
            tool_kind: required(self.tool_kind, "tool_kind", owner)?.0,
            input: required(self.input, "input", owner)?,
        })
    }
}

/// Bytes that a call takes at least once it is encoded.
pub(crate) fn invocation_bytes(invocation: &ToolInvocation) -> usize {
    name_bytes(&invocation.tool_name).saturating_add(invocation.input.get().len())
}
