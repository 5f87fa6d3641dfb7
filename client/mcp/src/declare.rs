//! What a model is told about one tool: its TypeScript declaration.

use code_mode_api::{RawJson, ToolDefinition, ToolKind, script_name};
use serde_json::Value;

use crate::schema;

/// The TypeScript declaration of a tool, as a member of `Tools`.
pub fn declaration(tool: &ToolDefinition) -> String {
    let input = match (tool.kind, &tool.input_schema) {
        (ToolKind::Freeform, _) => "input: string".to_owned(),
        (ToolKind::Function, None) => "input?: unknown".to_owned(),
        (ToolKind::Function, Some(schema)) => format!("input: {}", type_of(schema)),
    };
    let output = tool
        .output_schema
        .as_ref()
        .map_or_else(|| "unknown".to_owned(), type_of);
    format!(
        "{}  {}({input}): Promise<{output}>;\n",
        schema::comment(&tool.description, 1),
        script_name(&tool.name)
    )
}

fn type_of(schema: &RawJson) -> String {
    match serde_json::from_str::<Value>(schema.get()) {
        Ok(schema) => schema::type_of(&schema, 1),
        // Well-formed JSON is refused only for its depth.
        Err(_) => "unknown /* nested deeper */".to_owned(),
    }
}
