// SPDX-License-Identifier: Apache-2.0
//! What a server offers: its tools, asked for page by page and taken with all their mistakes.
//!
//! One tool that is not what the protocol says makes the SDK refuse the whole list. Here it costs that
//! tool's schema, or the tool if it has no name.

use std::collections::HashSet;

use code_mode_api::RawJson;
use rmcp::RoleClient;
use rmcp::model::{
    ClientRequest, ListToolsRequest, PaginatedRequestParams, ServerResult, Tool, ToolAnnotations,
};
use rmcp::service::{Peer, ServiceError};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::policy::Hints;

/// Tools of one server; what it lists beyond is passed over.
pub const MAX_TOOLS: usize = 5_000;

/// Pages of one list. A server whose pages do not end is cut off there.
pub const MAX_PAGES: usize = 1_000;

/// Bytes of a tool's name; a tool with a longer one is passed over.
pub const MAX_NAME_BYTES: usize = 512;

/// Bytes of a tool's description; a longer one is cut.
pub const MAX_DESCRIPTION_BYTES: usize = 16 * 1024;

/// Bytes of one schema; a tool with a larger one is offered without it.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;

/// Bytes of all names, descriptions and schemas of one server; tools beyond are passed over.
pub const MAX_LIST_BYTES: usize = 32 * 1024 * 1024;

/// A tool as its server describes it.
#[derive(Debug, Clone)]
pub struct ServerTool {
    /// Its name at its server.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON schema of its input, if the server gave one.
    pub input_schema: Option<RawJson>,
    /// JSON schema of its result, if the server gave one.
    pub output_schema: Option<RawJson>,
    /// What the server says about it.
    pub hints: Hints,
}

/// The tools of a server, and what was wrong with its list.
#[derive(Debug, Default)]
pub struct ToolList {
    /// The tools.
    pub tools: Vec<ServerTool>,
    /// For people.
    pub warnings: Vec<String>,
    names: HashSet<String>,
    bytes: usize,
}

/// Asks for all tools.
///
/// # Errors
/// When the server does not answer or answers with an error.
pub async fn list_tools(peer: &Peer<RoleClient>) -> Result<ToolList, ServiceError> {
    let mut list = ToolList::default();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let params = PaginatedRequestParams::default().with_cursor(cursor.take());
        let request = ListToolsRequest {
            params: Some(params),
            ..ListToolsRequest::default()
        };
        let result = peer
            .send_request(ClientRequest::ListToolsRequest(request))
            .await?;
        cursor = list.add(result)?;
        if cursor.is_none() {
            return Ok(list);
        }
    }
    list.warnings
        .push(format!("its list was cut off after {MAX_PAGES} pages"));
    Ok(list)
}

impl ToolList {
    /// Adds one page and gives the cursor of the next; nothing when there is no room for more.
    fn add(&mut self, page: ServerResult) -> Result<Option<String>, ServiceError> {
        let next = match page {
            ServerResult::ListToolsResult(page) => {
                for tool in page.tools {
                    self.push(of_tool(&tool));
                }
                page.next_cursor
            }
            // What the SDK does not recognise is a list with mistakes in it.
            ServerResult::CustomResult(page) => {
                let Some(tools) = page.0.get("tools").and_then(Value::as_array) else {
                    return Err(ServiceError::UnexpectedResponse);
                };
                for tool in tools {
                    match of_value(tool) {
                        Ok((tool, warning)) => {
                            self.warnings.extend(warning);
                            self.push(tool);
                        }
                        Err(warning) => self.warnings.push(warning),
                    }
                }
                let next = page.0.get("nextCursor").and_then(Value::as_str);
                next.map(str::to_owned)
            }
            // An empty list may come as an empty object.
            ServerResult::EmptyResult(_) => None,
            _ => return Err(ServiceError::UnexpectedResponse),
        };
        let full = self.tools.len() >= MAX_TOOLS || self.bytes >= MAX_LIST_BYTES;
        if full && next.is_some() {
            self.warnings.push(format!(
                "only its first {} tools are taken",
                self.tools.len()
            ));
        }
        Ok(next.filter(|cursor| !full && !cursor.is_empty()))
    }

    fn push(&mut self, mut tool: ServerTool) {
        if tool.name.is_empty() || tool.name.len() > MAX_NAME_BYTES {
            let warning = format!(
                "a tool whose name has {} bytes is passed over",
                tool.name.len()
            );
            return self.warnings.push(warning);
        }
        if !self.names.insert(tool.name.clone()) {
            return self.warnings.push(format!("it lists {} twice", tool.name));
        }
        if tool.description.len() > MAX_DESCRIPTION_BYTES {
            let mut end = MAX_DESCRIPTION_BYTES;
            while !tool.description.is_char_boundary(end) {
                end -= 1;
            }
            tool.description.truncate(end);
        }
        for schema in [&mut tool.input_schema, &mut tool.output_schema] {
            if schema
                .as_ref()
                .is_some_and(|schema| schema.get().len() > MAX_SCHEMA_BYTES)
            {
                *schema = None;
                self.warnings.push(format!(
                    "a schema of {} is larger than {MAX_SCHEMA_BYTES} bytes and passed over",
                    tool.name
                ));
            }
        }
        let size = |schema: &Option<RawJson>| schema.as_ref().map_or(0, |json| json.get().len());
        let bytes = tool.name.len()
            + tool.description.len()
            + size(&tool.input_schema)
            + size(&tool.output_schema);
        if self.tools.len() >= MAX_TOOLS || self.bytes + bytes > MAX_LIST_BYTES {
            let told = format!("only its first {} tools are taken", self.tools.len());
            if self.warnings.last() != Some(&told) {
                self.warnings.push(told);
            }
            return;
        }
        self.bytes += bytes;
        self.tools.push(tool);
    }
}

fn raw(value: &impl serde::Serialize) -> Option<RawJson> {
    serde_json::value::to_raw_value(value).ok()
}

fn of_tool(tool: &Tool) -> ServerTool {
    ServerTool {
        name: tool.name.clone().into_owned(),
        description: described(tool.title.as_deref(), tool.description.as_deref()),
        input_schema: raw(&*tool.input_schema),
        output_schema: tool.output_schema.as_deref().and_then(raw),
        hints: tool.annotations.as_ref().map(hints).unwrap_or_default(),
    }
}

fn hints(annotations: &ToolAnnotations) -> Hints {
    Hints {
        read_only: annotations.read_only_hint,
        destructive: annotations.destructive_hint,
        idempotent: annotations.idempotent_hint,
        open_world: annotations.open_world_hint,
    }
}

fn described(title: Option<&str>, description: Option<&str>) -> String {
    match (title, description.map(str::trim)) {
        (_, Some(description)) if !description.is_empty() => description.to_owned(),
        (Some(title), _) => title.to_owned(),
        (None, _) => String::new(),
    }
}

fn of_value(value: &Value) -> Result<(ServerTool, Option<String>), String> {
    let name = value.get("name").and_then(Value::as_str);
    let name = name
        .ok_or("a tool without a name is passed over")?
        .to_owned();
    let text = |member| value.get(member).and_then(Value::as_str);
    let mut warning = None;
    let mut schema = |member| {
        let schema: &Value = value.get(member).filter(|schema| !schema.is_null())?;
        if schema.is_object() || schema.is_boolean() {
            return RawValue::from_string(schema.to_string()).ok();
        }
        warning = Some(format!(
            "the {member} of {name} is no schema and passed over"
        ));
        None
    };
    let (input_schema, output_schema) = (schema("inputSchema"), schema("outputSchema"));
    let flag = |member| value.get("annotations")?.get(member)?.as_bool();
    let tool = ServerTool {
        description: described(text("title"), text("description")),
        input_schema,
        output_schema,
        hints: Hints {
            read_only: flag("readOnlyHint"),
            destructive: flag("destructiveHint"),
            idempotent: flag("idempotentHint"),
            open_world: flag("openWorldHint"),
        },
        name,
    };
    Ok((tool, warning))
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::*;

    fn added(pages: &[Value]) -> (ToolList, Option<String>) {
        let mut list = ToolList::default();
        let mut next = None;
        for page in pages {
            next = list
                .add(serde_json::from_value(page.clone()).unwrap())
                .unwrap();
        }
        (list, next)
    }

    #[test]
    fn tools_are_taken_as_their_server_describes_them() {
        let (list, next) = added(&[json!({
            "tools": [{
                "name": "read", "title": "Read", "description": " Reads. ",
                "inputSchema": {"type": "object"},
                "annotations": {"readOnlyHint": true, "destructiveHint": false},
            }],
            "nextCursor": "2",
        })]);
        assert_eq!(next.as_deref(), Some("2"));
        assert_eq!(list.warnings, Vec::<String>::new());
        let tool = &list.tools[0];
        assert_eq!((&*tool.name, &*tool.description), ("read", "Reads."));
        assert_eq!(
            tool.input_schema.as_ref().unwrap().get(),
            r#"{"type":"object"}"#
        );
        assert_eq!(tool.hints.read_only, Some(true));
        assert_eq!(tool.hints.destructive, Some(false));
    }

    #[test]
    fn mistakes_cost_the_schema_or_the_tool_and_never_the_list() {
        let (list, next) = added(&[json!({
            "tools": [
                {"name": "a", "inputSchema": "not a schema"},
                {"name": "b", "inputSchema": true, "description": 7},
                {"description": "has no name"},
                17,
                {"name": "c", "inputSchema": {"type": 12, "$ref": "#"}},
                {"name": "a"},
                {"name": ""},
                {"name": "n".repeat(MAX_NAME_BYTES + 1)},
            ],
        })]);
        assert_eq!(next, None);
        let names: Vec<&str> = list.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(list.tools[0].input_schema.is_none());
        assert_eq!(list.warnings.len(), 6, "{:?}", list.warnings);
    }

    #[test]
    fn what_is_too_large_is_cut_or_passed_over() {
        let (list, _) = added(&[json!({
            "tools": [{
                "name": "a",
                "description": "ä".repeat(MAX_DESCRIPTION_BYTES),
                "inputSchema": {"type": "object", "description": "x".repeat(MAX_SCHEMA_BYTES)},
            }],
        })]);
        assert_eq!(list.tools[0].description.len(), MAX_DESCRIPTION_BYTES);
        assert!(list.tools[0].input_schema.is_none());
        assert_eq!(list.warnings.len(), 1);
    }

    #[test]
    fn no_more_tools_are_taken_than_there_is_room_for() {
        let tools: Vec<Value> = (0..MAX_TOOLS + 5)
            .map(|number| json!({"name": format!("t{number}"), "inputSchema": {}}))
            .collect();
        let (list, next) = added(&[json!({"tools": tools, "nextCursor": "more"})]);
        assert_eq!(list.tools.len(), MAX_TOOLS);
        assert_eq!(next, None);
        assert!(
            list.warnings[0].contains("only its first 5000"),
            "{:?}",
            list.warnings
        );

        let description = "x".repeat(MAX_DESCRIPTION_BYTES);
        let tools: Vec<Value> = (0..MAX_LIST_BYTES / MAX_DESCRIPTION_BYTES + 1)
            .map(|number| json!({"name": format!("t{number}"), "description": description, "inputSchema": {}}))
            .collect();
        let (list, _) = added(&[json!({"tools": tools})]);
        assert!(list.tools.len() < tools.len());
        assert!(list.bytes <= MAX_LIST_BYTES);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        let mut list = ToolList::default();
        for answer in [json!({"tools": 1}), json!("text")] {
            assert!(list.add(serde_json::from_value(answer).unwrap()).is_err());
        }
    }
}
