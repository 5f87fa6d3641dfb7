// SPDX-License-Identifier: Apache-2.0
//! The commands of the prompt: their help, and their tables.

use code_mode_api::{ToolDefinition, script_name};
use code_mode_embed::describe;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// What can be typed beside JavaScript, and what it does.
pub const COMMANDS: [(&str, &str); 9] = [
    (".help [TOOL]", "this text, or the declaration of a tool"),
    (".tools", "the tools that scripts can call"),
    (
        ".names",
        "the names that carry over from one entry to the next",
    ),
    (".store", "the stored values, as store() left them"),
    (
        ".cells",
        "the cells that run on in the background or whose result was not read",
    ),
    (".wait ID", "follow a background cell"),
    (".kill ID", "terminate a background cell"),
    (
        ".clear",
        "forget the lines typed so far of an unfinished entry",
    ),
    (".exit", "leave (or Ctrl-D)"),
];

const NOTES: &str = "\
An entry is a script: await works at top level, and an open bracket or template asks for another line.
If its last statement is an expression, its value is shown.

Names of const, let, var, function, class and import carry over to the next entry. Each entry is a cell \
of its own, so it gets a copy: of a value, if it is a JSON value, undefined or a bigint; of a function or \
a class, by its source. What a function has closed over does not carry over, unless it is such a name \
itself; nor do Maps, Dates, promises and other objects of a class, and this is said. const stays const, \
and every name can be declared anew. What an entry had done before it failed carries over as well. \
What shall last longer: store(key, value) and load(key).

A cell that takes long runs on in the background. Ctrl-C terminates the cell in the foreground, a second \
one leaves. Tab completes names.";

/// What `.help` says.
pub fn help() -> String {
    let rows = COMMANDS.map(|(command, help)| vec![command.to_owned(), help.to_owned()]);
    format!("{}\n\n{NOTES}", table(rows.to_vec(), None))
}

/// What `.help TOOL` says: the declaration of the tool, by any of its names.
pub fn tool_help(name: &str, tools: &[ToolDefinition]) -> Option<String> {
    let name = name.strip_prefix("tools.").unwrap_or(name);
    let tool = tools
        .iter()
        .find(|tool| tool.name == name || script_name(&tool.name) == name)?;
    let declaration = describe::declaration(tool);
    let lines = declaration.lines();
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    Some(lines.join("\n"))
}

/// The tools with the first line of each description.
pub fn tools_table(tools: &[ToolDefinition], width: Option<u16>) -> String {
    let row = |tool: &ToolDefinition| {
        let first = tool.description.lines().next().unwrap_or_default();
        vec![
            format!("tools.{}", script_name(&tool.name)),
            first.to_owned(),
        ]
    };
    table(tools.iter().map(row).collect(), width)
}

/// Rows in columns, no wider than this; every cell is text of its own.
pub fn table(rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if let Some(width) = width {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pretty_assertions::assert_eq;

    use super::*;
    use crate::tools_file::decode;

    fn tools() -> Vec<ToolDefinition> {
        let text = r#"[
            {"name": "get-it", "description": "Gets it.\nMore.", "command": ["cat"],
             "input_schema": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}},
            {"name": "x", "command": ["cat"]}
        ]"#;
        let tools = decode(text, Path::new("/")).unwrap();
        tools.into_iter().map(|tool| tool.definition).collect()
    }

    #[test]
    fn every_command_is_in_the_help() {
        for (usage, help) in COMMANDS {
            assert!(
                super::help().contains(usage) && super::help().contains(help),
                "{usage}"
            );
        }
    }

    #[test]
    fn a_tool_is_declared_under_each_of_its_names() {
        let declared =
            "/**\n * Gets it.\n * More.\n */\nget_it(input: { id: string }): Promise<unknown>;";
        for name in ["get-it", "get_it", "tools.get_it"] {
            assert_eq!(
                tool_help(name, &tools()).as_deref(),
                Some(declared),
                "{name}"
            );
        }
        assert_eq!(tool_help("got_it", &tools()), None);
    }

    #[test]
    fn tables_have_columns() {
        assert_eq!(
            tools_table(&tools(), None),
            "tools.get_it  Gets it.\ntools.x"
        );
    }

    #[test]
    fn a_wide_table_is_wrapped() {
        let rows = vec![vec!["name".to_owned(), "word ".repeat(30)]];
        let wrapped = table(rows, Some(40));
        assert!(wrapped.lines().count() > 1, "{wrapped}");
        assert!(
            wrapped.lines().all(|line| line.chars().count() <= 40),
            "{wrapped}"
        );
    }
}
