// SPDX-License-Identifier: Apache-2.0
//! The tools of the front end itself, as scripts call them: search, resources and prompts.

use std::fmt::Write;
use std::sync::Arc;

use code_mode_api::{RawJson, ToolError};
use rmcp::model::{
    ClientRequest, GetPromptRequest, GetPromptRequestParams, JsonObject, ListPromptsRequest,
    ListResourcesRequest, PaginatedRequestParams, ReadResourceRequest, ReadResourceRequestParams,
    ServerResult,
};
use serde::Deserialize;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::entry::Entry;
use crate::guide;
use crate::upstream::{Server, Upstreams};

/// Tools that one search gives, unless told otherwise.
pub const DEFAULT_FOUND: usize = 10;

/// Tools that one search gives at most.
pub const MAX_FOUND: usize = 100;

/// Bytes of declarations that one search gives; what lies beyond is on the next page.
pub const MAX_FOUND_BYTES: usize = 40_000;

/// Pages of a list of resources or prompts; what a server has beyond is not listed.
pub const MAX_PAGES: usize = 100;

/// Resources or prompts that are listed at one time; what there is beyond is not.
pub const MAX_LISTED: usize = 10_000;

/// What is searched.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Search {
    /// Words; none lists servers, or the tools of `server`.
    pub query: Option<String>,
    /// Only tools of this server.
    pub server: Option<String>,
    /// See [`DEFAULT_FOUND`] and [`MAX_FOUND`].
    pub limit: Option<usize>,
    /// Tools to pass over.
    pub offset: usize,
}

/// What was found.
pub struct Found<'a> {
    /// How many there are in all.
    pub total: usize,
    /// Those of this page.
    pub tools: Vec<&'a Entry>,
    /// The offset of the next page.
    pub next: Option<usize>,
}

/// Searches the catalog.
///
/// # Errors
/// When there is no such server.
pub fn search<'a>(catalog: &'a Catalog, search: &Search) -> Result<Found<'a>, String> {
    let server = match search.server.as_deref().filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let known = catalog.server(name);
            Some(known.ok_or_else(|| format!("there is no server {name}"))?)
        }
    };
    let of_server = |entry: &&Entry| server.is_none_or(|server| entry.server == server.name);
    let query = search.query.as_deref().unwrap_or_default().trim();
    let all: Vec<&Entry> = if query.is_empty() {
        catalog.entries().iter().filter(of_server).collect()
    } else {
        let places = catalog.find(query);
        places
            .iter()
            .filter_map(|&at| catalog.entries().get(at))
            .filter(of_server)
            .collect()
    };
    let limit = search.limit.unwrap_or(DEFAULT_FOUND).clamp(1, MAX_FOUND);
    let mut tools = Vec::new();
    let mut bytes = 0;
    for entry in all.iter().skip(search.offset).take(limit) {
        bytes += entry.declaration().len();
        if bytes > MAX_FOUND_BYTES && !tools.is_empty() {
            break;
        }
        tools.push(*entry);
    }
    let end = search.offset + tools.len();
    Ok(Found {
        total: all.len(),
        next: (end < all.len() && !tools.is_empty()).then_some(end),
        tools,
    })
}

/// What `search` answers to the model.
///
/// # Errors
/// When there is no such server.
pub fn search_text(catalog: &Catalog, wanted: &Search) -> Result<String, String> {
    let mut text = String::new();
    let is_empty =
        |word: &Option<String>| word.as_deref().is_none_or(|word| word.trim().is_empty());
    if is_empty(&wanted.query) && is_empty(&wanted.server) {
        for server in catalog.servers() {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(
                text,
                "{}: {} tools, tools.{}__…",
                server.name, server.tools, server.prefix
            );
        }
        let local = catalog.tools_without_server();
        if local > 0 {
            let _ = writeln!(text, "without a server: {local} tools");
        }
        if text.is_empty() {
            text.push_str("There are no servers.\n");
        }
        text.push_str(&guide::absences(catalog));
        return Ok(text);
    }
    let found = search(catalog, wanted)?;
    if found.tools.is_empty() {
        text.push_str("No tool was found. Try other words, or none to list the servers.\n");
    } else {
        let first = wanted.offset + 1;
        let last = wanted.offset + found.tools.len();
        let _ = writeln!(
            text,
            "Tools {first} to {last} of {}, best first:\n```ts\ninterface Tools {{",
            found.total
        );
        for entry in &found.tools {
            text.push_str(entry.declaration());
        }
        text.push_str("}\n```\n");
        if let Some(next) = found.next {
            let _ = writeln!(text, "More with offset {next}.");
        }
    }
    text.push_str(&guide::absences(catalog));
    Ok(text)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    server: Option<String>,
    uri: String,
    name: String,
    arguments: Option<JsonObject>,
}

/// Carries out a call of one of these tools; `catalog` is that of the moment at which all servers had some
/// time to start.
///
/// # Errors
/// In words for scripts.
pub async fn call(
    upstreams: &Upstreams,
    catalog: &Catalog,
    tool: &str,
    input: &RawJson,
) -> Result<RawJson, ToolError> {
    let wrong =
        |error: serde_json::Error| ToolError::new(format!("{tool} cannot take this: {error}"));
    if tool == "search" {
        let wanted: Search = serde_json::from_str(input.get()).map_err(wrong)?;
        let found = search(catalog, &wanted).map_err(ToolError::new)?;
        let tools: Vec<Value> = found
            .tools
            .iter()
            .map(|entry| {
                json!({
                    "name": entry.identifier,
                    "server": entry.server,
                    "description": entry.definition.description,
                    "declaration": entry.declaration(),
                })
            })
            .collect();
        let problems: Vec<Value> = catalog
            .servers()
            .iter()
            .filter_map(|server| {
                Some(json!({"server": server.name, "problem": server.problem.as_ref()?}))
            })
            .collect();
        return raw(&json!({"total": found.total, "tools": tools, "unavailable": problems}));
    }
    let named: Named = serde_json::from_str(input.get()).map_err(wrong)?;
    match tool {
        "resources_list" => {
            list(upstreams, catalog, named.server.as_deref(), Kind::Resources).await
        }
        "prompts_list" => list(upstreams, catalog, named.server.as_deref(), Kind::Prompts).await,
        "resources_read" => {
            let params = ReadResourceRequestParams::new(named.uri);
            let request = ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params));
            ask(upstreams, catalog, named.server.as_deref(), request).await
        }
        "prompts_get" => {
            let mut params = GetPromptRequestParams::new(named.name);
            params.arguments = named.arguments;
            let request = ClientRequest::GetPromptRequest(GetPromptRequest::new(params));
            ask(upstreams, catalog, named.server.as_deref(), request).await
        }
        _ => Err(ToolError::new(format!(
            "there is no tool code_mode__{tool}"
        ))),
    }
}

fn raw(value: &Value) -> Result<RawJson, ToolError> {
    to_raw_value(value).map_err(|error| ToolError::new(error.to_string()))
}

async fn ask(
    upstreams: &Upstreams,
    catalog: &Catalog,
    server: Option<&str>,
    request: ClientRequest,
) -> Result<RawJson, ToolError> {
    let name = server.ok_or_else(|| ToolError::new("name the server first: read(server, uri)"))?;
    let server = find(upstreams, catalog, name)?;
    let mut value = match server.ask(request, None).await? {
        ServerResult::ReadResourceResult(result) => serde_json::to_value(result),
        ServerResult::GetPromptResult(result) => serde_json::to_value(result),
        ServerResult::CustomResult(result) => Ok(result.0),
        _ => {
            return Err(ToolError::new(format!(
                "the MCP server {name} answered with something else"
            )));
        }
    }
    .map_err(|error| ToolError::new(error.to_string()))?;
    if let Some(object) = value.as_object_mut() {
        for technical in ["_meta", "resultType", "ttlMs", "cacheScope"] {
            object.remove(technical);
        }
    }
    raw(&value)
}

fn find<'a>(
    upstreams: &'a Upstreams,
    catalog: &Catalog,
    name: &str,
) -> Result<&'a Arc<Server>, ToolError> {
    let known = catalog.server(name);
    known
        .and_then(|server| upstreams.server(&server.name))
        .ok_or_else(|| ToolError::new(format!("there is no MCP server {name}")))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Resources,
    Prompts,
}

/// What one server offers, or all: those that are down or offer nothing of the kind are passed over.
async fn list(
    upstreams: &Upstreams,
    catalog: &Catalog,
    server: Option<&str>,
    kind: Kind,
) -> Result<RawJson, ToolError> {
    let mut listed = Vec::new();
    if let Some(name) = server {
        list_of(find(upstreams, catalog, name)?, kind, &mut listed).await?;
    } else {
        for server in upstreams.servers() {
            if let Err(error) = list_of(server, kind, &mut listed).await {
                tracing::debug!(server = server.spec().name, %error, "lists nothing of the kind");
            }
        }
    }
    raw(&Value::Array(listed))
}

async fn list_of(
    server: &Arc<Server>,
    kind: Kind,
    listed: &mut Vec<Value>,
) -> Result<(), ToolError> {
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let params = Some(PaginatedRequestParams::default().with_cursor(cursor.take()));
        let request = match kind {
            Kind::Resources => ClientRequest::ListResourcesRequest(ListResourcesRequest {
                params,
                ..ListResourcesRequest::default()
            }),
            Kind::Prompts => ClientRequest::ListPromptsRequest(ListPromptsRequest {
                params,
                ..ListPromptsRequest::default()
            }),
        };
        let page = match server.ask(request, None).await? {
            ServerResult::ListResourcesResult(page) => serde_json::to_value(page),
            ServerResult::ListPromptsResult(page) => serde_json::to_value(page),
            ServerResult::CustomResult(page) => Ok(page.0),
            _ => return Ok(()),
        }
        .map_err(|error| ToolError::new(error.to_string()))?;
        let member = if kind == Kind::Resources {
            "resources"
        } else {
            "prompts"
        };
        for item in page
            .get(member)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if listed.len() >= MAX_LISTED {
                return Ok(());
            }
            let mut item = item.clone();
            if let Some(object) = item.as_object_mut() {
                object.insert("server".to_owned(), Value::from(server.spec().name.clone()));
            }
            listed.push(item);
        }
        cursor = page
            .get("nextCursor")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if cursor.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;
    use crate::catalog::tests::source;
    use crate::entry::tests::entry;
    use crate::policy::Policy;

    fn catalog(tools: usize) -> Catalog {
        let names: Vec<String> = (0..tools).map(|number| format!("read_{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sources = [
            source("files", &names, None),
            source("my-web", &["fetch"], None),
            source("db", &[], Some("it is gone")),
        ];
        Catalog::new(&sources, &[], &Policy::default())
    }

    fn text(catalog: &Catalog, wanted: Value) -> String {
        search_text(catalog, &serde_json::from_value(wanted).unwrap()).unwrap()
    }

    #[test]
    fn without_words_the_servers_are_listed() {
        let text = text(&catalog(2), json!({}));
        assert!(
            text.starts_with("files: 2 tools, tools.files__…\nmy-web: 1 tools, tools.my_web__…\n")
        );
        assert!(text.contains("Not available: db (it is gone)."), "{text}");
    }

    #[test]
    fn what_is_found_comes_with_declarations_page_by_page() {
        let all = 2 * DEFAULT_FOUND + 5;
        let catalog = catalog(all);
        let first = text(&catalog, json!({"query": "read"}));
        let begins = format!(
            "Tools 1 to {DEFAULT_FOUND} of {all}, best first:\n```ts\ninterface Tools {{\n"
        );
        assert!(first.starts_with(&begins), "{first}");
        assert!(first.contains("): Promise<unknown>;"));
        let more = format!("More with offset {DEFAULT_FOUND}.");
        assert!(first.contains(&more), "{first}");
        let offset = 2 * DEFAULT_FOUND;
        let last = text(&catalog, json!({"query": "read", "offset": offset}));
        let begins = format!("Tools {} to {all} of {all}", offset + 1);
        assert!(last.starts_with(&begins), "{last}");
        assert!(!last.contains("More with"));
    }

    #[test]
    fn a_server_is_known_by_its_name_and_by_its_prefix() {
        let catalog = catalog(1);
        for server in ["my-web", "my_web"] {
            let text = text(&catalog, json!({"server": server}));
            assert!(text.contains("my_web__fetch"), "{text}");
        }
        let none = Search {
            server: Some("none".to_owned()),
            ..Search::default()
        };
        assert_eq!(
            search_text(&catalog, &none).unwrap_err(),
            "there is no server none"
        );
    }

    #[test]
    fn nothing_found_says_what_to_try() {
        let text = text(&catalog(1), json!({"query": "quux"}));
        assert!(text.starts_with("No tool was found."), "{text}");
    }

    #[test]
    fn a_page_holds_no_more_tools_and_no_more_bytes_than_there_is_room_for() {
        let all = Search {
            server: Some("files".to_owned()),
            limit: Some(usize::MAX),
            ..Search::default()
        };
        let small = catalog(MAX_FOUND + 1);
        let page = search(&small, &all).unwrap();
        assert_eq!(page.tools.len(), MAX_FOUND);
        assert_eq!(page.next, Some(MAX_FOUND));

        let large: Vec<_> = (0..50)
            .map(|number| entry("", &format!("t{number}"), &"x".repeat(3_000), "{}").definition)
            .collect();
        let large = Catalog::new(&[], &large, &Policy::default());
        let named = Search {
            server: None,
            ..all
        };
        let page = search(&large, &named).unwrap();
        let bytes: usize = page.tools.iter().map(|tool| tool.declaration().len()).sum();
        assert!(bytes <= MAX_FOUND_BYTES, "{bytes}");
        assert!(bytes + 4_000 > MAX_FOUND_BYTES, "{bytes}");
        assert_eq!(page.next, Some(page.tools.len()));
        // One tool that is larger than a page is a page.
        let huge = [entry("", "huge", &"x".repeat(MAX_FOUND_BYTES), "{}").definition];
        let huge = Catalog::new(&[], &huge, &Policy::default());
        assert_eq!(search(&huge, &named).unwrap().tools.len(), 1);
    }
}
