// SPDX-License-Identifier: Apache-2.0
//! What to do about an error that models often make.

use code_mode_api::script_name;

use crate::modules;
use crate::script_state::ScriptState;
use crate::tool_table::ToolTable;

/// Names that are offered in place of one that is not there.
const MAX_NAMES: usize = 3;

/// Tools that are compared with a name that is not there.
const MAX_COMPARED: usize = 512;

/// Characters of a name that are compared.
const MAX_COMPARED_CHARACTERS: usize = 128;

/// A hint for this error text, if the case is a known one.
pub(crate) fn hint(
    text: &str,
    source: &str,
    state: &ScriptState,
    is_syntax_error: bool,
) -> Option<String> {
    let first_line = text.lines().next().unwrap_or("");
    if first_line.contains(modules::UNSUPPORTED) {
        return Some(
            "only \"tools.js\" (one export per tool) and \"@openai/code_mode\" (the helpers) can \
             be imported"
                .to_owned(),
        );
    }
    if let Some(name) = missing_tool(first_line) {
        return Some(nearest(name, &state.tools));
    }
    // A fence of three backticks may well parse, as template literals one after the other.
    if source.trim_start().starts_with("```") {
        return Some(
            "the source begins with a Markdown fence; send the code without ``` lines".to_owned(),
        );
    }
    if is_syntax_error {
        let takes_types_out = state.world.options().typescript;
        return syntax_hint(source, takes_types_out).map(str::to_owned);
    }
    missing_global(first_line).map(str::to_owned)
}

/// The name in V8's message for the call of a tool that is not there.
fn missing_tool(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("TypeError: tools.")?;
    rest.strip_suffix(" is not a function")
}

fn nearest(name: &str, tools: &ToolTable) -> String {
    let name = lowercase(name);
    let mut names: Vec<(usize, &str)> = tools
        .names()
        .iter()
        .take(MAX_COMPARED)
        .map(|tool| (distance(&name, &lowercase(tool)), tool.as_str()))
        .collect();
    if names.is_empty() {
        return "this cell has no tools".to_owned();
    }
    names.sort();
    let names: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .map(|(_, name)| match script_name(name) == **name {
            true => format!("tools.{name}"),
            false => format!("tools[{name:?}]"),
        })
        .collect();
    format!(
        "the nearest tools are {}; ALL_TOOLS lists all of them",
        names.join(", ")
    )
}

/// As much of a name as is compared, in lower case.
fn lowercase(name: &str) -> String {
    let start = name.chars().take(MAX_COMPARED_CHARACTERS);
    start.flat_map(char::to_lowercase).collect()
}

/// The number of single-character changes between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            let changed = diagonal + usize::from(x != *y);
            diagonal = above;
            left = changed.min(above + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

fn missing_global(line: &str) -> Option<&'static str> {
    let (_, rest) = line.split_once("ReferenceError: ")?;
    match rest.strip_suffix(" is not defined")? {
        "require" | "module" | "exports" | "__dirname" | "__filename" => Some(
            "the script is an ES module without CommonJS; only \"tools.js\" and \
             \"@openai/code_mode\" can be imported",
        ),
        "console" => Some("there is no console; use text(value) for output"),
        "URL" | "URLSearchParams" | "TextEncoder" | "TextDecoder" | "AbortController"
        | "structuredClone" | "queueMicrotask" | "atob" | "btoa" | "performance" | "crypto" => {
            Some(
                "scripts have the globals of the web only where the host or the exec asks for them",
            )
        }
        "process" | "fetch" | "Deno" | "Bun" | "Buffer" | "XMLHttpRequest" => {
            Some("scripts have no file, network or process access; call a tool instead")
        }
        "setInterval" => Some("there is no setInterval; call setTimeout again in its callback"),
        "WebAssembly" | "SharedArrayBuffer" | "Atomics" => {
            Some("scripts have no WebAssembly and no shared memory")
        }
        _ => None,
    }
}

fn syntax_hint(source: &str, takes_types_out: bool) -> Option<&'static str> {
    if !takes_types_out && looks_like_typescript(source) {
        return Some("the source looks like TypeScript; send plain JavaScript without types");
    }
    if source.contains("module.exports") || source.contains("require(") {
        return Some(
            "the source looks like CommonJS; the script is an ES module, and only \"tools.js\" \
             and \"@openai/code_mode\" can be imported",
        );
    }
    if source
        .lines()
        .any(|line| line.trim_start().starts_with("```"))
    {
        return Some("the source has a Markdown fence in it; send the code without ``` lines");
    }
    None
}

/// Whether a line has something that TypeScript knows and JavaScript does not.
fn looks_like_typescript(source: &str) -> bool {
    const TYPES: [&str; 12] = [
        "string", "number", "boolean", "any", "unknown", "void", "never", "object", "Array<",
        "Record<", "Promise<", "Map<",
    ];
    source.lines().map(str::trim_start).any(|line| {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let declares = [
            "interface ",
            "enum ",
            "declare ",
            "namespace ",
            "abstract class ",
        ]
        .iter()
        .any(|word| line.starts_with(word));
        let alias = line.starts_with("type ") && line.contains('=');
        let imports_types = line.starts_with("import type ");
        let annotated = TYPES.iter().any(|name| {
            [": ", ":"].iter().any(|colon| {
                line.find(&format!("{colon}{name}")).is_some_and(|at| {
                    // An annotation follows a name, a bracket or a question mark.
                    let before = line.get(..at).unwrap_or("").chars().next_back();
                    let after = line.get(at + colon.len() + name.len()..).unwrap_or("");
                    let ends = name.ends_with('<')
                        || !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
                    ends && before
                        .is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ')' | '?' | '$'))
                })
            })
        });
        let cast = TYPES
            .iter()
            .any(|name| line.contains(&format!(" as {name}")))
            || line.contains(" as const");
        declares || alias || imports_types || annotated || cast
    })
}

#[cfg(test)]
mod tests {
    use super::{distance, looks_like_typescript};

    #[test]
    fn typescript_is_told_from_javascript() {
        for source in [
            "const x: number = 1;",
            "interface A { b: string }",
            "type A = { b: 1 };",
            "export enum Color { Red }",
            "function f(a?: string) {}",
            "function f(): Promise<void> {}",
            "const y = x as any;",
            "import type { A } from 'tools.js';",
        ] {
            assert!(looks_like_typescript(source), "{source}");
        }
        for source in [
            "const x = { string: 1 };",
            "const type = 1; text(type)",
            "text(`as: ${x}`)",
            "const o = { a: numbers, b: stringify };",
            "const enumeration = 2;",
        ] {
            assert!(!looks_like_typescript(source), "{source}");
        }
    }

    #[test]
    fn distance_counts_single_character_changes() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "", 3),
            ("get_x", "get_y", 1),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
