// SPDX-License-Identifier: Apache-2.0
//! What a model is told about `exec` and `wait`, and about the tools that its scripts can call.
//!
//! ```
//! use code_mode_embed::{Globals, Tool, ToolSet, describe};
//!
//! let tools = ToolSet::new().with(Tool::new("ticks", "Counts ticks.", |()| async {
//!     Ok::<_, String>(7)
//! }));
//! let tools = tools.definitions()?;
//! assert!(describe::text(&tools, Globals::Contract).contains("/** Counts ticks. */\n  ticks("));
//! let short = describe::within(&tools, Globals::Web, describe::MIN_BYTES);
//! assert!(short.left_out.is_empty(), "one small tool fits");
//! # Ok::<(), code_mode_embed::ToolSetError>(())
//! ```

use std::fmt::Write;

use code_mode_api::{DEFAULT_YIELD_TIME, Globals, RawJson, ToolDefinition, ToolKind, script_name};
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
- Call independent tools at once: `const [a, b] = await Promise.all([tools.x(…), tools.y(…)])`.
- Results are values already; do not `JSON.parse` them. A failed call throws an Error; one whose text is a JSON object has it as `error.data`.
- The script ends when its last statement is done. What is not awaited is dropped, open tool calls and timers included.
- A script that fails keeps its output so far, and the error names the line.
";

/// What [`EXEC`] ends with, by the globals that scripts have.
fn of_globals(globals: Globals) -> &'static str {
    match globals {
        Globals::Contract => {
            "- There is no `console`, `URL`, `TextEncoder`, `AbortController` or `structuredClone` either.\n"
        }
        Globals::Web => {
            "- Of the web there are `console`, whose lines are output, `URL`, `TextEncoder`, `AbortController`, \
             `structuredClone` and their like.\n"
        }
    }
}

/// The smallest budget that [`within`] can keep (8 KiB): what does not depend on the tools, and
/// where to look up those that were left out.
pub const MIN_BYTES: usize = 8 << 10;

/// What [`within`] keeps free of declarations where not all of them fit, for the names of the others.
const NAMES_BYTES: usize = 2 << 10;

/// What a model is told, in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Described {
    /// About `exec`, with the tools.
    pub exec: String,
    /// About `wait`.
    pub wait: String,
    /// The names, as scripts use them, of tools whose declarations did not fit.
    pub left_out: Vec<String>,
}

/// The text for a model, with the declarations of these tools, whose scripts have these globals.
pub fn text(tools: &[ToolDefinition], globals: Globals) -> String {
    let described = within(tools, globals, usize::MAX);
    format!("{}\n{}", described.exec, described.wait)
}

/// The same within a budget of bytes, both parts together; below [`MIN_BYTES`] that is the budget.
///
/// Declarations are taken in the order of the tools, as far as they fit. Of the others the names are
/// told as far as these fit, and how a script finds the rest.
pub fn within(tools: &[ToolDefinition], globals: Globals, bytes: usize) -> Described {
    let wait = wait();
    let of_globals = of_globals(globals);
    let heading = "\n## Tools\n";
    let mut left = bytes
        .max(MIN_BYTES)
        .saturating_sub(EXEC.len() + of_globals.len() + heading.len() + wait.len() + 1);
    let declared: Vec<String> = tools.iter().map(declaration).collect();
    let all: usize = declared.iter().map(|text| text.len() + BLOCK_BYTES).sum();
    let names_bytes = if all > left { NAMES_BYTES } else { 0 };
    left = left.saturating_sub(names_bytes);
    let mut exec = format!("{EXEC}{of_globals}{heading}");
    if tools.is_empty() {
        exec.push_str("\nThere are none.\n");
    }
    let mut left_out = Vec::new();
    let mut blocks: Vec<(Option<&str>, String)> = Vec::new();
    for (tool, text) in tools.iter().zip(declared) {
        let namespace = tool.tool_name.namespace.as_deref();
        let block = blocks.iter_mut().find(|(name, _)| *name == namespace);
        let opening = match (&block, namespace) {
            (Some(_), _) => 0,
            (None, None) => BLOCK_BYTES,
            (None, Some(name)) => BLOCK_BYTES + name.len(),
        };
        let Some(rest) = left.checked_sub(text.len() + opening) else {
            left_out.push(script_name(&tool.name));
            continue;
        };
        left = rest;
        match block {
            Some((_, block)) => block.push_str(&text),
            None => blocks.push((namespace, text)),
        }
    }
    // Tools without a namespace need no heading, so they must come before the first.
    blocks.sort_by_key(|(namespace, _)| namespace.is_some());
    for (namespace, block) in blocks {
        if let Some(namespace) = namespace {
            // Writing to a string cannot fail, here and below.
            let _ = write!(exec, "\n### {namespace}\n");
        }
        let _ = write!(exec, "\n```ts\ninterface Tools {{\n{block}}}\n```\n");
    }
    if !left_out.is_empty() {
        exec.push_str(&others(&left_out, left + names_bytes));
    }
    Described {
        exec,
        wait,
        left_out,
    }
}

/// What stands around the declarations of one namespace, beside its name.
const BLOCK_BYTES: usize = "\n### \n\n```ts\ninterface Tools {\n}\n```\n".len();

/// Names the tools whose declarations did not fit, in at most so many bytes if these hold the rest of it.
fn others(names: &[String], bytes: usize) -> String {
    let lookup = "To read about them, put out what `ALL_TOOLS` says, such as\n\
        `text(ALL_TOOLS.filter(tool => /issue/i.test(tool.name + tool.description)))`.\n";
    let opening = format!("\n{} more tools can be called: ", names.len());
    let mut left = bytes.saturating_sub(opening.len() + lookup.len() + ", and others.\n".len());
    let mut named = Vec::new();
    for name in names {
        let Some(rest) = left.checked_sub(name.len() + ", ".len()) else {
            break;
        };
        left = rest;
        named.push(name.as_str());
    }
    let end = match (named.len() == names.len(), named.is_empty()) {
        (true, _) => ".\n",
        (false, false) => ", and others.\n",
        (false, true) => "too many to name.\n",
    };
    format!("{opening}{}{end}{lookup}", named.join(", "))
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
pub fn json(tools: &[ToolDefinition], globals: Globals) -> Value {
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
        "exec": format!("{EXEC}{}", of_globals(globals)),
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
