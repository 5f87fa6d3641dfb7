//! `code_mode describe`: what a model is told about `exec` and `wait`.

use std::fmt::Write;

use code_mode_api::{DEFAULT_YIELD_TIME, RawJson, ToolDefinition, ToolKind, script_name};
use serde_json::{Value, json};

use crate::schema;

const EXEC: &str = "\
# exec

Runs JavaScript that can call tools, many of them at once, and returns only what it puts out.
The source is JavaScript, or TypeScript whose types can simply be left out (no enums, namespaces or decorators): an ES module, so `await` works at top level.
Each exec starts with fresh globals; `store` and `load` share values between them.

## Helpers

```ts
/** Adds text to the output: strings as they are, other values as JSON. */
declare function text(value: unknown): void;
/** Adds an image: a base64 data: URI, an object with image_url, or an MCP image block. */
declare function image(
  image: string | { image_url: string; detail?: Detail } | { type: \"image\"; data: string; mimeType: string },
  detail?: Detail,
): void;
type Detail = \"auto\" | \"low\" | \"high\" | \"original\";
/** Adds sound: a base64 data: URI, an object with audio_url, or an MCP audio block. */
declare function audio(audio: string | { audio_url: string } | { type: \"audio\"; data: string; mimeType: string }): void;
/** Adds one MCP content block, or an iterable of them. */
declare function content(block: object | Iterable<object>): void;
/** Adds a generated image and, if given, its hint as text. */
declare function generatedImage(result: { image_url: string; output_hint?: string }): void;
/** Keeps a JSON value for later execs of this session. */
declare function store(key: string, value: unknown): void;
/** A copy of a kept value; undefined when there is none. */
declare function load(key: string): any;
/** Sends a notification at once. */
declare function notify(value: unknown): void;
/** Hands over the output so far; the script runs on and is followed with wait. */
declare function yield_control(): void;
/** Ends the script with success at once. */
declare function exit(): never;
/** Promises in the order in which they settle: index (a Map's key), status, and value or reason. */
declare function as_settled(promises: Iterable<unknown> | Map<unknown, unknown>): AsyncGenerator<any>;
/** Calls emit with each of them and awaits it. */
declare function stream_settled(promises: Iterable<unknown> | Map<unknown, unknown>, emit: (result: any) => unknown): Promise<void>;
declare function setTimeout(callback: () => void, milliseconds?: number): number;
declare function clearTimeout(timer: number): void;
/** The tools below. */
declare const tools: Tools;
/** Every tool with its description. */
declare const ALL_TOOLS: { name: string; description: string }[];
```

- There is no `require`, `process`, `fetch`, file system or network: use the tools.
- `console`, `URL`, `TextEncoder`, `AbortController`, `structuredClone` and their like are there only with the option `--globals web`; `console.log` is output then.
- Call independent tools at once: `const [a, b] = await Promise.all([tools.x(…), tools.y(…)])`.
- Results are values already; do not `JSON.parse` them. A failed call throws an Error; one whose text is a JSON object has it as `error.data`.
- The script ends when its last statement is done. What is not awaited is dropped, open tool calls and timers included.
- A script that fails keeps its output so far, and the error names the line.
";

/// The text for a model, with the declarations of these tools.
pub fn text(tools: &[ToolDefinition]) -> String {
    let mut text = String::from(EXEC);
    text.push_str("\n## Tools\n");
    if tools.is_empty() {
        text.push_str("\nThere are none.\n");
    }
    let mut namespaces: Vec<Option<&str>> = Vec::new();
    for tool in tools {
        let namespace = tool.tool_name.namespace.as_deref();
        if !namespaces.contains(&namespace) {
            namespaces.push(namespace);
        }
    }
    // Tools without a namespace need no heading, so they must come before the first.
    namespaces.sort_by_key(Option::is_some);
    for namespace in namespaces {
        if let Some(namespace) = namespace {
            // Writing to a string cannot fail, here and below.
            let _ = write!(text, "\n### {namespace}\n");
        }
        text.push_str("\n```ts\ninterface Tools {\n");
        let members = tools
            .iter()
            .filter(|tool| tool.tool_name.namespace.as_deref() == namespace);
        for tool in members {
            text.push_str(&declaration(tool));
        }
        text.push_str("}\n```\n");
    }
    text.push('\n');
    text.push_str(&wait());
    text
}

fn wait() -> String {
    let seconds = DEFAULT_YIELD_TIME.as_secs();
    format!(
        "# wait\n\n\
         An exec that has not ended after its yield time ({seconds} s unless told otherwise), or \
         that calls `yield_control`, returns what it has put out so far and the id of its cell; the \
         script runs on.\n\
         wait takes that cell id and returns what was put out since: when the script ends, yields \
         again, or the yield time is over.\n\
         The result of a cell is returned once; to wait for it again is an error. A cell that is \
         no longer wanted can be terminated.\n"
    )
}

/// The same for programs: the texts of `exec` and `wait`, and each tool with its declaration.
pub fn json(tools: &[ToolDefinition]) -> Value {
    let each = |tool: &ToolDefinition| {
        json!({
            "name": tool.name,
            "script_name": script_name(&tool.name),
            "tool_name": {"name": tool.tool_name.name, "namespace": tool.tool_name.namespace},
            "description": tool.description,
            "declaration": declaration(tool),
        })
    };
    json!({
        "exec": EXEC,
        "wait": wait(),
        "tools": tools.iter().map(each).collect::<Vec<_>>(),
    })
}

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

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
