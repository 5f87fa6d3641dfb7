// SPDX-License-Identifier: Apache-2.0
//! What the model reads: the tools `exec`, `wait` and `search`, and in `exec`'s description whatever of
//! the catalog fits.

use std::fmt::Write;
use std::sync::Arc;

use code_mode_api::DEFAULT_YIELD_TIME;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::json;

use crate::bounds::{DEFAULT_OUTPUT_BYTES, MAX_OUTPUT_BYTES, MAX_YIELD_TIME};
use crate::catalog::Catalog;

/// Bytes of declarations that `exec`'s description holds, unless told otherwise.
///
/// About 2,000 tokens, which is less than the plain list of most single servers.
pub const DEFAULT_CATALOG_BYTES: usize = 8_000;

/// Servers that are named one by one where their tools do not fit.
const MAX_NAMED_SERVERS: usize = 64;

/// Bytes of the reason why a server is not available that the model reads before it asks.
const MAX_PROBLEM_BYTES: usize = 200;

const EXEC: &str = "\
Runs JavaScript that calls tools of MCP servers and returns only what it puts out. Do in one script what would take \
several calls: loop, filter, join, and call independent tools at once with Promise.all.
JavaScript, or TypeScript without enums, namespaces and decorators; an ES module: `await` works at top level. Each \
exec has fresh globals; `store` and `load` keep values between them. No require, process, fetch or files: only tools.
```ts
text(value: unknown): void // adds output: strings as they are, other values as JSON; so does console.log
image(x), audio(x), content(x): void // add a data: URI, a block of a tool's result, or (content) several
store(key: string, value: unknown): void; load(key: string): any
notify(value: unknown): void // says something at once
yield_control(): void // hands over the output so far; the script runs on
exit(): never; setTimeout(f, ms); clearTimeout(id)
as_settled(promises): AsyncGenerator // {index, status, value | reason} as they settle
tools.SERVER__TOOL(input): Promise<any> // rejects with an Error
ALL_TOOLS: { name: string; description: string }[]
searchTools(words, { server?, limit?, offset? }): Promise<{ total, tools: { name, description, declaration }[] }>
resources.list(server?), resources.read(server, uri), prompts.list(server?), prompts.get(server, name, args): Promise<any>
```
Results are values already: do not JSON.parse them. Await what you need: the script ends with its last statement.
";

const WAIT: &str = "\
Follows a script that exec or wait returned before it had ended: gives what it has put out since, when it ends, yields \
again or the time is over. Without cell_id: lists the cells. With terminate: ends it. With offset: reads its output \
again from there, also output that was cut.";

const SEARCH: &str = "\
Finds tools by words in their names, descriptions and parameters; gives their TypeScript declarations, ready for exec. \
Without query: lists the servers, or all tools of one server.";

/// The three tools. `budget` is [`DEFAULT_CATALOG_BYTES`] unless told otherwise.
pub fn tools(catalog: &Catalog, budget: usize) -> Vec<Tool> {
    let hints = ToolAnnotations::new().open_world(true);
    let exec = Tool::new("exec", exec_description(catalog, budget), exec_schema());
    let wait = Tool::new("wait", WAIT, wait_schema());
    let search = Tool::new("search", SEARCH, search_schema());
    vec![
        exec.with_annotations(hints.clone()),
        wait.with_annotations(hints.destructive(false)),
        search.with_annotations(ToolAnnotations::new().read_only(true).open_world(false)),
    ]
}

fn exec_schema() -> Arc<JsonObject> {
    object(json!({
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "The JavaScript or TypeScript to run."},
            "yield_time_ms": yield_time_schema("When to return even though the script runs on"),
            "max_output_bytes": output_schema(),
        },
        "required": ["code"],
    }))
}

fn wait_schema() -> Arc<JsonObject> {
    object(json!({
        "type": "object",
        "properties": {
            "cell_id": {"type": "string", "description": "The cell that exec named. Without it: lists the cells."},
            "yield_time_ms": yield_time_schema("How long to wait"),
            "terminate": {"type": "boolean", "description": "End the script."},
            "offset": {"type": "integer", "minimum": 0, "description": "Read the output again from this byte on."},
            "max_output_bytes": output_schema(),
        },
    }))
}

fn yield_time_schema(what: &str) -> serde_json::Value {
    let default = DEFAULT_YIELD_TIME.as_millis();
    json!({
        "type": "integer", "minimum": 0, "maximum": MAX_YIELD_TIME.as_millis() as u64,
        "description": format!("{what} ({default} unless given)."),
    })
}

fn output_schema() -> serde_json::Value {
    json!({
        "type": "integer", "minimum": 0, "maximum": MAX_OUTPUT_BYTES,
        "description": format!("Bytes of text to return; the middle of more is cut ({DEFAULT_OUTPUT_BYTES} unless given)."),
    })
}

fn search_schema() -> Arc<JsonObject> {
    object(json!({
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words, such as: create calendar event."},
            "server": {"type": "string", "description": "Only tools of this server."},
            "limit": {"type": "integer", "minimum": 1, "description": "Tools to return (10 unless given)."},
            "offset": {"type": "integer", "minimum": 0, "description": "Tools to pass over, for the next page."},
        },
    }))
}

fn object(value: serde_json::Value) -> Arc<JsonObject> {
    match value {
        serde_json::Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

fn exec_description(catalog: &Catalog, budget: usize) -> String {
    let mut text = String::from(EXEC);
    let total = catalog.entries().len();
    if total == 0 {
        text.push_str("\nThere are no tools.\n");
    } else if let Some(declarations) = catalog.declarations_within(budget) {
        text.push_str("\nAll tools:\n```ts\ninterface Tools {\n");
        declarations
            .iter()
            .for_each(|declaration| text.push_str(declaration));
        text.push_str("}\n```\n");
    } else {
        let _ = write!(
            text,
            "\n{total} tools; look them up with search, or with searchTools in a script. By server:"
        );
        let with_tools = catalog.servers().iter().filter(|server| server.tools > 0);
        let mut separator = " ";
        for server in with_tools.clone().take(MAX_NAMED_SERVERS) {
            let _ = write!(text, "{separator}{} ({})", server.prefix, server.tools);
            separator = ", ";
        }
        if with_tools.count() > MAX_NAMED_SERVERS {
            text.push_str(", and others");
        }
        let local = catalog.tools_without_server();
        if local > 0 {
            let _ = write!(text, "{separator}without a server ({local})");
        }
        text.push_str(".\n");
    }
    text.push_str(&absences(catalog));
    text
}

/// Which servers cannot be asked now, and why; empty when all can.
pub fn absences(catalog: &Catalog) -> String {
    let mut text = String::new();
    for server in catalog.servers().iter().take(MAX_NAMED_SERVERS) {
        // Writing to a string cannot fail.
        let _ = match &server.problem {
            Some(problem) => {
                writeln!(text, "Not available: {} ({}).", server.name, short(problem))
            }
            None if server.pending => writeln!(text, "Still starting: {}.", server.name),
            None => Ok(()),
        };
    }
    text
}

/// The beginning of the first line.
fn short(problem: &str) -> &str {
    let line = problem.lines().next().unwrap_or_default();
    let mut end = line.len().min(MAX_PROBLEM_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::source;
    use crate::policy::Policy;

    fn description(budget: usize) -> String {
        let sources = [
            source("files", &["read", "write"], None),
            source("db", &[], Some("it is gone\nand more")),
        ];
        let catalog = Catalog::new(&sources, &[], &Policy::default());
        let tools = tools(&catalog, budget);
        let names: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, ["exec", "wait", "search"]);
        tools[0].description.clone().unwrap().into_owned()
    }

    #[test]
    fn what_fits_is_declared() {
        let text = description(DEFAULT_CATALOG_BYTES);
        assert!(text.contains("  files__read(input: Record<string, unknown>): Promise<unknown>;"));
        assert!(text.contains("Not available: db (it is gone)."));
        assert!(text.contains("Still starting: files."));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = description(10);
        assert!(!text.contains("files__read"));
        assert!(text.contains("2 tools; look them up with search"), "{text}");
        assert!(text.contains("By server: files (2).\n"), "{text}");
    }

    #[test]
    fn no_more_servers_are_named_and_no_more_of_a_problem_is_told_than_there_is_room_for() {
        let names: Vec<String> = (0..=MAX_NAMED_SERVERS)
            .map(|number| format!("s{number}"))
            .collect();
        let with_tools: Vec<_> = names.iter().map(|n| source(n, &["x"], None)).collect();
        let catalog = Catalog::new(&with_tools, &[], &Policy::default());
        let text = exec_description(&catalog, 10);
        assert!(text.contains("s63 (1), and others.\n"), "{text}");
        assert!(!text.contains("s64"), "{text}");

        let problem = "ä".repeat(MAX_PROBLEM_BYTES);
        let down: Vec<_> = names
            .iter()
            .map(|name| source(name, &[], Some(&problem)))
            .collect();
        let catalog = Catalog::new(&down, &[], &Policy::default());
        let text = absences(&catalog);
        assert_eq!(text.lines().count(), MAX_NAMED_SERVERS);
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            format!("Not available: s0 ({}).", "ä".repeat(MAX_PROBLEM_BYTES / 2))
        );
    }
}
